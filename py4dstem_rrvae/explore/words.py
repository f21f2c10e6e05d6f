# SPDX-License-Identifier: GPL-3.0-or-later
"""What an explorer says of the position it looks at, as text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..maps import LatentMap
from .state import State


class Scale(NamedTuple):
    """Distance between neighbouring positions along a row, its units, and rows over columns.

    `first` is where the first position lies, (up, across) in these units; None where places in
    units have no meaning.
    """

    pixel_size: float = 1.0
    units: str = "pixels"
    pixel_ratio: float = 1.0
    first: tuple[float, float] | None = (0.0, 0.0)


def tell(state: State, scale: Scale) -> dict[str, str]:
    """What there is to read: name to value, in order.

    The angle is that of the map, in the host's convention; where the point is if it was moved in
    the plane, the number of positions near it, and that of positions in the box follow.
    """
    row, col = state.position
    said = {"position": f"row {row}, column {col}"}
    if scale.first is not None and scale.units not in ("pixels", "px", ""):
        up = scale.first[0] + row * scale.pixel_size * scale.pixel_ratio
        across = scale.first[1] + col * scale.pixel_size
        said["at"] = f"{up:.4g}, {across:.4g} {scale.units}"
    maps = state.maps
    for number in range(1, state.codes.z.shape[-1] + 1):
        off = number <= len(state.collapsed) and state.collapsed[number - 1]
        value, std = (_at(maps, f"z{number}{end}", state) for end in ("", "_std"))
        said[f"z{number}"] = "switched off" if off else f"{value:.2f} ± {std:.2f}"
    said["angle"] = _angle(state)
    said["fold"] = f"{_at(maps, 'fold', state):.0f}"
    if "handedness" in maps:
        said["handedness"] = f"{_at(maps, 'handedness', state):.2f}"
    said["error"] = f"{_at(maps, 'error', state):.2f} of the noise"
    if state.moved and state.point is not None and not isinstance(state.plane, str):
        where = zip(state.plane.names, state.point, strict=True)
        said["decoded at"] = ", ".join(f"{name} = {value:.2f}" for name, value in where)
    total = state.shape[0] * state.shape[1]
    if state.point is not None:
        said["alike"] = f"{np.count_nonzero(state.near):,} of {total:,}"
    if state.box is not None:
        said["in the box"] = f"{np.count_nonzero(state.mask):,} of {total:,}"
    return said


def _at(maps: dict[str, LatentMap], name: str, state: State) -> float:
    return float(maps[name].values[state.position]) if name in maps else float("nan")


def _angle(state: State) -> str:
    fold = int(_at(state.maps, "fold", state))
    angle, std = (np.degrees(_at(state.maps, name, state)) for name in ("angle", "angle_std"))
    if fold < 1 or not np.isfinite(angle):
        return "none above the noise"
    said = f"{angle:.1f}° ± {std:.1f}°" + ("" if fold == 1 else f", modulo {360 / fold:.4g}°")
    reliability = _at(state.maps, "angle_reliability", state)
    return f"{said}, reliability {reliability:.2f}" if np.isfinite(reliability) else said
