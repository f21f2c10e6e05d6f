# SPDX-License-Identifier: GPL-3.0-or-later
"""pyxem: the only module that imports it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hyperspy.signals import Signal2D
from pyxem.signals import BeamShift, ElectronDiffraction2D

from ..maps.latent import LatentMap
from ..scan.frames import Frames


def beam_shift(signal: Any, source: Frames) -> BeamShift:
    """Pyxem's centre of mass: shifts (x, y) to the middle of the detector, in pixels."""
    if source.mask is None and hasattr(signal, "get_direct_beam_position"):
        patterns = signal
    else:
        patterns = _diffraction(signal, source)
    return patterns.get_direct_beam_position(method="center_of_mass", lazy_output=False)


def _diffraction(signal: Any, source: Frames) -> Any:
    """The signal as pyxem's class, with the mask applied; without one on the user's data."""
    patterns, kept = source.patterns, source.mask
    # A product would keep the NaN under the mask; where of a dask array is a dask array.
    masked = patterns if kept is None else np.where(kept, patterns, patterns.dtype.type(0))
    manager = signal.axes_manager
    axes = [*manager.navigation_axes[::-1], *manager.signal_axes[::-1]]
    plain = Signal2D(masked, axes=[axis.get_axis_dictionary() for axis in axes])
    plain = plain.as_lazy() if signal._lazy else plain
    plain.set_signal_type("diffraction")
    return plain


def maps(signal: Any, shift: BeamShift, method: str) -> list[LatentMap]:
    """Centre of mass about its mean in the units of the signal axes; phase for two scan axes."""
    result = []
    for number, axis in enumerate(signal.axes_manager.signal_axes):
        com = -shift.data[..., number] * axis.scale
        letter, along = ("x", "columns") if number == 0 else ("y", "rows")
        units = axis.units if isinstance(axis.units, str) else "pixels"
        description = f"centre of mass of the pattern along {letter} ({along})"
        result.append(LatentMap(f"com_{letter}", com - np.nanmean(com), units, None, description))
    if signal.axes_manager.navigation_dimension == 2:
        phase = shift.phase_retrieval(method).data
        description = f"pyxem's phase of the beam shift, {method}"
        result.append(LatentMap("phase", phase, "arb. units", None, description))
    return result


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
