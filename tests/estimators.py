# SPDX-License-Identifier: GPL-3.0-or-later
"""How the tests train: quickly, or long enough to tell classes apart; what they show a model."""

import copy
from dataclasses import dataclass

import numpy as np

from benchmarks.scores import accuracy, ari
from py4dstem_rrvae import RRVAE, Codes, synthetic
from py4dstem_rrvae.detector.transform import BinTransform

COMMON = {"random_state": 0, "progress": False, "device": "cpu"}
# What a learned background must show is tested with "auto".
QUICK = COMMON | {"max_epochs": 15, "batch_size": 8, "learning_rate": 1e-2, "background": "mean"}
LEARNED = COMMON | {"max_epochs": 18, "batch_size": 32, "background": "mean"}
NAMES = ("z", "z_std", "angle", "angle_std", "angle_reliability", "fold", "error")


@dataclass(frozen=True)
class OneSided:
    """Rings that are brighter on one side, and a model of them."""

    expected: np.ndarray
    frames: np.ndarray
    angle: np.ndarray
    estimator: RRVAE
    codes: Codes


def assert_same_codes(one, other, **tolerance):
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(one, name), getattr(other, name), err_msg=name, **tolerance
        )


def assert_classes_apart(estimator, unseen, frames=None):
    z = estimator.transform(unseen.frames if frames is None else frames)
    assert accuracy(z, unseen.label) >= 0.99
    assert ari(z, unseen.label) >= 0.99


def scan_of(trained, patterns):
    """A copy of the trained model, and stabilised patterns (n, R, A) as it sees them."""
    fitted = trained.fitted_
    offset = fitted.response.dark_level
    transform = BinTransform(fitted.detector, fitted.grid, mean=fitted.mean, offset=offset)
    return copy.deepcopy(fitted.model), fitted.intensity(transform(patterns.frames))


def rendered(fold, turn, deformation=0.3):
    """Expected counts of one pattern, rendered anew at each of the turns."""
    turn = np.asarray(turn, dtype=float)
    number, deformation = np.full(len(turn), float(fold)), np.full(len(turn), deformation)
    return synthetic._expected(synthetic._lobed_ring, 32, 3000.0, turn, number, deformation)
