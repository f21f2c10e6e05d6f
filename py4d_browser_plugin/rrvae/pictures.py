# SPDX-License-Identifier: GPL-3.0-or-later
"""What the browser can draw of a map, and what it tells of one; no Qt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

CYCLE = 2 * np.pi


def drawable(values: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
    """A map as the browser's virtual image, which must be finite, and how many values were not.

    These get the smallest value, so that they are dark.
    """
    image = np.array(values, dtype=float)
    defined = np.isfinite(image)
    image[~defined] = image[defined].min(initial=np.inf) if defined.any() else 0.0
    return image, int(np.count_nonzero(~defined))


def angle_colours(angle: NDArray[Any], fold: NDArray[Any]) -> NDArray[np.float64]:
    """Colours of angles modulo ``2 pi / fold``, as in the package's figures.

    Parameters
    ----------
    angle : ndarray, shape (Rx, Ry)
        In radians.
    fold : ndarray, shape (Rx, Ry)
        Equal turns of each pattern; 0 where the angle is undefined.

    Returns
    -------
    ndarray, shape (Rx, Ry, 3)
        Red, green and blue from 0 to 1, nearly black where the angle is undefined.
    """
    # With matplotlib and torch; the browser's start need not wait for them.
    from py4dstem_rrvae.plot import cyclic_colours

    turn = np.where(np.asarray(fold) > 0, np.mod(angle * fold, CYCLE), np.nan)
    return np.asarray(cyclic_colours()(np.ma.masked_invalid(turn / CYCLE)))[..., :3]


def titles(maps: Mapping[str, Any], collapsed: list[bool]) -> dict[str, str]:
    """Names of maps, and what the menu calls them; latents that carry nothing are marked."""
    off = {f"z{k}{end}" for k, is_so in enumerate(collapsed, 1) if is_so for end in ("", "_std")}
    return {name: f"{name} (switched off)" if name in off else name for name in maps}


def caption(name: str, units: str, undefined: int) -> str:
    """One line about the map that is shown."""
    said = name if units == "dimensionless" else f"{name}, {units}"
    if name == "angle":
        said += ", modulo 2 pi / fold; the colours show angle x fold"
    return f"{said}; dark where undefined ({undefined:,} positions)" if undefined else said


def progress(line: str) -> tuple[str, int] | None:
    """What a progress bar of the package is about, and its percentage; None of another line."""
    found = re.match(r"\s*([\w ]+):\s+(\d+)%\|", line)
    return None if found is None else (found[1], int(found[2]))


def sentence(error: BaseException) -> str:
    """What a message box says of an error."""
    return str(error) or type(error).__name__
