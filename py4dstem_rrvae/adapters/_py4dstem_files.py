# SPDX-License-Identifier: GPL-3.0-or-later
"""Data cubes made of arrays, or read from any file that py4DSTEM opens."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import py4DSTEM
from emdfile import Node
from numpy.typing import NDArray
from py4DSTEM import DataCube


def datacube(
    patterns: NDArray[Any],
    *,
    scan_step: float,
    q_per_pixel: float,
    center: tuple[float, float],
    name: str = "datacube",
) -> DataCube:
    """A calibrated stock `DataCube` whose detector axes are those of the scan.

    Parameters
    ----------
    patterns
        Shape (rows, cols, H, W).
    scan_step
        Distance between neighbouring positions, in angstrom.
    q_per_pixel
        Detector pixel, in 1/angstrom.
    center
        Detector pixel (row, col) of the undeflected beam.
    name
        Name of the data cube.
    """
    cube = DataCube(patterns, name=name)
    calibration = cube.calibration
    calibration.set_R_pixel_size(scan_step)
    calibration.set_R_pixel_units("A")
    calibration.set_Q_pixel_size(q_per_pixel)
    calibration.set_Q_pixel_units("A^-1")
    calibration.set_origin(tuple(float(index) for index in center))
    calibration.set_QR_rotflip_degrees((0.0, False))
    return cube


def read(path: str | PathLike[str]) -> DataCube:
    """The data cube in a file, native or of another kind that py4DSTEM imports.

    Raises
    ------
    ValueError
        If py4DSTEM cannot open the file, or it holds no data cube or several.
    """
    try:
        found = _open(Path(path))
    except Exception as error:  # the readers raise whatever their format makes them
        reason = str(error).strip() or type(error).__name__
        raise ValueError(
            f"{path} must be a file that py4DSTEM opens; it says: {reason.splitlines()[0]}"
        ) from error
    cubes = _cubes(found)
    if len(cubes) != 1:
        held = ", ".join(cube.name for cube in cubes) or type(found).__name__
        raise ValueError(f"{path} must hold one DataCube; got {len(cubes)} ({held})")
    return cubes[0]


def _open(path: Path) -> Any:
    try:
        return py4DSTEM.read(path)
    except AssertionError as error:
        if "import_file" not in str(error):
            raise
    return py4DSTEM.import_file(path)


def _cubes(node: Any) -> list[DataCube]:
    if isinstance(node, DataCube):
        return [node]
    branches = node.treekeys if isinstance(node, Node) else ()
    return [cube for name in branches for cube in _cubes(node.tree(name))]
