# SPDX-License-Identifier: GPL-3.0-or-later
"""A detector that distorts, for patterns with a known truth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """How a detector sees the plane of q, whose unit is a pixel of the undistorted detector.

    Attributes
    ----------
    shape : (int, int)
        Detector pixels ``(H, W)``.
    center : ndarray, shape (2,) or (n, 2), or None
        Pixel index of q = 0, one for all patterns or one each; None: the middle.
    matrix : ndarray, shape (2, 2)
        Pixel offset from the centre to q.
    gain : ndarray, shape (H, W), or None
        Share of its electrons that a pixel counts: 0 where it is dead or behind a beam stop.
    dark : ndarray, shape (H, W), or None
        Expected counts of a pixel without beam: large where it is hot.
    """

    shape: tuple[int, int] = (48, 48)
    center: Array | None = None
    matrix: Array = field(default_factory=lambda: np.eye(2))
    gain: Array | None = None
    dark: Array | None = None

    @property
    def origin(self) -> Array:
        """Pixel index of q = 0, shape (2,) or (n, 2)."""
        if self.center is None:
            return (np.asarray(self.shape) - 1) / 2
        return np.asarray(self.center, dtype=float)

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """True where a pixel counts electrons and nothing else; None where all do."""
        if self.gain is None and self.dark is None:
            return None
        kept = np.ones(self.shape, dtype=bool)
        kept &= True if self.gain is None else self.gain > 0
        kept &= True if self.dark is None else self.dark == 0
        return kept

    def part(self, which: slice) -> Camera:
        """Camera of some of the patterns."""
        origin = self.origin
        return replace(self, center=origin[which] if origin.ndim == 2 else origin)

    def plane(self) -> tuple[Array, Array]:
        """Row and column of q at each pixel, both of shape (1 or n, H, W)."""
        index = np.moveaxis(np.indices(self.shape), 0, -1)
        q = (index - self.origin.reshape(-1, 1, 1, 2)) @ np.asarray(self.matrix).T
        return q[..., 0], q[..., 1]

    def record(self, expected: Array) -> Array:
        """Expected counts of ``expected (n, H, W)`` electrons at the pixels."""
        counted = expected if self.gain is None else expected * self.gain
        return counted if self.dark is None else counted + self.dark
