# SPDX-License-Identifier: GPL-3.0-or-later
"""What the browser can draw of a map, and what it says of one and of progress; no Qt."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from py4dstem_rrvae.plot import cyclic_colours

CYCLE = 2 * np.pi


def drawable(values: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
    """A map as the browser wants it, finite and 2-D, and how many of its values were not finite.

    These get the smallest value, so that they are dark.
    """
    image = np.array(values, dtype=float)
    defined = np.isfinite(image)
    image[~defined] = image[defined].min() if defined.any() else 0.0
    return image, int(np.count_nonzero(~defined))


def angle_colours(angle: NDArray[Any], fold: NDArray[Any]) -> NDArray[np.float64]:
    """Red, green and blue, shape (Rx, Ry, 3), of ``angle * fold`` in radians, as in the figures.

    Nearly black where `fold` is 0.
    """
    turn = np.where(fold > 0, np.mod(angle * fold, CYCLE), np.nan)
    return np.asarray(cyclic_colours()(np.ma.masked_invalid(turn / CYCLE)))[..., :3]


def caption(name: str, units: str, undefined: int) -> str:
    """One line about the map that is shown."""
    said = name if units == "dimensionless" else f"{name}, {units}"
    return f"{said}; {undefined:,} undefined, dark" if undefined else said


def progress(line: str) -> tuple[str, int] | None:
    """Stage that a progress bar of the package names, and its percentage; None of another line."""
    found = re.match(r"\s*([^:]+):\s+(\d+)%\|", line)
    return None if found is None else (found[1].capitalize(), int(found[2]))
