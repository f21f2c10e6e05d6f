# SPDX-License-Identifier: GPL-3.0-or-later
"""Angle maps without jumps, from the maps of a signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from ..maps.angle import smoothed_map, unwrapped_map
from ..maps.latent import LatentMap
from . import _hyperspy_maps
from .hyperspy_signals import LatentMap1D, LatentMap2D


def smooth_angle(
    signal: Any, maps: Mapping[str, Any], sigma: float = 1.0
) -> LatentMap1D | LatentMap2D:
    """The angle averaged over its neighbourhood, on the scan's axes.

    Parameters
    ----------
    signal
        The scan; its data are not read.
    maps
        Of `hyperspy.fit` or `hyperspy.encode` on it.
    sigma
        Standard deviation of the Gaussian neighbourhood, in scan positions.

    Returns
    -------
    LatentMap1D or LatentMap2D, on the axes of the scan
        Radians in [0, 2 pi / fold), weighted by ``angle_std``, over positions of the same fold; NaN
        where the angle is.

    Raises
    ------
    ValueError
        If sigma is not positive.
    """
    return _signal(signal, maps, smoothed_map(_plain(maps), sigma), {"sigma": sigma})


def unwrap_angle(
    signal: Any, maps: Mapping[str, Any], mask: ArrayLike | None = None
) -> LatentMap2D | LatentMap1D:
    """The angle without jumps by whole periods, on the scan's axes.

    Parameters
    ----------
    signal, maps
        As in `smooth_angle`; no line scan.
    mask
        True where the angle is to be used: an array, or a signal on the scan's axes.

    Returns
    -------
    LatentMap2D, on the axes of the scan
        Radians: the angle plus whole periods, as smooth as these allow within each connected region
        of one fold; NaN elsewhere.

    Raises
    ------
    ImportError
        If scikit-image is missing.
    ValueError
        If the mask has another shape than the maps, or the scan is a line.
    """
    used = getattr(mask, "data", mask)
    return _signal(signal, maps, unwrapped_map(_plain(maps), used), {})


def _plain(maps: Mapping[str, Any]) -> dict[str, LatentMap]:
    return {
        name: _hyperspy_maps.to_map(maps[name], maps) for name in ("angle", "angle_std", "fold")
    }


def _signal(
    signal: Any, maps: Mapping[str, Any], map_: LatentMap, about: dict[str, Any]
) -> LatentMap1D | LatentMap2D:
    result = _hyperspy_maps.to_signal(signal, map_, about)
    return result.as_lazy() if maps["angle"]._lazy else result
