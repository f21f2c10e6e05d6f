# SPDX-License-Identifier: GPL-3.0-or-later
"""HyperSpy and pyxem: the only module that imports them."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyxem.signals import ElectronDiffraction2D


def signal(
    patterns: np.ndarray[Any, Any],
    *,
    scan_step: float,
    q_per_pixel: float,
    center: tuple[float, float],
    name: str,
) -> ElectronDiffraction2D:
    """Make a calibrated pyxem signal of a scan.

    Parameters
    ----------
    patterns
        Shape (scan row, scan col, detector row, detector col); not copied.
    scan_step
        In angstrom.
    q_per_pixel
        In 1/angstrom.
    center
        Pixel index (row, col) of the direct beam; q is zero there.
    name
        Title of the signal.

    Returns
    -------
    pyxem.signals.ElectronDiffraction2D
        Navigation axes x (columns) and y (rows), signal axes kx and ky.
    """
    result = ElectronDiffraction2D(patterns)
    result.metadata.General.title = name
    for axis, label in zip(result.axes_manager.navigation_axes, "xy", strict=True):
        axis.name, axis.scale, axis.offset, axis.units = label, scan_step, 0.0, "Å"
    signal_axes = zip(result.axes_manager.signal_axes, ("kx", "ky"), reversed(center), strict=True)
    for axis, label, origin in signal_axes:
        axis.name, axis.scale, axis.units = label, q_per_pixel, "$Å^{-1}$"
        axis.offset = -origin * q_per_pixel
    return result
