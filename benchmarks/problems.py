# SPDX-License-Identifier: GPL-3.0-or-later
"""Data sets of the comparison: patterns to train on, and a second draw with its truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from py4dstem_rrvae import synthetic
from py4dstem_rrvae.synthetic import Patterns

from . import scores
from .scans import SCANS, Scan

Array = NDArray[np.float64]
DOSES = (200, 1000, 5000)
SIZES = (48, 24)
NUMBERS = (2, 3, 6)
TWISTS = np.radians([0.0, 40.0, 80.0])


@dataclass(frozen=True)
class Problem:
    """Patterns to train on, and others to score on.

    Attributes
    ----------
    train : ndarray, shape (n, H, W)
        Counts.
    truth : Patterns
        Second draw.
    expected : ndarray, shape (n, H, W)
        Counts of the second draw without noise.
    """

    train: NDArray[np.uint16]
    truth: Patterns
    expected: Array

    @property
    def fresh(self) -> NDArray[np.uint16]:
        """Counts of the second draw, shape (n, H, W)."""
        return self.truth.frames

    geometry = None
    """Nothing of it is told: the beam stands in the middle of square pixels."""

    def figures(self, z: Array, angle: Array, expected: Array) -> dict[str, float | list[float]]:
        """Figures of merit by name; those that a method has no answer for are left out."""
        truth = self.truth
        found: dict[str, float | list[float]] = {
            "accuracy": scores.accuracy(z, truth.label),
            "ari": scores.ari(z, truth.label),
            "leak": scores.leak(z, truth),
            "deformation": scores.deformation(z, truth),
        }
        if np.isfinite(angle).any():
            # The sense of an angle is a convention, and the peers' grids run the other way.
            senses = [scores.angle_error_over_bound(truth, s * angle) for s in (1, -1)]
            found["angle"] = min(senses, key=np.mean)
        if np.isfinite(expected).all():
            noise = np.square(truth.frames - self.expected).sum()
            found["reconstruction"] = float(
                np.sqrt(np.square(expected - self.expected).sum() / noise)
            )
        return found


def _expected(truth: Patterns, shape: synthetic.Shape, parameter: Array, counts: float) -> Array:
    size = truth.frames.shape[-1]
    values = (truth.angle, parameter[truth.label], truth.deformation)
    return synthetic._expected(shape, size, counts, *values)


def lobes(n: int, size: int, counts: float) -> Problem:
    """2-, 3- and 6-fold classes that differ in nothing else."""
    train, fresh = (
        synthetic.lobes(n, size=size, counts=counts, random_state=k, numbers=NUMBERS)
        for k in (0, 1)
    )
    expected = _expected(fresh, synthetic._lobed_ring, np.array(NUMBERS, dtype=float), counts)
    return Problem(train.frames, fresh, expected)


def twisted_rings(n: int, size: int, counts: float) -> Problem:
    """Classes with the same angular power spectra."""
    train, fresh = (
        synthetic.twisted_rings(n, size=size, counts=counts, random_state=k) for k in (0, 1)
    )
    expected = _expected(fresh, synthetic._twisted_rings, TWISTS, counts)
    return Problem(train.frames, fresh, expected)


PROBLEMS: dict[str, Callable[[int], Problem | Scan]] = {
    f"{draw.__name__}-{size}-{counts}": partial(draw, size=size, counts=counts)
    for draw in (lobes, twisted_rings)
    for size in SIZES
    for counts in DOSES
} | SCANS
"""By name, from the number of patterns: kind, pixels along a side, and counts per pattern; or a
scan of the published work, which has as many as it has."""
