# SPDX-License-Identifier: GPL-3.0-or-later
"""How unusual each pattern is, from the maps of a signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..maps.anomaly import anomaly_map
from ..maps.latent import codes_of
from . import _hyperspy_maps
from .hyperspy_signals import LatentMap1D, LatentMap2D


def anomaly(
    signal: Any, maps: Mapping[str, Any], *, neighbourhood: float = 0.0
) -> LatentMap1D | LatentMap2D:
    """How far each pattern lies from what is usual in the scan.

    A pattern alone is judged by its live latents and its misfit. Averaged over a good part of a
    unit cell, the codes of a perfect lattice are constant, and what is not stands out.

    Parameters
    ----------
    signal
        The scan; its data are not read.
    maps
        Of `hyperspy.fit` or `hyperspy.encode` on it.
    neighbourhood
        Standard deviation, in scan positions, of the Gaussian over which codes are averaged before
        they are judged; 0 judges each pattern alone.

    Returns
    -------
    LatentMap1D or LatentMap2D, on the axes of the scan
        Robust standard deviations, at least 0.

    Raises
    ------
    ValueError
        If the maps do not suit.
    """
    _hyperspy_maps.check(maps, ("z1", "z1_std", "angle", "angle_std", "fold", "error"))
    codes = codes_of({name: np.asarray(map_.data) for name, map_ in maps.items()})
    gone = maps["z1"].metadata.RRVAE.collapsed
    collapsed = [f"z{k}" in gone for k in range(1, codes.z.shape[-1] + 1)]
    map_ = anomaly_map(codes, collapsed=collapsed, neighbourhood=neighbourhood)
    about = {"neighbourhood": neighbourhood, "collapsed": list(gone)}
    result = _hyperspy_maps.to_signal(signal, map_, about)
    return result.as_lazy() if maps["z1"]._lazy else result
