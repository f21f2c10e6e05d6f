# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading data cubes from any file that py4DSTEM opens."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import py4DSTEM
from emdfile import Node
from py4DSTEM import DataCube


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
