# SPDX-License-Identifier: GPL-3.0-or-later
"""The plane in which every position of a scan is a point: one latent against another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..codes import Codes

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""``(left, right, bottom, top)`` in the plane."""

ERROR = "error"
COLLAPSED = (
    "all latents are switched off, so there is no latent plane: they tell nothing of these patterns"
)
UNDEFINED = "no position has finite latents, so there is no latent plane"
# Of the range of the codes: what lies between the outermost of them and the edges of the plane.
MARGIN = 0.04


@dataclass(frozen=True)
class Plane:
    """Where the positions of a scan lie, by two of their codes.

    Attributes
    ----------
    latents : tuple of int
        Numbers, from 1, of the latents along x and y; of one where y is the error.
    x, y : ndarray, shape (rows, cols)
        Codes of each position, NaN where it has none.
    """

    latents: tuple[int, ...]
    x: FloatArray
    y: FloatArray

    @property
    def names(self) -> tuple[str, str]:
        """What stands along x and along y."""
        first, *second = (f"z{number}" for number in self.latents)
        return first, second[0] if second else ERROR

    @property
    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """From where to where x and y go, so that every position is seen."""
        return _limits(self.x), _limits(self.y)

    def inside(self, box: Box) -> BoolArray:
        """Positions (rows, cols) in a box, its edges included."""
        left, right, bottom, top = box
        found: BoolArray = (
            (self.x >= left) & (self.x <= right) & (self.y >= bottom) & (self.y <= top)
        )
        return found

    def radii(self, reach: float) -> tuple[float, float]:
        """Half axes of the ellipse that is `reach` times as large as the plane."""
        across, up = self.limits
        return reach * (across[1] - across[0]), reach * (up[1] - up[0])

    def near(self, point: tuple[float, float], reach: float) -> BoolArray:
        """Positions (rows, cols) in an ellipse about a point; `reach` as in `radii`."""
        across, up = self.radii(reach)
        distance = ((self.x - point[0]) / across) ** 2 + ((self.y - point[1]) / up) ** 2
        found: BoolArray = distance <= 1
        return found


def make_plane(
    codes: Codes, collapsed: Sequence[bool] = (), latents: Sequence[int] | None = None
) -> Plane | str:
    """The plane of two latents, or of the error above the one that lives.

    Parameters
    ----------
    codes
        Of a scan, shape (rows, cols).
    collapsed
        Of each latent, whether it carries nothing.
    latents
        Numbers, from 1, of one or two latents; None takes the first two that carry something.

    Returns
    -------
    Plane, or str
        A sentence where there is nothing to see.

    Raises
    ------
    ValueError
        If there are no such latents.
    """
    dims = codes.z.shape[-1]
    gone = [*collapsed, *[False] * dims][:dims]
    if latents is None:
        latents = [number for number, off in enumerate(gone, 1) if not off][:2]
        if not latents:
            return COLLAPSED
    numbers = tuple(int(number) for number in latents)
    if len(numbers) not in (1, 2) or not all(1 <= number <= dims for number in numbers):
        raise ValueError(f"latents must be one or two numbers from 1 to {dims}; got {latents}")
    x = _floats(codes.z[..., numbers[0] - 1])
    y = _floats(codes.z[..., numbers[1] - 1] if len(numbers) == 2 else codes.error)
    seen = np.isfinite(x) & np.isfinite(y)
    if not seen.any():
        return UNDEFINED
    return Plane(numbers, np.where(seen, x, np.nan), np.where(seen, y, np.nan))


def _limits(values: FloatArray) -> tuple[float, float]:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    # A scan of one pattern has one point.
    room = MARGIN * (high - low) or 0.5
    return low - room, high + room


def _floats(values: NDArray[Any]) -> FloatArray:
    return np.asarray(values, dtype=float)
