# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pixels and bins lie, polar or square ones: in polar bins a rotation is a shift.

Patterns are (..., row, col). A pixel at ``index`` lies at ``q = matrix @ (index - center)`` in
isotropic units; its polar angle is ``atan2(q_col, q_row)``: from the row axis towards the column
axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .arrays import FloatArray, Index

# Square bins along a side: what the published model was given.
MOST_SQUARE = 64
NO_PIXELS = "mask must leave pixels within the circle about the centre; none are"
# A ring is used as far out as the detector covers this share of its circle. Less of it shows no
# more than four of 64 angular bins, and says next to nothing of a pattern that may be turned.
LEAST_ARC = 1 / 16
# Points on a circle, and radii, at which that share is looked up.
CIRCLE_POINTS, RADII = 720, 400
# Width of a ring in pixels, and how many there are at least and at most.
RING_WIDTH, FEWEST_RINGS, MOST_RINGS = 1.4, 4, 36


@dataclass(frozen=True)
class Detector:
    """Geometry of the patterns.

    Attributes
    ----------
    shape : (int, int)
        Detector pixels ``(H, W)``.
    center : (float, float)
        Pixel index ``(row, col)`` of the undiffracted beam, sub-pixel.
    matrix : ndarray, shape (2, 2)
        Pixel offset to isotropic q: pixel sizes, elliptical distortion, and the rotation or flip
        into the scan's frame.
    mask : ndarray of bool, shape (H, W), or None
        True where a pixel is kept.
    """

    shape: tuple[int, int]
    center: tuple[float, float]
    matrix: FloatArray
    mask: NDArray[np.bool_] | None = None

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Pixels (H, W) that the mask leaves."""
        return np.ones(self.shape, bool) if self.mask is None else self.mask

    def inscribed_radius(self, wander: float = 0.0) -> float:
        """Largest circle in q on the detector wherever the centre goes, up to `wander` pixels."""
        inverse = np.linalg.inv(self.matrix)
        # A circle of radius 1 in q reaches this many pixels along (row, col).
        reach = np.linalg.norm(inverse, axis=1)
        room = [min(c + 0.5, n - 0.5 - c) for c, n in zip(self.center, self.shape, strict=True)]
        return float(min((np.asarray(room) - wander) / reach))

    def covered(self, radius: FloatArray, wander: float = 0.0) -> FloatArray:
        """Share of circles of ``radius (n,)`` in q that lies on the detector, (n,).

        Of what is covered wherever the centre goes, up to `wander` pixels. Masks are left out.
        """
        around = 2 * np.pi * (np.arange(CIRCLE_POINTS) + 0.5) / CIRCLE_POINTS
        circle = np.linalg.inv(self.matrix) @ np.stack([np.cos(around), np.sin(around)])
        index = radius[:, None, None] * circle + np.asarray(self.center)[:, None]
        room = np.asarray(self.shape)[:, None] - 0.5 - wander
        inside = ((index > wander - 0.5) & (index < room)).all(axis=1)
        return inside.mean(axis=1)

    def seen_radius(self, wander: float = 0.0) -> float:
        """Largest circle in q of which the detector covers at least a sixteenth."""
        corners = np.array([(i, j) for i in (0, 1) for j in (0, 1)]) * self.shape - 0.5
        farthest = np.linalg.norm((corners - self.center) @ self.matrix.T, axis=1).max()
        radius = np.linspace(0, farthest, RADII + 1)[1:]
        seen = radius[self.covered(radius, wander) >= LEAST_ARC]
        return float(seen.max()) if len(seen) else 0.0

    def pixel_size(self) -> float:
        """Side in q of a square with a pixel's area."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


@dataclass(frozen=True)
class PolarGrid:
    """Bins of equal width in radius and angle; angular bin k is centred on ``2 pi k / n_angular``.

    Attributes
    ----------
    radius_max : float
        Outer edge, in the units of q.
    n_radial, n_angular : int
        Number of bins.
    degree : int
        Of the splines that the intensity follows between pixels; see `BinOperator`.
    """

    radius_max: float
    n_radial: int
    n_angular: int
    degree: int = 2

    @classmethod
    def for_detector(cls, detector: Detector, wander: float = 0.0) -> PolarGrid:
        """Bins as far out as the detector sees; see `within`."""
        return cls.within(detector.seen_radius(wander), detector)

    @classmethod
    def within(cls, radius: float, detector: Detector) -> PolarGrid:
        """Rings of about 1.4 pixels (4 to 36 of them), and 64 bins around (32 when small).

        Raises
        ------
        ValueError
            If the circle is smaller than a pixel.
        """
        pixels = _pixels_across(radius, detector) / 2
        n_radial = int(np.clip(round(pixels / RING_WIDTH), FEWEST_RINGS, MOST_RINGS))
        return cls(radius, n_radial, 64 if pixels >= 20 else 32)

    @property
    def shape(self) -> tuple[int, int]:
        """``(R, A)``."""
        return self.n_radial, self.n_angular

    @property
    def reach(self) -> float:
        """Distance of the farthest point of any bin."""
        return self.radius_max

    def bins(self, q: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Flat bin (...) of the points ``q (..., 2)``, and whether they lie in any."""
        radial = np.linalg.norm(q, axis=-1) / self.radius_max * self.n_radial
        angular = np.arctan2(q[..., 1], q[..., 0]) / (2 * np.pi) * self.n_angular
        flat = radial.astype(int) * self.n_angular + np.rint(angular).astype(int) % self.n_angular
        return flat, radial < self.n_radial

    def bin_centers(self) -> NDArray[np.complex128]:
        """Middles of the bins (R, A) in units of q, row + i col."""
        radius = (np.arange(self.n_radial) + 0.5) * self.radius_max / self.n_radial
        phi = np.arange(self.n_angular) * (2 * np.pi / self.n_angular)
        return radius[:, None] * np.exp(1j * phi)


@dataclass(frozen=True)
class SquareGrid:
    """Square bins of equal size about the centre.

    Attributes
    ----------
    radius_max : float
        Half the side of the square, in the units of q.
    n : int
        Number of bins along a side.
    degree : int
        Of the splines that the intensity follows between pixels; see `BinOperator`.
    """

    radius_max: float
    n: int
    degree: int = 0

    @classmethod
    def for_detector(cls, detector: Detector, wander: float = 0.0) -> SquareGrid:
        """Bins of one pixel, or larger ones where they would be more than 64 along a side."""
        radius = detector.inscribed_radius(wander)
        return cls(radius, min(MOST_SQUARE, round(_pixels_across(radius, detector))))

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, n)``."""
        return self.n, self.n

    @property
    def reach(self) -> float:
        """Distance of the farthest point of any bin."""
        return 2**0.5 * self.radius_max

    def bins(self, q: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Flat bin (...) of the points ``q (..., 2)``, and whether they lie in any."""
        row, col = np.moveaxis(np.floor((q / self.radius_max + 1) * (self.n / 2)), -1, 0)
        inside = (row >= 0) & (row < self.n) & (col >= 0) & (col < self.n)
        return (row * self.n + col).astype(int), inside

    def bin_centers(self) -> NDArray[np.complex128]:
        """Middles of the bins (n, n) in units of q, row + i col."""
        middle = ((np.arange(self.n) + 0.5) * 2 / self.n - 1) * self.radius_max
        return middle[:, None] + 1j * middle


def _pixels_across(radius: float, detector: Detector) -> float:
    """Pixels across a circle on the detector.

    Raises
    ------
    ValueError
        If it is smaller than a pixel.
    """
    across = 2 * radius / detector.pixel_size()
    if across < 1:
        raise ValueError(
            "the beam must stay so far from the detector's edges that a circle about it lies on "
            f"the detector in every pattern; got one of {max(across, 0):.2g} pixels across"
        )
    return float(across)


Grid = PolarGrid | SquareGrid
GridFor = Callable[[Detector, float], Grid]
"""Makes a grid to suit a detector on which the centre wanders so many pixels."""


def ring_mean(binned: Tensor, weight: Tensor) -> Tensor:
    """Mean (..., R) over what is seen of each ring of ``binned (..., R, A)``, ``weight (R, A)``."""
    return (binned * weight).sum(dim=-1) / weight.sum(dim=-1).clamp(min=1e-9)


def positions(origins: FloatArray, per_pixel: int) -> Iterator[tuple[tuple[int, int], Index]]:
    """Positions in so many parts of a pixel, and which of ``origins (n, 2)`` are nearest to each.

    Operators are made for positions, and serve all patterns whose beam stands there.
    """
    nearest = np.rint(origins * per_pixel).astype(int)
    places, which = np.unique(nearest, axis=0, return_inverse=True)
    for i, (row, col) in enumerate(places.tolist()):
        yield (row, col), np.flatnonzero(which.ravel() == i)


def center_of_mass(binned: Tensor, grid: Grid) -> Tensor:
    """Centre of mass of ``binned (B, R, A)``, complex (B,): row + i col, in units of q."""
    q = torch.from_numpy(grid.bin_centers()).to(binned.device, torch.complex64)
    return (binned * q).sum(dim=(1, 2)) / binned.sum(dim=(1, 2)).clamp(min=1e-30)
