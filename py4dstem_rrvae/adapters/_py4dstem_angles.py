# SPDX-License-Identifier: GPL-3.0-or-later
"""Angle maps without jumps, attached beside the map they were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..maps.angle import SMOOTHED, UNWRAPPED, smoothed_map, unwrapped_map
from ..maps.latent import LatentMap
from . import _py4dstem_tree, py4dstem
from ._py4dstem_tree import ABOUT_FIT, ABOUT_SMOOTHED, ABOUT_UNWRAPPED

if TYPE_CHECKING:
    from py4DSTEM import DataCube, RealSlice


def smooth_angle(datacube: DataCube, sigma: float = 1.0) -> RealSlice:
    """Attach the angle averaged over its neighbourhood; `fit` and `encode` remove it.

    Parameters
    ----------
    datacube
        With maps of `fit` or `encode`.
    sigma
        Standard deviation of the Gaussian neighbourhood, in scan positions.

    Returns
    -------
    RealSlice, shape (Rx, Ry)
        Radians in [0, 2 pi / fold), weighted by ``angle_std``, over positions of the same fold; NaN
        where the angle is.

    Raises
    ------
    ValueError
        If no latent maps are attached, or sigma is not positive.
    """
    found = smoothed_map(_angles(datacube), sigma)
    return py4dstem._attach(datacube, [found], ABOUT_SMOOTHED, {"sigma": sigma})[SMOOTHED]


def unwrap_angle(datacube: DataCube, mask: ArrayLike | None = None) -> RealSlice:
    """Attach the angle without jumps by whole periods; `fit` and `encode` remove it.

    Parameters
    ----------
    datacube
        With maps of `fit` or `encode`.
    mask : array-like of bool, shape (Rx, Ry), or None
        True where the angle is to be used.

    Returns
    -------
    RealSlice, shape (Rx, Ry)
        Radians: the angle plus whole periods, as smooth as these allow within each connected region
        of one fold; NaN elsewhere.

    Raises
    ------
    ImportError
        If scikit-image is missing.
    ValueError
        If no latent maps are attached, or the mask has another shape than the scan.
    """
    found = unwrapped_map(_angles(datacube), mask)
    about: dict[str, Any] = {"masked": mask is not None and not bool(np.all(mask))}
    return py4dstem._attach(datacube, [found], ABOUT_UNWRAPPED, about)[UNWRAPPED]


def _angles(cube: DataCube) -> dict[str, LatentMap]:
    node = py4dstem._node(cube)
    if node is None or ABOUT_FIT not in _py4dstem_tree.kinds(node):
        raise ValueError("the datacube has no map of the angle: call fit or encode first")
    _py4dstem_tree.check_fresh(cube, node)
    return {n: _py4dstem_tree.latent_map(node, n) for n in ("angle", "angle_std", "fold")}
