# SPDX-License-Identifier: GPL-3.0-or-later
"""What a py4DSTEM `Calibration` says about the detector; imports nothing of the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Center = tuple[float, float] | NDArray[np.float64]


def frame(calibration: Any) -> str:
    """``"scan"`` where the rotation between diffraction and scan is known, else ``"detector"``."""
    return "detector" if turn(calibration) is None else "scan"


def turn(calibration: Any) -> tuple[float, bool] | None:
    """Rotation in degrees and flip from diffraction to scan; None where the rotation is unknown."""
    rotation = calibration.get_QR_rotation()
    if rotation is None:
        return None
    return float(np.degrees(rotation)), bool(calibration.get_QR_flip())


def check_scan_step(calibration: Any) -> None:
    """Refuse a distance between positions that no map could be drawn with.

    Raises
    ------
    ValueError
        If the R pixel size is not positive and finite.
    """
    size = calibration.get_R_pixel_size()
    if not _positive(size):
        raise ValueError(f"the calibration's R pixel size must be positive; got {size}")


def center(calibration: Any, scan_shape: tuple[int, int]) -> Center | None:
    """Detector pixel (row, col) of the direct beam, or one per position, or None.

    The fitted origin comes before the measured one, and that before the place of the probe.

    Returns
    -------
    (float, float), or ndarray of shape ``(*scan_shape, 2)``, or None

    Raises
    ------
    ValueError
        If the origin is not finite or has neither the scan's shape nor one value.
    """
    origin, name = calibration.get_origin(), "origin"
    if origin is None:
        origin, name = _measured(calibration), "measured origin"
    if origin is None:
        origin, name = calibration.get_origin_mean(), "mean origin"
    if origin is None or any(q is None for q in origin):
        return None
    row, col = (np.asarray(q, dtype=float) for q in origin)
    for q in (row, col):
        if q.size != 1 and q.shape != scan_shape:
            raise ValueError(
                f"the calibration's {name} must be one value or have the scan's shape "
                f"{scan_shape}; got {q.shape} (set_origin again after cropping or binning the scan)"
            )
        if not np.isfinite(q).all():
            raise ValueError(f"the calibration's {name} must be finite; got NaN or infinity")
    if np.ptp(row) == 0 and np.ptp(col) == 0:
        return float(row.flat[0]), float(col.flat[0])
    origins: NDArray[np.float64] = np.stack(
        [np.broadcast_to(q, scan_shape) for q in (row, col)], axis=-1
    )
    return origins


def _measured(calibration: Any) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Measured origins; positions where none was found take the median of the others."""
    measured = calibration.get_origin_meas()
    if measured is None:
        return None
    masked: Any = np.ma  # without types in NumPy 1.26
    row, col = (masked.asarray(q, dtype=float).filled(np.nan) for q in measured)
    found = np.isfinite(row) & np.isfinite(col)
    mask = calibration.get_origin_meas_mask()
    if mask is not None:
        found &= np.asarray(mask, dtype=bool)
    if not found.any():
        return None
    row, col = (np.where(found, q, np.median(q[found])) for q in (row, col))
    return row, col


def matrix(calibration: Any) -> NDArray[np.float64]:
    """Pixel offset (row, col) to isotropic q in the frame that `frame` names, shape (2, 2).

    Raises
    ------
    ValueError
        If the pixel size or the ellipse's axes are not positive and finite.
    """
    size = calibration.get_Q_pixel_size()
    if not _positive(size):
        raise ValueError(f"the calibration's Q pixel size must be positive; got {size}")
    result = float(size) * _circle(calibration.get_ellipse())
    known = turn(calibration)
    if known is None:
        return result
    # DPC and BraggVectors do the same: transpose, then turn from x towards y.
    degrees, flip = known
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned: NDArray[np.float64] = np.array([[cos, -sin], [sin, cos]]) @ (
        result[::-1] if flip else result
    )
    return turned


def _circle(ellipse: tuple[Any, Any, Any] | None) -> NDArray[np.float64]:
    """Matrix that makes the ellipse a circle by shrinking its long axis, as the host does."""
    if ellipse is None:
        return np.eye(2)
    # Semiaxes may be given per position; one detector has one distortion.
    long, short, tilt = (float(np.median(e)) for e in ellipse)
    if not (_positive(long) and _positive(short)):
        raise ValueError(f"the calibration's ellipse must have positive axes; got {(long, short)}")
    axis = np.array([np.cos(tilt), np.sin(tilt)])
    return np.eye(2) + (short / long - 1) * np.outer(axis, axis)


def _positive(value: Any) -> bool:
    return value is not None and bool(np.isfinite(value)) and float(value) > 0


def record(calibration: Any, scan_shape: tuple[int, int]) -> dict[str, Any]:
    """What maps depend on, to tell later whether they are stale; types that `Metadata` writes."""
    degrees, flip = turn(calibration) or (None, None)
    return {
        "Rshape": list(scan_shape),
        "frame": frame(calibration),
        "matrix": matrix(calibration),
        "Q_pixel_units": calibration.get_Q_pixel_units(),
        "R_pixel_size": float(calibration.get_R_pixel_size()),
        "R_pixel_units": calibration.get_R_pixel_units(),
        "QR_rotation_degrees": degrees,
        "QR_flip": flip,
    }


def castable(value: Any) -> Any:
    """`value` as what `Metadata` writes and reads back; its `str` if nothing else fits."""
    if isinstance(value, int) and abs(value) >= 2**63:
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return castable(value.item())
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return value
    if isinstance(value, dict):
        return {str(key): castable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [castable(item) for item in value]
        for kind in (str, (bool, int, float)):
            if all(isinstance(item, kind) for item in items):
                return items
    return str(value)
