# SPDX-License-Identifier: GPL-3.0-or-later
"""Angle maps without jumps: angles are cyclic, with a period of their own at every position.

Neither function mixes patterns of different fold, whose angles share no zero: each connected
region, or neighbourhood, of one fold is treated for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .latent import LatentMap, period_of

FloatArray = NDArray[np.float64]
SMOOTHED, UNWRAPPED = "angle_smoothed", "angle_unwrapped"
"""Names of the maps."""


def unwrap_angle(
    angle: ArrayLike, fold: ArrayLike, mask: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Angles of neighbours brought next to each other by whole periods.

    Parameters
    ----------
    angle : array-like, shape (rows, cols)
        Radians; NaN where it is undefined.
    fold : array-like of int, shape (rows, cols), or int
        The angle is known modulo ``2 pi / fold``.
    mask : array-like of bool, shape (rows, cols), or None
        True where the angle is to be used.

    Returns
    -------
    ndarray, shape (rows, cols)
        `angle` plus whole periods, as smooth as these allow within each connected region (by sides)
        of one fold, whose median lies in [0, period); NaN elsewhere.

    Raises
    ------
    ImportError
        If scikit-image is missing.
    ValueError
        If the shapes do not agree, or the map is not two-dimensional.

    Notes
    -----
    By scikit-image's `unwrap_phase` (Herraez et al., Appl. Opt. 41, 7437, 2002) of fold times the
    angle. Regions are not brought next to each other: nothing relates the angles of one fold to
    those of another, or says how many periods lie across a hole.
    """
    unwrap_phase = _unwrapper()
    from scipy.ndimage import label

    angle, fold = _checked(angle, fold, mask)
    if angle.ndim != 2:
        raise ValueError(f"angle must have shape (rows, cols); got {angle.shape}")
    result = np.full(angle.shape, np.nan)
    for n in np.unique(fold[fold > 0]):
        regions, count = label(fold == n)
        for k in range(1, count + 1):
            own = regions == k
            # scikit-image 0.26 looks beyond the outermost row, at memory that was never written;
            # with a masked one around it the result repeats.
            inside = np.pad(own, 1)
            # Wrapped to (-pi, pi], where the steps are looked for.
            phase = np.angle(np.exp(1j * n * np.pad(np.where(own, angle, 0.0), 1)))
            unwrapped = unwrap_phase(np.ma.masked_array(phase, ~inside), rng=0)
            turned = np.asarray(unwrapped)[inside] / n
            period = 2 * np.pi / n
            result[own] = turned - period * np.floor(np.median(turned) / period)
    return result


def smooth_angle(
    angle: ArrayLike, fold: ArrayLike, sigma: float, angle_std: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Angles averaged over their neighbourhood, modulo the local period.

    Parameters
    ----------
    angle : array-like, shape (...)
        Radians; NaN where it is undefined.
    fold : array-like of int, shape (...), or int
        The angle is known modulo ``2 pi / fold``.
    sigma
        Standard deviation of the Gaussian neighbourhood, in positions.
    angle_std : array-like, shape (...), or None
        Standard deviations, by whose inverse squares positions count; None counts all alike.

    Returns
    -------
    ndarray, shape (...)
        In [0, 2 pi / fold); the direction of the mean of ``exp(i fold angle)`` over the positions
        of the same fold. NaN where `angle` is.

    Raises
    ------
    ValueError
        If the shapes do not agree, or `sigma` or an `angle_std` is not positive.
    """
    from scipy.ndimage import gaussian_filter

    if not sigma > 0:
        raise ValueError(f"sigma must be positive; got {sigma}")
    angle, fold = _checked(angle, fold, None)
    weight = np.ones(angle.shape) if angle_std is None else _weight(angle_std, angle.shape)
    result = np.full(angle.shape, np.nan)
    for n in np.unique(fold[fold > 0]):
        own = fold == n
        phasor = np.where(own, weight * np.exp(1j * n * np.where(own, angle, 0.0)), 0.0)
        mean = gaussian_filter(phasor.real, sigma) + 1j * gaussian_filter(phasor.imag, sigma)
        period = float(period_of(n))
        turned = np.mod(np.angle(mean[own]) / n, period)
        result[own] = np.where(turned >= period, 0.0, turned)
    return result


def smoothed_map(maps: Mapping[str, LatentMap], sigma: float) -> LatentMap:
    """The map ``angle`` by `smooth_angle`, with the inverse squares of ``angle_std`` as weights.

    Parameters
    ----------
    maps
        ``angle``, ``angle_std`` and ``fold``, of a line, a scan, or a series of scans, each of
        which is smoothed for itself.
    sigma
        Standard deviation of the Gaussian neighbourhood, in positions.
    """
    angle, fold = maps["angle"].values, maps["fold"].values
    std = np.where(fold > 0, maps["angle_std"].values, 1.0)
    # A width of 0 has no weight.
    std = np.maximum(std, np.finfo(float).eps)
    values = _scan_by_scan(lambda a, f, s: smooth_angle(a, f, sigma, s), angle, fold, std)
    about = f"angle averaged over {sigma:g} positions, modulo 2 pi / fold"
    period = np.where(np.isfinite(values), period_of(fold), np.nan)
    return LatentMap(SMOOTHED, values, maps["angle"].units, period, about)


def unwrapped_map(maps: Mapping[str, LatentMap], mask: ArrayLike | None = None) -> LatentMap:
    """The map ``angle`` by `unwrap_angle`: no longer cyclic within a region of one fold.

    Parameters
    ----------
    maps
        ``angle`` and ``fold``, of a scan, or a series of scans.
    mask : array-like of bool, shape of the maps, or None
        True where the angle is to be used.
    """
    angle, fold = maps["angle"].values, maps["fold"].values
    used = np.ones(angle.shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    if used.shape != angle.shape:
        raise ValueError(f"mask must have shape {angle.shape}; got {used.shape}")
    values = _scan_by_scan(unwrap_angle, angle, fold, used)
    about = "angle plus whole periods, without jumps within regions of one fold"
    return LatentMap(UNWRAPPED, values, maps["angle"].units, None, about)


def _scan_by_scan(function: Callable[..., FloatArray], *maps: NDArray[Any]) -> NDArray[np.float64]:
    """A function of 1-D or 2-D maps on each of a series, (..., rows, cols)."""
    result = np.empty(maps[0].shape)
    for index in np.ndindex(result.shape[:-2]):
        result[index] = function(*(map_[index] for map_ in maps))
    return result


def _checked(
    angle: ArrayLike, fold: ArrayLike, mask: ArrayLike | None
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Angle, and fold of the same shape that is 0 wherever the angle is not to be used."""
    values = np.asarray(angle, dtype=float)
    used = np.isfinite(values)
    for name, other in (("fold", fold), ("mask", mask)):
        if other is not None and np.shape(other) not in {(), values.shape}:
            raise ValueError(f"{name} must have shape {values.shape}; got {np.shape(other)}")
    if mask is not None:
        used = used & np.asarray(mask, dtype=bool)
    return values, np.where(used, fold, 0).astype(np.int64)


def _weight(angle_std: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    std = np.asarray(angle_std, dtype=float)
    if std.shape != shape:
        raise ValueError(f"angle_std must have shape {shape}; got {std.shape}")
    if not np.all(std > 0):
        raise ValueError(f"angle_std must be positive; got {np.min(std)}")
    weight: FloatArray = 1 / np.square(std)
    return weight


def _unwrapper() -> Any:
    try:
        from skimage.restoration import unwrap_phase
    except ImportError as error:
        raise ImportError(
            "unwrapping angles needs scikit-image: pip install scikit-image"
        ) from error
    return unwrap_phase
