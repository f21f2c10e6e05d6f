# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the beam stands in each pattern, from the pattern itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from .arrays import AnyArray, FloatArray, Index
from .bins import Detector, positions

# Parts of a pixel in which the radial profile is held, and in which patterns share a filter, which
# is exact to first order in what is left.
STEPS, PER_PIXEL = 8, 4
# Standard deviation, in pixels, by which the profile is smoothed before it is differentiated.
SMOOTHING = 0.5
# A disc's edge is used as far as so many pixels, or this share of its radius, beyond half height.
BEYOND_EDGE, BEYOND_RADIUS = 4.0, 0.25
# Part of the brightest ring that is added to the expected counts, so that dark rings weigh little.
LEAST_BRIGHT = 1e-3
# Orders of angular harmonics that a pattern behind a mask is fitted with.
LOBES = np.arange(2, 7)
# Rounds of measuring from where the round before has put the beam; farthest step of each.
ROUNDS, FARTHEST = 12, 1.0
# Rounds in which the profile is learned anew about the beams found.
LEARNING = 2
# The beam is said to wander from this root mean square on, in pixels, where the counts leave no
# doubt (standard deviations of chi squared). Patterns that bulge to one side, or two kinds of them,
# look shifted by up to 0.23.
WANDERING, BEYOND_DOUBT = 0.25, 5.0
# Patterns that its size is measured on.
MEASURED = 128
# Widths of the neighbourhood, in positions, that are tried for smoothing; infinite: the scan.
WIDTHS = (0.7, 1.5, 3.0, 6.0, np.inf)
Filter = tuple[Index, FloatArray, float]


@dataclass(frozen=True)
class Shifts:
    """How far the beam stands from where it was expected, in pixels.

    Attributes
    ----------
    value : ndarray, shape (n, 2)
        Along rows and columns.
    variance : ndarray, shape (n,)
        Of each component, from the noise of the counts; infinite where there is no count.
    """

    value: FloatArray
    variance: FloatArray

    @property
    def weight(self) -> FloatArray:
        """Inverse variance (n,)."""
        return 1 / self.variance

    def excess(self, expected: FloatArray) -> float:
        """Variance about ``expected (n, 2)`` beyond that of the counts, in square pixels."""
        squared = ((self.value - expected) ** 2).mean(axis=1)
        beyond = self.weight @ squared - np.count_nonzero(self.weight)
        return float(beyond / max(self.weight.sum(), 1e-300))

    def wandering(self, least: float) -> float:
        """Root mean square, in pixels, of a wandering that the counts do not explain.

        0 where it is below `least`, or in doubt.
        """
        n = 2 * np.count_nonzero(self.weight)
        if n < 4:
            return 0.0
        excess = self.excess(np.average(self.value, axis=0, weights=self.weight))
        # Chi squared lies so far above its mean n.
        doubtful = 2 * excess * self.weight.sum() < BEYOND_DOUBT * np.sqrt(2 * n)
        return 0.0 if doubtful or excess < least**2 else float(np.sqrt(excess))

    def smoothed(self, scan_shape: tuple[int, ...]) -> FloatArray:
        """Best guess of the shifts (n, 2) in a scan where neighbours are alike, or are not.

        Each is expected where its neighbours are, in the width of neighbourhood that predicts
        positions best, and is moved from there as far as its noise is smaller than what
        neighbours differ by (empirical Bayes).
        """
        weight = self.weight.reshape(scan_shape)
        value = self.value.reshape(*scan_shape, 2)
        tried = [_neighbours(value, weight, width).reshape(-1, 2) for width in WIDTHS]
        expected = min(tried, key=self.excess)
        prior = max(self.excess(expected), 0.0)
        share = prior / (prior + self.variance)  # an infinite variance leaves what is expected
        return expected + share[:, None] * (self.value - expected)


def _neighbours(value: FloatArray, weight: FloatArray, width: float) -> FloatArray:
    """Weighted mean of ``value (*scan_shape, 2)`` over each position's neighbours without it."""
    if not weight.any():
        return value
    overall = np.average(value.reshape(-1, 2), axis=0, weights=weight.ravel())
    if np.isinf(width):
        return np.broadcast_to(overall, value.shape)
    reach = max(1, round(3 * width))
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)

    def around(x: FloatArray) -> FloatArray:
        total = x
        for axis in range(weight.ndim):
            total = ndimage.correlate1d(total, bell, axis=axis, mode="constant")
        return total - x

    held = around(weight)
    # A little of the scan's mean, where there are no neighbours.
    little = 1e-6 * float(weight.max())
    parts = [(around(weight * value[..., k]) + little * overall[k]) for k in range(2)]
    return np.stack(parts, axis=-1) / (held + little)[..., None]


class BeamFinder:
    """Measures where the beam stands in patterns by the edge of its disc, or by the rings about it.

    A shift changes a round pattern by its slope along the shift. This is fitted to each pattern by
    weighted least squares, beside what a slant of the disc's brightness, which fields in the
    specimen cause, looks like.

    Parameters
    ----------
    detector
        Geometry; its centre is where the beam is expected.
    profile : ndarray, shape (k,)
        Mean intensity at the radii ``i / 8`` pixels, without the offset.

    Attributes
    ----------
    disc : bool
        Whether there is a disc about the beam.
    reach : float
        Radius in pixels of what is looked at; 0 where neither a disc nor the brightest ring lies on
        the detector all round, so that nothing can be measured.
    """

    def __init__(self, detector: Detector, profile: FloatArray) -> None:
        # Of 1 at its brightest, so that its squares can be held.
        profile = profile / max(float(profile.max()), 1e-300)
        self.detector, self.profile = detector, profile
        self.slope = np.gradient(profile, 1 / STEPS)
        self._matrix = detector.matrix / detector.pixel_size()
        self.disc, reach = _reach(profile)
        # Of circles that are cut off, patterns with lobes look shifted.
        self.reach = min(reach, detector.inscribed_radius() / detector.pixel_size())
        bright = 0 < profile.max() < np.inf
        if not bright or (not self.disc and np.argmax(profile) >= STEPS * self.reach):
            self.reach = 0.0
        self._filter: Callable[..., Filter] = lru_cache(1024)(self._make_filter)

    def __reduce__(self) -> tuple[type[BeamFinder], tuple[Detector, FloatArray]]:
        """Filters are made anew where it arrives."""
        return BeamFinder, (self.detector, self.profile)

    @classmethod
    def of(
        cls, detector: Detector, patterns: AnyArray, dark: float = 0.0, rounds: int = LEARNING
    ) -> BeamFinder:
        """Learned from ``patterns (n, H, W)``, whose own beams are followed so many rounds."""
        origins = np.broadcast_to(detector.center, (len(patterns), 2))
        finder = cls(detector, _profile(detector, patterns, origins, dark))
        for _ in range(rounds):
            origins = finder(patterns, dark)[0]
            finder = cls(detector, _profile(detector, patterns, origins, dark))
        return finder

    def __call__(
        self, patterns: AnyArray, dark: float = 0.0, gain: float = 1.0
    ) -> tuple[FloatArray, Shifts]:
        """Origins (n, 2) in pixels of ``patterns (n, H, W)``, and how far off the centre."""
        center = np.asarray(self.detector.center)
        origins = np.tile(center, (len(patterns), 1))
        moving = np.ones(len(patterns), bool)
        variance = np.full(len(patterns), np.inf)
        for turn in range(ROUNDS):
            step, variance[moving] = self._step(patterns[moving], origins[moving], dark, gain)
            # Few counts may send a beam to and fro.
            step /= 1 if turn < ROUNDS / 2 else 2
            origins[moving] += step
            # To move by less than the noise is no gain.
            least = np.maximum(1 / STEPS, 0.5 * np.sqrt(variance[moving]))
            moving[moving] = np.abs(step).max(axis=1) > least
            if not moving.any():
                break
        last = np.asarray(self.detector.shape) - 1
        lost = moving | ((origins < 0) | (origins > last)).any(axis=1)
        origins[lost], variance[lost] = center, np.inf
        return origins, Shifts(origins - center, variance)

    def _step(
        self, patterns: AnyArray, origins: FloatArray, dark: float, gain: float
    ) -> tuple[FloatArray, FloatArray]:
        """Shifts (n, 2) from ``origins (n, 2)``, in pixels, and their variances (n,)."""
        step, variance = np.zeros((len(patterns), 2)), np.full(len(patterns), np.inf)
        for place, own in positions(origins, PER_PIXEL):
            where, weights, noise = self._filter(*place)
            if not len(where):
                continue
            counts = patterns[own].reshape(len(own), -1)[:, where].astype(float) - dark
            strength, *along = (counts @ weights).T
            used = strength > 0
            shift = np.stack(along, axis=1)[used] / strength[used, None]
            ahead = np.array(place) / PER_PIXEL - origins[own[used]]
            step[own[used]] = np.clip(shift, -FARTHEST, FARTHEST) + ahead
            variance[own[used]] = gain * noise / strength[used]
        return step, variance

    def _make_filter(self, row: int, col: int) -> Filter:
        """Pixels (p,) used for a beam at (row, col) quarters, their weights (p, 3), the noise.

        The weights give the strength of the profile in a pattern, and that times the shift along
        rows and columns; the noise is the variance of a shift at a strength of 1.
        """
        kept = self.detector.kept
        index = np.stack(np.nonzero(kept), axis=1)
        q = (index - np.array([row, col]) / PER_PIXEL) @ self._matrix.T
        radius = np.hypot(*q.T)
        near = (radius < self.reach) & (radius < (len(self.profile) - 1) / STEPS)
        index, q, radius = index[near], q[near], radius[near]
        at = np.arange(len(self.profile)) / STEPS
        level, slope = (np.interp(radius, at, f) for f in (self.profile, self.slope))
        unit = q / np.maximum(radius, 1e-9)[:, None]
        # q falls as the beam moves on.
        along = -slope[:, None] * (unit @ self._matrix)
        terms = [level, *along.T, *(level * unit.T)]
        if self.disc:
            terms += [level * radius, *(level * q.T)]
        if not kept.all():
            # So they do about a mask, unless the lobes are fitted too.
            around = np.outer(LOBES, np.arctan2(q[:, 1], q[:, 0]))
            terms += [*(level * np.cos(around)), *(level * np.sin(around))]
        design = np.stack(terms)
        weighted = design / (level + LEAST_BRIGHT)
        if design.shape[1] <= len(design):
            return np.empty(0, int), np.empty((0, 3)), np.inf
        inverse = np.linalg.pinv(weighted @ design.T, hermitian=True)
        noise = float((inverse[1, 1] + inverse[2, 2]) / 2)
        return np.ravel_multi_index(tuple(index.T), kept.shape), (inverse[:3] @ weighted).T, noise


def wandering(detector: Detector, patterns: AnyArray, dark: float, gain: float) -> float:
    """Root mean square, in pixels, by which the beam wanders in ``patterns (n, H, W)``.

    0 where it is small, or may be noise. One step tells a beam that stands still, at once.
    """
    still = BeamFinder.of(detector, patterns, dark, rounds=0)
    center = np.tile(np.asarray(detector.center), (len(patterns), 1))
    if not Shifts(*still._step(patterns, center, dark, gain)).wandering(WANDERING / 2):
        return 0.0
    patterns = patterns[:MEASURED]
    finder = BeamFinder.of(detector, patterns, dark)
    return finder(patterns, dark, gain)[1].wandering(WANDERING)


def _profile(
    detector: Detector, patterns: AnyArray, origins: FloatArray, dark: float
) -> FloatArray:
    """Mean intensity at the radii ``i / 8`` pixels about ``origins (n, 2)``, smoothed."""
    index = np.stack(np.nonzero(detector.kept), axis=1)
    matrix = detector.matrix / detector.pixel_size()
    n = STEPS * (sum(detector.shape) + 2)
    total, pixels = np.zeros(n), np.zeros(n)
    for place, own in positions(origins, STEPS):
        radius = np.hypot(*((index - np.array(place) / STEPS) @ matrix.T).T)
        cell = np.minimum(np.rint(radius * STEPS).astype(int), n - 1)
        total += np.bincount(cell, patterns[own][:, detector.kept].sum(axis=0, dtype=float), n)
        pixels += np.bincount(cell, minlength=n) * float(len(own))
    total, pixels = ndimage.gaussian_filter1d([total, pixels], SMOOTHING * STEPS, mode="nearest")
    last = int(np.flatnonzero(pixels > 1e-9 * pixels.max()).max()) + 1
    return np.maximum(total[:last] / np.maximum(pixels[:last], 1e-12) - dark, 0)


def _reach(profile: FloatArray) -> tuple[bool, float]:
    """Whether there is a disc about the beam, and the radius in pixels of what to look at."""
    middle = profile[: 2 * STEPS].mean()
    half = int(np.argmax(profile < middle / 2)) / STEPS
    if middle < profile.max() / 2 or half == 0:
        return False, len(profile) / STEPS
    return True, half + max(BEYOND_EDGE, BEYOND_RADIUS * half)
