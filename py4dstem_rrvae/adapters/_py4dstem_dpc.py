# SPDX-License-Identifier: GPL-3.0-or-later
"""How py4DSTEM's `DPC` is run for a comparison; imports nothing of the host."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..maps.latent import DIMENSIONLESS, LatentMap

SCAN_UNITS = ("A", "nm", "pixels")


def check(cube: Any, energy: float) -> None:
    """Refuse what DPC would stumble over, or answer without a word.

    Raises
    ------
    ValueError
        If the energy is not in eV, the scan is under 3 x 3 positions, or DPC does not know the
        units of the scan.
    """
    if not (np.isfinite(energy) and energy >= 1e3):
        raise ValueError(f"energy must be in eV (60 kV is 60e3); got {energy}")
    if min(cube.Rshape) < 3:
        raise ValueError(f"DPC needs a scan of at least 3 x 3 positions; got {cube.Rshape}")
    scan, detector = (
        cube.calibration.get_R_pixel_units(),
        cube.calibration.get_Q_pixel_units(),
    )
    if scan not in SCAN_UNITS:
        raise ValueError(
            f"DPC needs the calibration's R pixel units to be one of {', '.join(SCAN_UNITS)}; "
            f"got {scan!r}"
        )
    if "pixels" in (scan, detector):
        warnings.warn(
            "DPC needs R pixel sizes in A or nm and Q pixel sizes in A^-1 or mrad for the scale of "
            f"its phase; got {scan} and {detector}, so that scale is arbitrary",
            stacklevel=4,
        )


def run(
    dpc: Any,
    turn: tuple[float, bool] | None,
    *,
    max_iter: int,
    mask: NDArray[np.bool_] | None,
) -> tuple[list[LatentMap], dict[str, Any]]:
    """Preprocess and reconstruct, with nothing drawn or printed.

    Parameters
    ----------
    dpc
        A `py4DSTEM.process.phase.DPC`, just made.
    turn
        Rotation in degrees and flip between diffraction and scan; None lets DPC search.
    max_iter
        Iterations of the reconstruction.
    mask
        True where a detector pixel counts.

    Returns
    -------
    maps
        ``com_x`` and ``com_y``, in the scan's frame where `turn` is given, else in the detector's;
        and ``dpc_phase``.
    parameters
        What was done, for the metadata.
    """
    forced = {} if turn is None else {"force_com_rotation": turn[0], "force_com_transpose": turn[1]}
    # Position by position needs less memory, but there the host multiplies the mask into its view
    # of float32 data, which is the user's array.
    with np.errstate(invalid="ignore", divide="ignore"):
        dpc.preprocess(
            dp_mask=mask,
            plot_rotation=False,
            plot_center_of_mass=False,
            vectorized_com_calculation=mask is not None,
            **forced,
        )
        dpc.reconstruct(max_iter=max_iter, progress_bar=False)
    found = float(np.degrees(dpc._rotation_best_rad)), bool(dpc._rotation_best_transpose)
    if turn is None:
        warnings.warn(
            f"the calibration has no QR rotation: DPC found {found[0]:.0f} degrees and transpose "
            f"{found[1]} for its phase; COM and angle stay in the detector's frame "
            "(calibration.set_QR_rotflip_degrees moves both to the scan's)",
            stacklevel=4,
        )
    parameters = {
        "max_iter": max_iter,
        "mask_excludes": 0 if mask is None else int(np.sum(~np.asarray(mask, dtype=bool))),
        "dpc_rotation_degrees": found[0],
        "dpc_transpose": found[1],
        "dpc_error": float(dpc.error),
    }
    return _maps(dpc, in_detector_frame=turn is None), parameters


def _maps(dpc: Any, *, in_detector_frame: bool) -> list[LatentMap]:
    if in_detector_frame:
        com_x, com_y = dpc._com_normalized_x, dpc._com_normalized_y
    else:
        com_x, com_y = dpc._com_x, dpc._com_y
    units = dpc._reciprocal_units[0]
    # DPC integrates COM in 1/A over A without the factor 2 pi between q and the phase's gradient.
    phase_units = "2 pi rad" if (dpc._scan_units[0], units) == ("A", "A^-1") else DIMENSIONLESS
    return [
        LatentMap("com_x", com_x, units, None, "centre of mass of the pattern along x (rows)"),
        LatentMap("com_y", com_y, units, None, "centre of mass of the pattern along y (columns)"),
        LatentMap(
            "dpc_phase", dpc.object_phase, phase_units, None, "phase of the specimen, iterative DPC"
        ),
    ]
