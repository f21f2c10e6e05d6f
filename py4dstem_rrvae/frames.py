# SPDX-License-Identifier: GPL-3.0-or-later
"""Patterns on a scan, with the detector's geometry: read by blocks, never as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .core.polar import Detector

FloatArray = NDArray[np.float64]

Sample = tuple[NDArray[np.intp], NDArray[Any]]
"""Flat scan indices (n,) and their patterns (n, H, W)."""

MIN_DETECTOR = 8
BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Frames:
    """Patterns ``(..., H, W)`` and where q = 0 lies in them.

    Attributes
    ----------
    patterns : array-like, shape (..., H, W)
        NumPy array or memmap, ``h5py.Dataset`` or dask array of any real dtype and byte order. It
        is only ever read in blocks.
    center : (float, float), ndarray of shape (*scan_shape, 2), or None
        Pixel index ``(row, col)`` of the direct beam; one per position where the beam wanders; None
        to estimate it from the mean pattern.
    matrix : ndarray, shape (2, 2)
        Pixel offset from the centre to isotropic q.
    mask : ndarray of bool, shape (H, W), or None
        True where a detector pixel is kept.
    q_units : str
        Units of q.

    Raises
    ------
    ValueError, TypeError
        If the patterns, the centre or the mask are not what is stated above.
    """

    patterns: Any
    center: Any = None
    matrix: FloatArray = field(default_factory=lambda: np.eye(2))
    mask: NDArray[np.bool_] | None = None
    q_units: str = "pixels"

    def __post_init__(self) -> None:
        if not hasattr(self.patterns, "shape") or not hasattr(self.patterns, "dtype"):
            object.__setattr__(self, "patterns", np.asarray(self.patterns))
        self._check_patterns()
        if self.center is not None:
            self._check_center()
        if self.mask is not None:
            self._check_mask()
        matrix = np.asarray(self.matrix, dtype=float)
        usable = matrix.shape == (2, 2) and bool(np.isfinite(matrix).all())
        if not usable or np.linalg.det(matrix) == 0:
            raise ValueError(f"matrix must be an invertible (2, 2) array; got {matrix.tolist()}")
        object.__setattr__(self, "matrix", matrix)

    def _check_patterns(self) -> None:
        shape, dtype = self.patterns.shape, np.dtype(self.patterns.dtype)
        if len(shape) < 2:
            raise ValueError(f"patterns must have shape (..., H, W); got {tuple(shape)}")
        if dtype.kind not in "uifb":
            raise TypeError(f"patterns must be real numbers; got dtype {dtype}")
        if min(shape[-2:]) < MIN_DETECTOR:
            raise ValueError(
                f"the detector must have at least {MIN_DETECTOR} x {MIN_DETECTOR} pixels; "
                f"got {shape[-2]} x {shape[-1]}"
            )
        if 0 in shape:
            raise ValueError(f"patterns must hold at least one position; got shape {tuple(shape)}")

    def _check_center(self) -> None:
        center = np.asarray(self.center, dtype=float)
        if center.shape not in {(2,), (*self.scan_shape, 2)}:
            raise ValueError(
                f"center must be (row, col) or have shape {(*self.scan_shape, 2)}; "
                f"got shape {center.shape}"
            )
        if not np.all((center >= 0) & (center <= np.asarray(self.detector_shape) - 1)):
            raise ValueError(
                f"center must lie on the detector of {self.detector_shape} pixels; got values from "
                f"{center.reshape(-1, 2).min(axis=0).tolist()} to "
                f"{center.reshape(-1, 2).max(axis=0).tolist()}"
            )
        object.__setattr__(self, "center", center)

    def _check_mask(self) -> None:
        mask = np.asarray(self.mask)
        if mask.dtype != bool or mask.shape != self.detector_shape:
            raise ValueError(
                f"mask must be boolean of shape {self.detector_shape} (True = keep); "
                f"got {mask.dtype} of shape {mask.shape}"
            )
        if not mask.any():
            raise ValueError("mask must keep at least one pixel (True = keep); it keeps none")
        object.__setattr__(self, "mask", mask)

    @classmethod
    def of(cls, frames: Any, *, center: Any = None, mask: Any = None) -> Frames:
        """Wrap an array, or take `Frames` with a centre or mask given by hand put first."""
        if not isinstance(frames, cls):
            return cls(frames, center=center, mask=mask)
        given = {k: v for k, v in (("center", center), ("mask", mask)) if v is not None}
        return replace(frames, **given)

    @property
    def scan_shape(self) -> tuple[int, ...]:
        """Shape in front of the detector axes; () for a single pattern."""
        return tuple(int(n) for n in self.patterns.shape[:-2])

    @property
    def detector_shape(self) -> tuple[int, int]:
        """``(H, W)``."""
        height, width = self.patterns.shape[-2:]
        return int(height), int(width)

    def __len__(self) -> int:
        """Number of positions."""
        return math.prod(self.scan_shape)

    def origins(self, positions: NDArray[np.intp]) -> FloatArray | None:
        """Centres (n, 2) of flat scan `positions` (n,); None where one serves all."""
        if self.center is None or self.center.ndim == 1:
            return None
        origins: FloatArray = self.center.reshape(-1, 2)[positions]
        return origins

    def detector(self, patterns: NDArray[Any] | None = None) -> Detector:
        """Geometry about the mean origin; an unknown one is found from ``patterns (n, H, W)``."""
        if self.center is not None:
            row, col = self.center.reshape(-1, 2).mean(axis=0)
        elif patterns is not None:
            row, col = estimate_center(patterns.mean(axis=0, dtype=float), self.mask)
        else:
            raise ValueError("the centre is unknown and there are no patterns to estimate it from")
        return Detector(self.detector_shape, (float(row), float(col)), self.matrix, self.mask)

    def wander(self, detector: Detector) -> float:
        """Farthest any position's origin lies from the detector's centre, in pixels."""
        if self.center is None or self.center.ndim == 1:
            return 0.0
        return float(np.abs(self.center.reshape(-1, 2) - detector.center).max())

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Walk the scan once in order.

        Yields
        ------
        positions : slice
            Of the flattened scan.
        patterns : ndarray, shape (n, H, W)
            At most about 32 MiB, or one row of the scan's last axis where that is larger.
        """
        size = self.detector_shape[0] * self.detector_shape[1] * self.patterns.dtype.itemsize
        if not self.scan_shape:
            yield slice(0, 1), self._read(())[None]
            return
        leading, last = self.scan_shape[:-1], self.scan_shape[-1]
        rows = max(1, BLOCK_BYTES // (size * last))
        if len(leading) == 1 and rows > 1:
            for start in range(0, leading[0], rows):
                block = self._read((slice(start, start + rows),)).reshape(-1, *self.detector_shape)
                yield slice(start * last, start * last + len(block)), block
            return
        columns = max(1, BLOCK_BYTES // size)
        for flat, index in enumerate(np.ndindex(*leading)):
            for start in range(0, last, columns):
                block = self._read((*index, slice(start, start + columns)))
                first = flat * last + start
                yield slice(first, first + len(block)), block

    def sample(self, n: int, rng: np.random.Generator) -> Sample:
        """Draw patterns without repetition.

        Returns
        -------
        positions : ndarray, shape (min(n, positions),)
            Flat scan indices, ascending.
        patterns : ndarray, shape (min(n, positions), H, W)
        """
        total = len(self)
        chosen = np.sort(rng.choice(total, size=min(n, total), replace=False))
        if isinstance(self.patterns, np.ndarray):
            flat = self.patterns.reshape(-1, *self.detector_shape)
            return chosen, self._checked(flat[chosen])
        parts = []
        for where, block in self.blocks():
            first, last = np.searchsorted(chosen, (where.start, where.stop))
            parts.append(block[chosen[first:last] - where.start])
        return chosen, np.concatenate(parts)

    def _read(self, index: tuple[Any, ...]) -> NDArray[Any]:
        return self._checked(np.asarray(self.patterns[index]))

    def _checked(self, block: NDArray[Any]) -> NDArray[Any]:
        if block.dtype.kind == "f" and not np.isfinite(block).all():
            bad = int(np.size(block) - np.isfinite(block).sum())
            raise ValueError(
                f"patterns must be finite; got {bad} NaN or infinite pixels in a block"
            )
        return block


def estimate_center(
    mean_pattern: FloatArray, mask: NDArray[np.bool_] | None
) -> tuple[float, float]:
    """Centre of the bright disc of a mean pattern ``(H, W)``, as pixel index (row, col).

    The centroid of the pixels above half of the bright level, each counted once: what the specimen
    does inside the disc moves it less than an intensity-weighted centre of mass. Single hot or
    dead pixels are removed by a 3 x 3 median first. The middle of a pattern without a disc.
    """
    pattern = ndimage.median_filter(mean_pattern, 3, mode="nearest")
    if mask is not None:
        pattern = np.where(mask, pattern, pattern[mask].min())
    low, high = np.quantile(pattern, (0.05, 0.995))
    # Weights rise over the edge's width, so that the centre is sub-pixel.
    weight = np.clip((pattern - low) / max(high - low, 1e-30) * 2 - 0.5, 0, 1)
    if not weight.any():
        return (pattern.shape[0] - 1) / 2, (pattern.shape[1] - 1) / 2
    row, col = ndimage.center_of_mass(weight)
    return float(row), float(col)
