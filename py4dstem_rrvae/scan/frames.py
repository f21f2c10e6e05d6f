# SPDX-License-Identifier: GPL-3.0-or-later
"""Patterns on a scan, with the detector's geometry: read by blocks, never as a whole."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ..detector.bins import Detector
from ..detector.center import estimate_center
from ..detector.center_refinement import refine_center
from .blocks import Positions, Task, check_open, walk

FloatArray = NDArray[np.float64]
T = TypeVar("T")

MIN_DETECTOR = 8
# Pixel sizes in q whose squares and products stay far from the limits of single precision.
LEAST_PIXEL, MOST_PIXEL = 1e-15, 1e15
# The sides of a pixel differ by less than this factor: binning gives 8, or 64 at the most.
MOST_OBLONG = 100.0
# An origin is an outlier so many pixels off its neighbours, and so many times the median distance.
FAR, FAR_OUT = 3.0, 12.0
MASKED_FRAMES = (
    "a masked array may leave out the same pixels of every frame alone; those of a lazy one are "
    "given as mask= (True = keep), others are filled first, with the mean of their neighbours say"
)

NO_ARRAY = (
    "patterns must be one dense array of numbers, and those of a list must all have the same shape "
    "(H, W); got a {} that NumPy cannot read as that"
)


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
    roi : ndarray of bool, shape scan_shape, or None
        Positions that training samples; codes are for all. None: all.

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
    roi: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        patterns, masked = readable(self.patterns)
        object.__setattr__(self, "patterns", patterns)
        self._check_patterns()
        if masked is not None:
            object.__setattr__(self, "mask", masked if self.mask is None else masked & self.mask)
        if self.center is not None:
            self._check_center()
        if self.mask is not None:
            self._check_mask()
        if self.roi is not None:
            self._check_roi()
        self._check_matrix()

    def _check_matrix(self) -> None:
        matrix = _numbers(self.matrix)
        if matrix is None or matrix.shape != (2, 2) or not np.isfinite(matrix).all():
            raise ValueError(
                f"matrix must be an invertible (2, 2) array; got {_shown(self.matrix)}"
            )
        large, small = np.linalg.svd(matrix, compute_uv=False)
        if not (LEAST_PIXEL < large < MOST_PIXEL and small > 0 and large / small < MOST_OBLONG):
            raise ValueError(
                "matrix must be an invertible (2, 2) array of pixel sizes between "
                f"{LEAST_PIXEL:g} and {MOST_PIXEL:g} that differ by less than a factor of "
                f"{MOST_OBLONG:g}; got {matrix.tolist()}"
            )
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
        center = _numbers(self.center)
        if center is None:
            raise ValueError(
                f"center must be (row, col) or have shape {(*self.scan_shape, 2)}; "
                f"got {_shown(self.center)}"
            )
        if center.shape not in {(2,), (*self.scan_shape, 2)}:
            raise ValueError(
                f"center must be (row, col) or have shape {(*self.scan_shape, 2)}; "
                f"got shape {center.shape}"
            )
        unknown = int((~np.isfinite(center)).reshape(-1, 2).any(axis=1).sum())
        if unknown:
            raise ValueError(
                f"center must be known; {unknown} of {center.size // 2} are masked, NaN or "
                "infinite: fill them with the mean of their neighbours, say"
            )
        if not np.all((center >= 0) & (center <= np.asarray(self.detector_shape) - 1)):
            raise ValueError(
                f"center must lie on the detector of {self.detector_shape} pixels; got values from "
                f"{center.reshape(-1, 2).min(axis=0).tolist()} to "
                f"{center.reshape(-1, 2).max(axis=0).tolist()}"
            )
        if center.ndim > 1:
            center = _without_outliers(center)
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

    def _check_roi(self) -> None:
        roi = np.asarray(self.roi)
        if roi.dtype != bool or roi.shape != self.scan_shape:
            raise ValueError(
                f"roi must be boolean of the scan's shape {self.scan_shape} (True = train there); "
                f"got {roi.dtype} of shape {roi.shape}"
            )
        if not roi.any():
            raise ValueError("roi must hold at least one position (True = train there)")
        object.__setattr__(self, "roi", roi)

    @classmethod
    def of(cls, frames: Any, *, center: Any = None, mask: Any = None) -> Frames:
        """Wrap an array, or take `Frames`: a centre given by hand comes first, masks are joined."""
        if not isinstance(frames, cls):
            return cls(frames, center=center, mask=mask)
        given = {k: v for k, v in (("center", center), ("mask", mask)) if v is not None}
        joined = replace(frames, **given)
        if mask is not None and frames.mask is not None and joined.mask is not None:
            joined = replace(joined, mask=frames.mask & joined.mask)
        return joined

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

    def origins(self) -> FloatArray | None:
        """Centres (positions, 2) in the scan's order; None where one serves all."""
        if self.center is None or self.center.ndim == 1:
            return None
        origins: FloatArray = self.center.reshape(-1, 2)
        return origins

    def located(self, patterns: NDArray[Any]) -> Frames:
        """Frames with the centre estimated from some of their ``patterns (n, H, W)``."""
        mean = patterns.mean(axis=0, dtype=float)
        return replace(self, center=estimate_center(mean, self.mask, self.matrix)[0])

    def refined(self, patterns: NDArray[Any]) -> Frames:
        """Frames with a better centre than theirs, where ``patterns (n, H, W)`` bear one out.

        Raises
        ------
        ValueError
            If every position has a centre of its own.
        """
        if self.origins() is not None:
            raise ValueError(
                f"one centre can be refined; these frames have {len(self)}, one per position"
            )
        start = None if self.center is None else (float(self.center[0]), float(self.center[1]))
        return replace(self, center=refine_center(patterns, start, self.mask, self.matrix))

    def detector(self) -> Detector:
        """Geometry about the mean origin.

        Raises
        ------
        ValueError
            If the centre is unknown.
        """
        if self.center is None:
            raise ValueError("the centre is unknown: give center=(row, col), or see located")
        row, col = self.center.reshape(-1, 2).mean(axis=0)
        return Detector(self.detector_shape, (float(row), float(col)), self.matrix, self.mask)

    def wander(self, detector: Detector) -> float:
        """Farthest any position's origin lies from the detector's centre, in pixels."""
        if self.center is None or self.center.ndim == 1:
            return 0.0
        return float(np.abs(self.center.reshape(-1, 2) - detector.center).max())

    def walk(
        self, task: Task[T], positions: Positions | None = None, progress: str | None = None
    ) -> Iterator[tuple[Positions, T]]:
        """Do a task on every block of the scan, each read once; see `blocks.walk`."""
        return walk(self.patterns, task, positions, progress, self.mask)

    def choose(self, n: int, rng: np.random.Generator) -> Positions:
        """Flat scan indices (k,) to train on, drawn without repetition, ascending; k <= n."""
        where = len(self) if self.roi is None else np.flatnonzero(self.roi)
        total = self.trainable
        return np.sort(rng.choice(where, size=min(n, total), replace=False))

    @property
    def trainable(self) -> int:
        """Number of positions that training may draw."""
        return len(self) if self.roi is None else int(np.count_nonzero(self.roi))

    def gather(
        self,
        task: Task[NDArray[Any]],
        positions: Positions | None = None,
        progress: str | None = None,
    ) -> NDArray[Any]:
        """What a task returns for each pattern, shape (n, ...), in the scan's order."""
        where, rows = zip(*self.walk(task, positions, progress), strict=True)
        gathered: NDArray[Any] = np.concatenate(rows)[np.argsort(np.concatenate(where))]
        return gathered

    def read(self, positions: Positions, progress: str | None = None) -> NDArray[Any]:
        """Patterns (n, H, W) at ascending flat scan indices (n,)."""
        return self.gather(_itself, positions, progress)


def _numbers(values: Any) -> FloatArray | None:
    """Values as an array of floats, NaN where they are masked; None if they are no real numbers."""
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        if np.iscomplexobj(values):
            return None
        if isinstance(values, np.ma.MaskedArray):
            values = np.where(np.asarray(values.mask), np.nan, values.data)
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


def _shown(value: Any) -> str:
    """A value in one line that is not too long."""
    return " ".join(repr(value).split())[:200]


def _without_outliers(origins: FloatArray) -> FloatArray:
    """Origins (*scan_shape, 2) in which those far from their neighbours are taken from these."""
    neighbours = ndimage.median_filter(origins, (5,) * (origins.ndim - 1) + (1,), mode="nearest")
    distance = np.linalg.norm(origins - neighbours, axis=-1)
    far = distance > max(FAR, FAR_OUT * float(np.median(distance)))
    if not far.any():
        return origins
    warnings.warn(
        f"{np.count_nonzero(far)} of {far.size} measured origins lie up to {distance.max():.1f} "
        "pixels off those of the positions around them, which are taken instead",
        stacklevel=5,
    )
    return np.where(far[..., None], neighbours, origins)


def readable(patterns: Any) -> tuple[Any, NDArray[np.bool_] | None]:
    """Patterns as an array that is read by blocks, and the mask (H, W) that came with them.

    Raises
    ------
    TypeError
        If they cannot be read as an array.
    ValueError
        If a masked array leaves out other pixels in other frames, the file behind the patterns is
        closed, or the number of patterns is unknown.
    """
    check_open(patterns)
    if not isinstance(patterns, np.ma.MaskedArray):
        patterns = as_array(patterns)
    if any(np.isnan(n) for n in getattr(patterns, "shape", ())):
        raise ValueError("the number of patterns is unknown: call compute_chunk_sizes() first")
    if isinstance(getattr(patterns, "_meta", None), np.ma.MaskedArray):
        raise ValueError(MASKED_FRAMES)
    if not isinstance(patterns, np.ma.MaskedArray):
        return patterns, None
    masked = np.asarray(patterns.mask) | np.zeros(patterns.shape, bool)
    masked = masked.reshape(-1, *patterns.shape[-2:])
    if (masked != masked[0]).any():
        raise ValueError(MASKED_FRAMES)
    return patterns.data, ~masked[0] if masked[0].any() else None


def as_array(patterns: Any) -> Any:
    """What has a shape and a dtype as it is, tensors and what has none as NumPy's array.

    Raises
    ------
    TypeError
        If that cannot be had.
    """
    library = type(patterns).__module__.partition(".")[0]
    try:
        if library == "torch":
            return patterns.detach().cpu().numpy()
        if library == "xarray":
            # A DataArray's own array may be a dask one.
            return patterns.data
        plain = hasattr(patterns, "shape") and hasattr(patterns, "dtype")
        if plain and not hasattr(patterns, "nnz") and not isinstance(patterns, np.matrix):
            return patterns
        array = np.asarray(patterns)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(NO_ARRAY.format(type(patterns).__name__)) from error
    if not array.ndim:
        raise TypeError(NO_ARRAY.format(type(patterns).__name__))
    return array


def _itself(patterns: NDArray[Any], _: Positions) -> NDArray[Any]:
    return patterns


def unflatten(patterns: Any, detector_shape: tuple[int, int] | None, mask: ArrayLike | None) -> Any:
    """Patterns (n, H, W) of rows of pixels, as scikit-learn and HyperSpy give them.

    Parameters
    ----------
    patterns : array-like, shape (n, pixels)
        All pixels, or those alone that the mask keeps. What has another number of axes, or is one
        pattern of `detector_shape`, is returned as it is.
    detector_shape : (int, int) or None
        ``(H, W)``; None: the mask's, else a square.
    mask : ndarray of bool, shape (H, W), or None
        True where a pixel is kept.

    Raises
    ------
    ValueError
        If the number of pixels is neither that of the detector nor of the kept ones.
    """
    if isinstance(patterns, Frames):
        return patterns
    if not isinstance(patterns, np.ma.MaskedArray):
        patterns = as_array(patterns)
    shape: tuple[int, ...] = tuple(patterns.shape)
    if len(shape) != 2 or shape == detector_shape:
        return patterns
    mask = None if mask is None or np.ndim(mask) != 2 else np.asarray(mask)
    if detector_shape is None:
        side = math.isqrt(shape[1])
        detector_shape = (side, side) if mask is None else mask.shape  # type: ignore[assignment]
    height, width = detector_shape  # type: ignore[misc]
    if not hasattr(patterns, "reshape"):
        # A dataset in a file.
        patterns = np.asarray(patterns)
    if shape[1] == height * width:
        return patterns.reshape(-1, height, width)
    if mask is not None and shape[1] == np.count_nonzero(mask):
        frames = np.zeros((shape[0], height, width), dtype=patterns.dtype)
        frames[:, mask] = patterns
        return frames
    raise ValueError(
        "patterns must have shape (..., H, W), or (n, pixels) with signal_shape=(H, W) given to "
        f"RRVAE (and its mask where pixels are left out); got {shape} for "
        f"{height} x {width} pixels"
    )
