# SPDX-License-Identifier: GPL-3.0-or-later
"""Diffraction-like patterns whose class, turn and deformation are known, for tests and benchmarks.

No physics: each pattern is a smooth function of (radius, angle) sampled on a detector, turned,
scaled to a dose and given Poisson noise. A `Camera` distorts where the function is sampled, so
that nothing is interpolated. Because the expected counts are known, so is the
Cramer-Rao bound of the turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .camera import Camera

Array = NDArray[np.float64]
TWISTS = np.radians([0.0, 40.0, 80.0])
"""Of the outer against the inner of two rings, per class."""
Shape = Callable[[Array, Array, Array, Array], Array]
"""Intensity at (radius, angle) of patterns with (label, deformation), all broadcast together."""


@dataclass(frozen=True)
class Patterns:
    """Patterns and the truth they were drawn from.

    Attributes
    ----------
    frames : ndarray of uint16, shape (n, H, W)
        Poisson counts.
    label : ndarray of int, shape (n,)
        Class of each pattern.
    angle : ndarray, shape (n,)
        Turn in radians, from the row axis towards the column axis.
    deformation : ndarray, shape (n,)
        Continuous deformation, uniform in [-1, 1].
    fold : ndarray of int, shape (n,)
        The pattern repeats every ``2 pi / fold``; 0 where it has no direction.
    bound : ndarray, shape (n,)
        Cramer-Rao bound on the standard deviation of `angle`, radians:
        ``1 / sqrt(sum (d lambda / d angle)^2 / lambda)`` over the pixels' expected counts lambda.
        Infinite where `fold` is 0.
    hand : ndarray of int, shape (n,), or None
        1 and -1 for classes that are mirror images of each other, 0 for one that is its own; None
        where this is not looked at.
    """

    frames: NDArray[np.uint16]
    label: NDArray[np.int64]
    angle: Array
    deformation: Array
    fold: NDArray[np.int64]
    bound: Array
    hand: NDArray[np.int64] | None = None

    def angle_error(self, angle: Array) -> Array:
        """Absolute error of `angle`, shape (n,), in radians, modulo the fold; NaN if undefined.

        That of `angle_difference`.
        """
        return np.abs(self.angle_difference(angle))

    def angle_difference(self, angle: Array) -> Array:
        """Signed error of `angle`, shape (n,), in radians, modulo the fold; NaN if undefined.

        Classes share no common zero (how far is a triangle turned against a bar?), so each is
        allowed one constant offset, the one that minimises its median error.
        """
        error = np.full(len(angle), np.nan)
        for label in np.unique(self.label[self.fold > 0]):
            own = (self.label == label) & np.isfinite(angle)
            if own.any():
                period = 2 * np.pi / self.fold[own]
                error[own] = difference_modulo(angle[own] - self.angle[own], period)
        return error


def error_modulo(difference: Array, period: Array) -> Array:
    """Distance of `difference` from a multiple of `period`, after the best constant offset."""
    return np.abs(difference_modulo(difference, period))


def difference_modulo(difference: Array, period: Array) -> Array:
    """The same with its sign."""
    offsets = np.linspace(0, period.max(), 3600, endpoint=False)
    turned = (difference[:, None] - offsets) / period[:, None]
    cost = np.median(np.abs(turned - np.round(turned)), axis=0)
    best = (difference - offsets[np.argmin(cost)]) / period
    nearest: Array = (best - np.round(best)) * period
    return nearest


def _lobed_ring(radius: Array, angle: Array, lobes: Array, deformation: Array) -> Array:
    """A ring with von Mises lobes; the deformation changes its radius by 6 %."""
    ring = np.exp(-0.5 * ((radius - 0.55 * (1 + 0.06 * deformation)) / 0.09) ** 2)
    lobed: Array = ring * np.exp(2.0 * np.cos(lobes * angle)) + 0.02
    return lobed


def _even_ring(radius: Array, angle: Array, lobes: Array, deformation: Array) -> Array:
    """A ring whose mean over the angle is the same for every number of lobes, 0 for none."""
    ring = np.exp(-0.5 * ((radius - 0.55 * (1 + 0.06 * deformation)) / 0.09) ** 2)
    # The mean of exp(k cos) over the circle is the Bessel function I0(k).
    lobed = np.exp(2.0 * np.cos(lobes * angle)) / np.i0(2.0)
    even: Array = ring * np.where(lobes > 0, lobed, 1.0) + 0.01
    return even


def _twisted_rings(radius: Array, angle: Array, twist: Array, deformation: Array) -> Array:
    """Two 3-fold rings; the classes differ in the angle between them alone."""
    inner = np.exp(-0.5 * ((radius - 0.35 * (1 + 0.06 * deformation)) / 0.05) ** 2)
    outer = np.exp(-0.5 * ((radius - 0.72) / 0.05) ** 2)
    twisted: Array = (
        2 * inner * np.exp(2.0 * np.cos(3 * angle))
        + outer * np.exp(2.0 * np.cos(3 * (angle - twist)))
        + 0.02
    )
    return twisted


def _expected(
    shape: Shape,
    size: int,
    counts: float,
    angle: Array,
    *parameters: Array,
    camera: Camera | None = None,
) -> Array:
    """Expected counts per pixel, shape (n, H, W)."""
    camera = camera or Camera((size, size))
    row, col = (q / (size / 2) for q in camera.plane())
    radius, phi = np.hypot(row, col), np.arctan2(col, row)
    column = [p[:, None, None] for p in (angle, *parameters)]
    intensity = shape(radius, phi - column[0], *column[1:])
    intensity = np.where(radius <= 1, intensity, 0.0)
    scaled: Array = counts * intensity / intensity.sum(axis=(1, 2), keepdims=True)
    return camera.record(scaled)


def _draw(
    shape: Shape,
    parameter: Array,
    fold: NDArray[np.int64],
    n: int,
    size: int,
    counts: float,
    random_state: int,
    camera: Camera | None = None,
) -> Patterns:
    rng = np.random.default_rng(random_state)
    label = rng.integers(len(parameter), size=n)
    angle = rng.uniform(0, 2 * np.pi, n)
    deformation = rng.uniform(-1, 1, n)
    camera = camera or Camera((size, size))
    frames, information = np.empty((n, *camera.shape), dtype=np.uint16), np.empty(n)
    step = 1e-4
    for start in range(0, n, 500):
        part = slice(start, start + 500)
        parameters = (parameter[label[part]], deformation[part])
        seen = camera.part(part)
        expected, turned = (
            _expected(shape, size, counts, angle[part] + turn, *parameters, camera=seen)
            for turn in (0.0, step)
        )
        slope = (turned - expected) / step
        information[part] = np.sum(slope**2 / np.maximum(expected, 1e-12), axis=(1, 2))
        frames[part] = rng.poisson(expected)
    bound = np.full(n, np.inf)
    np.divide(1, np.sqrt(information), out=bound, where=fold[label] > 0)
    return Patterns(frames, label, angle, deformation, fold[label], bound)


def lobes(
    n: int = 2000,
    *,
    size: int = 48,
    counts: float = 5000.0,
    random_state: int = 0,
    numbers: tuple[int, ...] = (2, 3, 6),
    camera: Camera | None = None,
) -> Patterns:
    """Classes that differ in nothing but their number of lobes.

    Parameters
    ----------
    n
        Number of patterns.
    size
        Pixels along each side of the undistorted detector; patterns end at q = size / 2.
    counts
        Expected counts per pattern, before any are lost in a beam stop.
    random_state
        Seed.
    numbers
        Lobes of each class.
    camera
        Detector that records the patterns; None: the undistorted one.
    """
    number = np.array(numbers)
    return _draw(_lobed_ring, number.astype(float), number, n, size, counts, random_state, camera)


def twisted_rings(
    n: int = 2000, *, size: int = 48, counts: float = 5000.0, random_state: int = 0
) -> Patterns:
    """Three classes with identical angular power spectra on every ring.

    Two 3-fold rings, the outer turned against the inner by 0, 40 or 80 degrees: only
    the relative phase of the rings' harmonics tells the classes apart. Parameters as `lobes`.
    """
    fold = np.full(3, 3)
    return _draw(_twisted_rings, TWISTS, fold, n, size, counts, random_state)


def expected_twisted_rings(patterns: Patterns, *, counts: float) -> Array:
    """Expected counts, shape (n, H, W), of patterns that `twisted_rings` drew with these counts."""
    parameters = (patterns.angle, TWISTS[patterns.label], patterns.deformation)
    return _expected(_twisted_rings, patterns.frames.shape[-1], counts, *parameters)


def folds(
    n: int = 2000,
    *,
    orders: tuple[int, ...] = (1, 2, 3, 4, 6, 0),
    size: int = 48,
    counts: float = 5000.0,
    random_state: int = 0,
) -> Patterns:
    """Classes of one radial profile that differ in their rotational order alone.

    Parameters
    ----------
    n
        Number of patterns.
    orders
        Rotational order of each class; 0 is a ring that no turn changes, as of a vacuum or an
        amorphous film.
    size
        Detector pixels along each side.
    counts
        Expected counts per pattern.
    random_state
        Seed.
    """
    number = np.array(orders)
    return _draw(_even_ring, number.astype(float), number, n, size, counts, random_state)


def expected_folds(patterns: Patterns, *, counts: float) -> Array:
    """Expected counts, shape (n, H, W), of patterns that `folds` drew with the same `counts`."""
    parameters = (patterns.angle, patterns.fold.astype(float), patterns.deformation)
    return _expected(_even_ring, patterns.frames.shape[-1], counts, *parameters)


def mirror_twins(
    n: int = 2000, *, size: int = 48, counts: float = 5000.0, random_state: int = 0
) -> Patterns:
    """Two classes that are mirror images of each other, and one that is its own mirror image.

    Two 3-fold rings as in `twisted_rings`, the outer turned against the inner by 30, -30 or 0
    degrees. The turn of a twin is counted from the mirror image, about the row axis, of the other
    twin. Parameters as `lobes`.
    """
    hand = np.array([1, -1, 0])
    fold = np.full(3, 3)
    drawn = _draw(_twisted_rings, np.radians(30.0) * hand, fold, n, size, counts, random_state)
    return replace(drawn, hand=hand[drawn.label])


def two_deformations(
    n: int = 2000, *, size: int = 48, counts: float = 5000.0, random_state: int = 0
) -> tuple[Patterns, Array]:
    """One class of a 3-fold ring with two independent continuous deformations.

    The first moves the ring by 6 %, as in `lobes`; the second moves counts from the ring to the
    middle. Parameters as `lobes`.

    Returns
    -------
    patterns : Patterns
        Its `deformation` is the first.
    second : ndarray, shape (n,)
        The second, uniform in [-1, 1].
    """
    second = np.random.default_rng([random_state, 1]).uniform(-1, 1, n)

    def shape(radius: Array, angle: Array, height: Array, deformation: Array) -> Array:
        middle = np.exp(height - 0.5 * (radius / 0.2) ** 2)
        both: Array = _lobed_ring(radius, angle, np.array(3.0), deformation) + middle
        return both

    rng = np.random.default_rng(random_state)
    angle, deformation = rng.uniform((0, -1), (2 * np.pi, 1), (n, 2)).T
    expected = _expected(shape, size, counts, angle, second, deformation)
    slope = (_expected(shape, size, counts, angle + 1e-4, second, deformation) - expected) / 1e-4
    bound = 1 / np.sqrt(np.sum(slope**2 / np.maximum(expected, 1e-12), axis=(1, 2)))
    frames = rng.poisson(expected).astype(np.uint16)
    label = np.zeros(n, dtype=np.int64)
    return Patterns(frames, label, angle, deformation, np.full(n, 3), bound), second


@dataclass(frozen=True)
class Polycrystal:
    """A scan over a few large grains of two phases.

    Attributes
    ----------
    frames : ndarray of uint16, shape (rows, cols, H, W)
        Poisson counts.
    phase, grain, fold : ndarray of int, shape (rows, cols)
        Of the grain that contributes most.
    angle : ndarray, shape (rows, cols)
        Turn of that grain in radians.
    inside : ndarray of bool, shape (rows, cols)
        True where one grain gives at least 99 % of the pattern.
    """

    frames: NDArray[np.uint16]
    phase: NDArray[np.int64]
    grain: NDArray[np.int64]
    fold: NDArray[np.int64]
    angle: Array
    inside: NDArray[np.bool_]


def _lattice_pattern(size: int, angle: float, basis: Array) -> Array:
    """Bragg discs of a two-dimensional reciprocal lattice `basis` (2, 2), turned by `angle`."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    index = np.arange(-4, 5)
    spots = np.stack(np.meshgrid(index, index), -1).reshape(-1, 2) @ basis @ turn.T
    spots = spots[np.hypot(*spots.T) < 0.85]
    axis = (np.arange(size) - (size - 1) / 2) / (size / 2)
    row, col = np.meshgrid(axis, axis, indexing="ij")
    weight = np.exp(-2.5 * np.hypot(*spots.T))
    distance = (row[..., None] - spots[:, 0]) ** 2 + (col[..., None] - spots[:, 1]) ** 2
    pattern = (weight * np.exp(-0.5 * distance / 0.05**2)).sum(-1) + 0.002
    normalised: Array = pattern / pattern.sum()
    return normalised


def polycrystal(
    shape: tuple[int, int] = (48, 48),
    *,
    grains: int = 6,
    size: int = 48,
    counts: float = 300.0,
    blur: float = 0.7,
    random_state: int = 0,
) -> Polycrystal:
    """Grains of two phases (a square and a hexagonal net of equal density), each at a random turn.

    Parameters
    ----------
    shape
        Scan shape.
    grains
        Number of grains; phases alternate.
    size
        Detector pixels along each side.
    counts
        Expected counts per pattern.
    blur
        Standard deviation, in scan pixels, of the mixing of patterns across grain boundaries.
    random_state
        Seed.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(random_state)
    seeds = rng.uniform(0, 1, (grains, 2)) * shape
    where = np.moveaxis(np.indices(shape), 0, -1)[..., None, :]
    nearest = np.argmin(((where - seeds) ** 2).sum(-1), axis=-1)
    share = np.stack([gaussian_filter((nearest == g) * 1.0, blur) for g in range(grains)], -1)
    grain = share.argmax(-1)
    phase_of, angle_of = np.arange(grains) % 2, rng.uniform(0, 2 * np.pi, grains)
    nets = 0.4 * np.array([[[1, 0], [0, 1]], [[1, 0], [0.5, np.sqrt(0.75)]]])
    clean = [_lattice_pattern(size, angle_of[g], nets[phase_of[g]]) for g in range(grains)]
    expected = counts * np.einsum("rcg,ghw->rchw", share, np.stack(clean))
    frames = rng.poisson(expected).astype(np.uint16)
    fold = np.array([4, 6])[phase_of]
    inside = share.max(-1) > 0.99
    return Polycrystal(frames, phase_of[grain], grain, fold[grain], angle_of[grain], inside)
