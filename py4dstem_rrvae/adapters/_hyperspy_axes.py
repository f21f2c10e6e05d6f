# SPDX-License-Identifier: GPL-3.0-or-later
"""What a signal's axes say about scan and detector; imports nothing of the host.

HyperSpy counts axes from the fastest, (x, y | kx, ky); arrays are (y, x, ky, kx).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Powers of ten of a metre.
LENGTHS = {"Å": -10, "A": -10, "nm": -9, "pm": -12, "um": -6, "μm": -6, "mm": -3, "cm": -2, "m": 0}
LENGTHS |= {"fm": -15, "angstrom": -10, "nanometer": -9, "micron": -6, "micrometer": -6}


def check(signal: Any) -> None:
    """Refuse what has not one real pattern per position.

    Raises
    ------
    TypeError, ValueError
        With the call that mends it.
    """
    manager = signal.axes_manager
    if signal.ragged or signal.data.dtype == object:
        raise TypeError(
            "the patterns must all have one shape; got a ragged signal (crop or rebin them alike)"
        )
    if signal.data.dtype.kind == "c":
        raise TypeError(
            f"the patterns must be real; got {signal.data.dtype} (take signal.real, or abs(signal))"
        )
    if signal.data.dtype.kind not in "uifb":
        raise TypeError(
            f"the patterns must be numbers; got {signal.data.dtype} (take one channel: "
            'signal.change_dtype("uint8"))'
        )
    detector, scan = manager.signal_dimension, manager.navigation_dimension
    if detector + scan < 3:
        raise ValueError(
            f"a scan needs a pattern at every position; got {detector + scan} axes in all "
            f"(stack patterns with hyperspy.api.stack)"
        )
    if detector != 2:
        what = "spectra" if detector == 1 else f"{detector} signal axes"
        raise ValueError(
            f"patterns have two signal axes; got {what} (signal.transpose(signal_axes=(0, 1)) "
            "makes the two last of the array the detector's)"
        )
    for axis in manager.navigation_axes:
        if axis.is_uniform and (
            axis.scale == 0 or not np.isfinite([axis.scale, axis.offset]).all()
        ):
            raise ValueError(
                f"the scan's axes must have a scale and an offset; {axis.name!r} has {axis.scale} "
                f"and {axis.offset}"
            )
    if scan == 0:
        raise ValueError(
            "a scan has navigation axes; got none (signal.transpose(signal_axes=(0, 1)))"
        )


def data(signal: Any) -> Any:
    """The array with its axes in the order (..., y, x, ky, kx); never a copy."""
    manager = signal.axes_manager
    axes = [*manager.signal_axes, *manager.navigation_axes][::-1]
    navigation, detector = axes[: len(manager.navigation_axes)], axes[-2:]
    order = [axis.index_in_array for axis in (*navigation, *detector)]
    return signal.data if order == sorted(order) else signal.data.transpose(order)


def detector(signal: Any) -> tuple[tuple[float, float] | None, FloatArray, str]:
    """Geometry that the signal axes hold.

    Returns
    -------
    center : (float, float) or None
        Pixel index (row, col) where q is 0; None where that is no place within the detector.
    matrix : ndarray, shape (2, 2)
        Pixel offset (row, col) to q.
    units : str
        Of q: "A^-1", "mrad", "pixels" where there are none, or the axes' own.

    Raises
    ------
    ValueError
        If the axes are not uniform, or have different units.
    """
    rows, cols = signal.axes_manager.signal_axes[::-1]
    for axis in (rows, cols):
        if not axis.is_uniform:
            raise ValueError(
                f"the detector's axes must be uniform; {axis.name!r} is not "
                f'(signal.interpolate_on_axis("uniform", {axis.name!r}))'
            )
        if not np.isfinite(axis.scale) or axis.scale == 0:
            raise ValueError(
                f"the detector's axes must have a scale; {axis.name!r} has {axis.scale}"
            )
    (units, row_factor), (other, col_factor) = (q_units(axis.units) for axis in (rows, cols))
    if units != other:
        raise ValueError(
            f"the detector's axes must have the same units; got {rows.units!r} and {cols.units!r}"
        )
    matrix = np.diag([rows.scale * row_factor, cols.scale * col_factor])
    # The default offset, 0, puts the origin on the first pixel: nothing is known then.
    index = [-axis.offset / axis.scale for axis in (rows, cols)]
    inside = all(0 < i < axis.size - 1 for i, axis in zip(index, (rows, cols), strict=True))
    return ((float(index[0]), float(index[1])) if inside else None), matrix, units


def q_units(units: Any) -> tuple[str, float]:
    """Units of q as the model has them, and the factor that brings a number to them."""
    if not isinstance(units, str) or units.strip() in ("", "px", "pixel", "pixels"):
        return "pixels", 1.0
    plain = _plain(units)
    length = re.fullmatch(r"1/(?P<over>\w+)|(?P<power>\w+?)-1", plain)
    if length is not None:
        power = LENGTHS.get(length["over"] or length["power"])
        if power is not None:
            return "A^-1", 10.0 ** (-10 - power)
    if plain in ("mrad", "rad"):
        return "mrad", 1.0 if plain == "mrad" else 1e3
    return units, 1.0


def _plain(units: str) -> str:
    """Units without TeX, in one of the several letters that Unicode has for each."""
    plain = unicodedata.normalize("NFKC", units).replace("\N{MINUS SIGN}", "-")
    plain = re.sub(r"\\(?:AA|mathring\{A\})", "Å", plain).replace("\\mu", "μ")
    return re.sub(r"[${}\s^]", "", plain)


def scan(signal: Any) -> list[dict[str, Any]]:
    """Axes of a map of the scan: the last two of the array (or the only one) are its signal's."""
    axes = signal.axes_manager.navigation_axes[::-1]
    first = max(len(axes) - 2, 0)
    return [
        axis.get_axis_dictionary() | {"navigate": number < first}
        for number, axis in enumerate(axes)
    ]


def pixel(axes: Any) -> tuple[float, float]:
    """Size of a map's pixels along the first axis, and how many times it they have on the second.

    Lengths in other units are brought to one; the ratio is 1 where the units do not compare.
    """
    scales = [abs(float(axis.scale)) if axis.is_uniform else 1.0 for axis in axes]
    powers = [LENGTHS.get(_plain(str(axis.units))) for axis in axes]
    if axes[0].units == axes[1].units:
        return scales[0], scales[1] / scales[0]
    if powers[0] is None or powers[1] is None:
        return scales[0], 1.0
    ratio = scales[1] / scales[0] * 10.0 ** (powers[1] - powers[0])
    return scales[0], float(f"{ratio:.12g}")
