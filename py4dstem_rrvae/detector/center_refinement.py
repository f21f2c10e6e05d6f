# SPDX-License-Identifier: GPL-3.0-or-later
"""A better centre than a given one, if patterns kept aside bear it out."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .arrays import AnyArray, FloatArray, Mask, Point
from .center import despiked, edges, estimate_center

# Rounds of evening out the disc and finding its centre again.
ROUNDS = 3
# The rim of the disc belongs to its edge; fewer pixels within show no slant.
RIM, FEWEST = 3, 50
# By how much the correlation has to rise before a given centre is moved, and before one that was
# estimated in the same way. Edges of a half-transparent beam stop raise it by up to 0.011 for a
# centre 0.3 pixels off; an error of half a pixel costs 0.04 to 0.07; a slant that pulls by 0.3
# pixels costs 0.008, and nothing else changed between the two.
LEAST_RISE, LEAST_RISE_OF_EVENED = 0.02, 0.003
# A given centre is contradicted from so many pixels off on, by a rise that no pattern with a centre
# makes elsewhere.
FAR_OFF, CLEAR_RISE = 2.0, 0.2
# Share of the detector that a half turn has to bring onto itself.
LEAST_OVERLAP = 0.25
FLAT = 1e-9


def refine_center(
    patterns: AnyArray,
    start: Point | None = None,
    mask: Mask | None = None,
    matrix: FloatArray | None = None,
) -> Point:
    """A better centre than `start`, as pixel index (row, col), or `start` itself.

    Half of the patterns give estimates: `estimate_center`, and the same after a slant of the disc's
    brightness is taken out, which pulls it towards the brighter side. The other half judges them,
    by how well the edges of its mean correlate with themselves after half a turn.

    Parameters
    ----------
    patterns : ndarray, shape (n, H, W)
        At least two.
    start : (float, float) or None
        Centre to improve on; None: `estimate_center` of the first half.
    mask, matrix
        As in `estimate_center`.
    """
    first, second = (patterns[k::2].mean(axis=0, dtype=float) for k in range(2))
    center, kept = estimate_center(first, mask, matrix)
    judged = edges(second, kept)

    def better(new: tuple[float, float], old: tuple[float, float], rise: float) -> bool:
        return half_turn_correlation(*judged, new) > half_turn_correlation(*judged, old) + rise

    if start is not None and not better(center, start, LEAST_RISE):
        return start
    evened = center
    for _ in range(ROUNDS):
        evened, _ = estimate_center(without_slant(first, kept, evened), mask, matrix)
    return evened if better(evened, center, LEAST_RISE_OF_EVENED) else center


def contradicted(
    mean_pattern: FloatArray, center: Point, mask: Mask | None, matrix: FloatArray | None
) -> Point | None:
    """Where a mean pattern (H, W) shows its centre, if clearly not at the given one; else None."""
    found, kept = estimate_center(mean_pattern, mask, matrix)
    if np.linalg.norm(np.subtract(found, center)) < FAR_OFF:
        return None
    judged = edges(mean_pattern, kept)
    rise = half_turn_correlation(*judged, found) - half_turn_correlation(*judged, center)
    return found if rise > CLEAR_RISE else None


def without_slant(pattern: FloatArray, mask: Mask, center: tuple[float, float]) -> FloatArray:
    """Pattern (H, W) over the plane that fits the bright disc about its centre.

    Returned as it is where there is no such disc.
    """
    smooth = despiked(pattern, mask)
    low, high = np.quantile(smooth[mask], (0.05, 0.995))
    discs, _ = ndimage.label(smooth > (low + high) / 2)
    own = discs[round(center[0]), round(center[1])]
    within = ndimage.binary_erosion(discs == own, iterations=RIM) & mask
    if own == 0 or within.sum() < FEWEST:
        return pattern
    offset = np.moveaxis(np.indices(pattern.shape), 0, -1) - center
    terms = np.column_stack([np.ones(within.sum()), offset[within]])
    level, *slope = np.linalg.lstsq(terms, pattern[within], rcond=None)[0]
    return pattern / np.clip(1 + offset @ slope / level, 0.5, 2.0)


def half_turn_correlation(steepness: FloatArray, known: Mask, center: tuple[float, float]) -> float:
    """Correlation of edges (H, W) with themselves turned by 180 degrees; -1 without any."""
    turned = 2 * np.reshape(center, (2, 1, 1)) - np.indices(steepness.shape)
    other = ndimage.map_coordinates(steepness, turned, order=1)
    both = known & (ndimage.map_coordinates(known.astype(float), turned, order=1) > 0.99)
    # Rounding alone makes edges of a flat pattern.
    if both.mean() < LEAST_OVERLAP or np.ptp(steepness[both]) < FLAT:
        return -1.0
    return float(np.corrcoef(steepness[both], other[both])[0, 1])
