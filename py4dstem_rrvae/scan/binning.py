# SPDX-License-Identifier: GPL-3.0-or-later
"""A block of patterns, into bins.

It is sent to the workers of a cluster as it is, so it pickles: without what can be made again
there, and with the device that the worker has.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..detector.bin_operator import BinOperator
from ..detector.bins import Detector, Grid, GridFor, PolarGrid
from ..detector.fine_mean import FineMean
from ..detector.outliers import without_pattern
from ..detector.transform import BinTransform, Own
from ..device import choose_device
from .blocks import Positions
from .frames import FloatArray, Frames

# Patterns of each block of a sample that are kept as they were recorded, for the camera's response.
RAW = 64


@dataclass(frozen=True)
class Binned:
    """Bins of a block, and what else is learned of it on the way.

    Attributes
    ----------
    polar : ndarray, shape (n, R, A)
        Bins of the patterns that are used.
    used : ndarray of bool, shape (m,)
        Which patterns of the block those are; the others hold none.
    some : ndarray, shape (k, H, W)
        Some of the patterns, as they were recorded.
    total : ndarray, shape (H, W)
        Sum of the patterns.
    sums : ndarray or None
        What they add to the scan's mean pattern, where the beam wanders.
    """

    polar: NDArray[np.float32]
    used: NDArray[np.bool_]
    some: NDArray[Any]
    total: FloatArray
    sums: FloatArray | None


class Binner:
    """Counts of patterns summed into polar bins.

    Parameters
    ----------
    detector
        Geometry of the patterns.
    grid
        Bins to fill.
    origins : ndarray, shape (positions, 2), or None
        Centre of every scan position; None where the detector's serves all.
    wander : float
        Farthest any origin lies from the detector's centre, in pixels.
    device
        As in `RRVAE`.
    mean : FineMean or None
        Of the scan; see `BinTransform`.
    offset : float
        Detector units of a pixel without electrons.
    """

    def __init__(
        self,
        detector: Detector,
        grid: Grid,
        origins: FloatArray | None = None,
        wander: float = 0.0,
        device: str = "auto",
        mean: FineMean | None = None,
        offset: float = 0.0,
    ) -> None:
        self._recipe = (detector, grid, origins, wander, device, mean, offset)
        self.detector, self.grid, self.origins, self.mean = detector, grid, origins, mean
        self.transform = BinTransform(detector, grid, choose_device(device), wander, mean, offset)

    @classmethod
    def of(
        cls,
        frames: Frames,
        grid: Grid | GridFor = PolarGrid.for_detector,
        device: str = "auto",
        detector: Detector | None = None,
        mean: FineMean | None = None,
        offset: float = 0.0,
    ) -> Binner:
        """For frames whose centre is known; what makes grids is given their detector.

        `detector` is theirs unless given: patterns of the scan trained on are counted from the
        centre that this scan had.
        """
        detector = detector or frames.detector()
        wander = frames.wander(detector)
        if callable(grid):
            grid = grid(detector, wander)
        return cls(detector, grid, frames.origins(), wander, device, mean, offset)

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew where it arrives, with the device there."""
        return Binner, self._recipe

    def polar(self, patterns: NDArray[Any], positions: Positions) -> Tensor:
        """Bins (n, R, A), on the device, of ``patterns (n, H, W)`` at flat scan positions."""
        return self.transform(patterns, self._origins(positions))

    def operators(
        self, patterns: NDArray[Any], positions: Positions
    ) -> Iterator[tuple[Own, BinOperator, NDArray[Any]]]:
        """Which patterns each operator serves, the operator, and what of them it takes."""
        return self.transform.operators(patterns, self._origins(positions))

    def knowing(self, mean: FineMean, offset: float) -> Binner:
        """The same with the scan's mean and the camera's offset; operators are shared."""
        other = copy.copy(self)
        other.mean, other._recipe = mean, (*self._recipe[:-2], mean, offset)
        other.transform = self.transform.knowing(mean, offset)
        return other

    def evened(self, binned: Tensor, positions: Positions) -> Tensor:
        """What a binner that knows the mean makes of ``binned (n, R, A)`` by one that did not."""
        return self.transform.evened(binned, self._origins(positions))

    def _origins(self, positions: Positions) -> FloatArray | None:
        return None if self.origins is None else self.origins[positions]

    def __call__(self, patterns: NDArray[Any], positions: Positions) -> Binned:
        """Bins of those of ``patterns (m, H, W)``, at flat scan positions, that hold a pattern."""
        used = ~without_pattern(patterns, self.detector.mask)
        patterns, origins = patterns[used], self._origins(positions[used])
        sums = None if origins is None else self.transform.sums(patterns, origins)
        polar = self.transform(patterns, origins).cpu().numpy()
        total = patterns.sum(axis=0, dtype=float)
        return Binned(polar, used, patterns[:RAW].copy(), total, sums)
