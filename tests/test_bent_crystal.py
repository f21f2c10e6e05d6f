# SPDX-License-Identifier: GPL-3.0-or-later
"""One crystal that bends: no grains, and a word where the angle map looks like some."""

import warnings
from functools import cache

import numpy as np
import pytest
import torch
from estimators import COMMON

from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.model.inference import Inference
from py4dstem_rrvae.training.angle_steps import angle_steps

# The lattice is turned by so much.
LATTICE = 0.2


@cache
def bent(counts=3000, side=24, size=48):
    """Spots of a square lattice, brighter near a Laue circle that moves over the scan."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, side)] * 2, indexing="ij")
    tilt = 9 * np.stack([0.9 * y + 0.3 * x**2 - 0.1, 0.8 * x - 0.4 * y * x + 0.15], axis=-1)
    tilt = tilt.reshape(-1, 1, 2)
    cos, sin = np.cos(LATTICE), np.sin(LATTICE)
    order = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 2, indexing="ij"), -1).reshape(-1, 2)
    spot = 9.0 * order @ np.array([[cos, sin], [-sin, cos]])
    spot = spot[np.hypot(*spot.T) < size / 2 - 3]
    radius = np.hypot(*spot.T)
    off_circle = np.linalg.norm(spot - tilt, axis=-1) - np.linalg.norm(tilt, axis=-1)
    bright = np.exp(-((off_circle / 12) ** 2) - (radius / 16) ** 2)
    bright[:, radius < 1] *= 3
    row, col = np.indices((size, size)) - (size - 1) / 2
    away = np.hypot(row - spot[:, 0, None, None], col - spot[:, 1, None, None])
    mean = np.tensordot(bright, 1 / (1 + np.exp(2 * (away - 3))), axes=1) + 1e-4
    mean *= counts / mean.sum(axis=(1, 2), keepdims=True)
    return np.random.default_rng(0).poisson(mean).reshape(side, side, size, size)


@cache
def seen(seed, **options):
    """Codes of the bent crystal, and what was said in training."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = RRVAE(**COMMON | {"random_state": seed}, **options).fit(bent())
    return model.encode(bent()), [str(one.message) for one in said]


def from_lattice(angle):
    """Degrees from the lattice's own direction, modulo a quarter turn and one offset."""
    turn = np.exp(4j * angle)
    return np.degrees(np.angle(turn / turn.mean()) / 4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_what_looks_like_grains_is_said_to_be_none(seed):
    codes, said = seen(seed)
    one_fold = codes.fold == 1
    assert one_fold.mean() > 0.9, "the tilt breaks the symmetry, and the counts tell"
    assert np.degrees(np.ptp(codes.angle[one_fold])) > 180, "patches, a quarter turn apart"
    assert np.abs(from_lattice(codes.angle)).max() < 2, "of one crystal"
    assert np.median(codes.angle_reliability) < 0.3
    assert (
        len(said) == 1 and "multiples of 90 degrees" in said[0] and "need not be grains" in said[0]
    )


@pytest.mark.slow
def test_seeds_agree_on_what_is_reliable():
    one, other = (seen(seed)[0] for seed in (0, 1))
    # Reliabilities of an angle that is known modulo another turn are others.
    both = (one.fold == 1) & (other.fold == 1)
    assert both.mean() > 0.9
    pair = [codes.angle_reliability[both] for codes in (one, other)]
    assert np.corrcoef(*pair)[0, 1] > 0.85
    assert abs(np.median(pair[0]) - np.median(pair[1])) < 0.05


@pytest.mark.slow
def test_the_threshold_that_is_named_gives_the_lattice():
    codes, said = seen(0, fold_threshold=0.5)
    assert (codes.fold == 4).mean() > 0.98 and not said
    assert np.ptp(from_lattice(codes.angle[codes.fold == 4])) < 4
    assert np.median(codes.angle_reliability) > 0.9


@pytest.mark.slow
def test_grains_at_any_angle_are_none_of_that():
    codes = synthetic.lobes(400, counts=3000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = RRVAE(**COMMON).fit(codes.frames).encode(codes.frames)
    assert np.median(found.angle_reliability) > 0.9


def inference(angle, fold=1, reliability=0.1):
    theta = torch.as_tensor(angle, dtype=torch.float64)
    one = torch.ones_like(theta)
    folds = torch.full(theta.shape, fold)
    return Inference(one[:, None], one[:, None], theta, one, folds, one, reliability * one)


QUARTERS = np.arange(40) % 4 * (np.pi / 2) + np.linspace(0, 0.02, 40)


@pytest.mark.parametrize("offset", [0.0, np.pi / 4, 3.0])
@pytest.mark.parametrize("step", [2, 3, 4, 6])
def test_steps_of_any_symmetry_and_zero(step, offset):
    angle = np.arange(60) % step * (2 * np.pi / step) + np.linspace(0, 0.02, 60) + offset
    found = angle_steps([inference(np.mod(angle, 2 * np.pi))])
    assert found == (step, pytest.approx(0.1))


@pytest.mark.parametrize(
    "parts",
    [
        [inference(QUARTERS, reliability=0.5)],
        [inference(np.linspace(0, 6, 40))],
        [inference(np.full(40, 1.0))],
        [inference(np.where(np.arange(40) < 2, 1.0, 1.0 + np.pi / 2))],
        [inference(np.full(40, 1.0), fold=4)],
        [inference(np.full(40, 1.0)), inference(np.full(20, 1.0 + np.pi / 2), reliability=1.0)],
        [inference(np.full(40, np.nan), fold=0)],
    ],
    ids=[
        "reliable",
        "any angle",
        "one angle",
        "a few others",
        "known modulo the step",
        "others are sure",
        "none",
    ],
)
def test_no_steps(parts):
    assert angle_steps(parts) is None


def test_patterns_of_a_higher_fold_may_be_among_them():
    parts = [inference(QUARTERS), inference(np.linspace(0, 0.02, 9), fold=4)]
    assert angle_steps(parts) == (4, pytest.approx(0.1))
