# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the direct beam is, from a mean pattern."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .arrays import FloatArray, Mask

# Lines that pass the centre by more than this many pixels end up without a say.
PASSING_BY = 1.0
# Below this share of the edges' weight that points at the centre, there is no circle to see: noise,
# stripes and squares reach 0.04 to 0.06, six Bragg discs about a half-hidden centre 0.15 and more.
LEAST_AGREEMENT = 0.1


def estimate_center(
    mean_pattern: FloatArray, mask: Mask | None = None, matrix: FloatArray | None = None
) -> tuple[tuple[float, float], Mask]:
    """Centre of the discs or rings of a mean pattern, as pixel index (row, col).

    The gradient of a circle's edge points at its centre. The point is looked for that the lines
    along the gradients meet in, weighted with the squared gradient; lines that pass it by, as those
    from the edges of a beam stop, lose their say.

    Parameters
    ----------
    mean_pattern : ndarray, shape (H, W)
        Mean of many patterns. Single hot or dead pixels are removed by a 3 x 3 median.
    mask : ndarray of bool, shape (H, W), or None
        True where a pixel is kept.
    matrix : ndarray, shape (2, 2), or None
        Pixel offset to isotropic q, in which circles are circles; None: the identity.

    Returns
    -------
    (float, float)
        Centroid of the bright pixels where the lines do not meet; the middle of a pattern without
        bright pixels.

    Notes
    -----
    Lines along gradients: R. Parthasarathy, Nat. Methods 9, 724 (2012); here with weights that are
    iterated to become robust (Geman-McClure).
    """
    pattern = np.asarray(mean_pattern, dtype=float)
    mask = np.ones(pattern.shape, dtype=bool) if mask is None else mask
    to_q = np.eye(2) if matrix is None else matrix / np.sqrt(abs(np.linalg.det(matrix)))
    masks = [mask]
    # What never counts is dead, or behind a beam stop, unless that is how dark the pattern is.
    counting = mask & ~ndimage.binary_opening(pattern == 0, np.ones((3, 3)))
    if counting.any() and not counting[mask].all():
        masks.append(counting)
    found = [(*_meeting_of_edges(despiked(pattern, kept), kept, to_q), kept) for kept in masks]
    (row, col), agreement, kept = max(found, key=lambda each: each[1])
    on_detector = 0 <= row <= pattern.shape[0] - 1 and 0 <= col <= pattern.shape[1] - 1
    if on_detector and agreement > LEAST_AGREEMENT:
        return (float(row), float(col)), kept
    return bright_centroid(despiked(pattern, mask), mask), mask


def _meeting_of_edges(
    pattern: FloatArray, mask: Mask, to_q: FloatArray
) -> tuple[FloatArray, float]:
    """Pixel that most lines along the gradients meet in, and the share of weight that agrees."""
    # The noise of counts is alike everywhere in square roots, and a slant of the disc counts less.
    position, gradient = _gradients(np.sqrt(np.maximum(pattern, 0)), mask)
    at, slope = position @ to_q.T, gradient @ np.linalg.inv(to_q)
    bright = np.array(bright_centroid(pattern, mask))
    if not (slope**2).sum() > 0:
        return bright, 0.0
    across = np.stack([-slope[:, 1], slope[:, 0]], axis=1)
    offset = (across * at).sum(axis=1)
    starts = to_q @ bright, _meeting_point(across, offset, np.ones(len(at)))
    width = max(min(pattern.shape) / 8, PASSING_BY)
    found = [_robust_meeting_point(across, offset, start, width) for start in starts]
    point, agreement = max(found, key=lambda pair: pair[1])
    return np.linalg.solve(to_q, point), agreement


def edges(pattern: FloatArray, mask: Mask) -> tuple[FloatArray, Mask]:
    """Steepness (H, W) of the square root of a mean pattern, and where it is known."""
    position, gradient = _gradients(np.sqrt(np.maximum(despiked(pattern, mask), 0)), mask)
    steepness, known = np.zeros(mask.shape), np.zeros(mask.shape, dtype=bool)
    where = tuple(position.astype(int).T)
    steepness[where], known[where] = np.hypot(*gradient.T), True
    return steepness, known


def despiked(pattern: FloatArray, mask: Mask) -> FloatArray:
    """Median of 3 x 3 pixels, with the nearest kept pixel in position of a masked one."""
    if not mask.all():
        _, nearest = ndimage.distance_transform_edt(~mask, return_indices=True)
        pattern = pattern[tuple(nearest)]
    return ndimage.median_filter(pattern, 3, mode="nearest")


def bright_centroid(pattern: FloatArray, mask: Mask) -> tuple[float, float]:
    """Centroid of the pixels above half of the bright level, each counted once."""
    low, high = np.quantile(pattern[mask], (0.05, 0.995))
    # Weights rise over the edge's width, so that the centre is sub-pixel.
    weight = np.clip((pattern - low) / max(high - low, 1e-30) * 2 - 0.5, 0, 1) * mask
    if not weight.any():
        return (pattern.shape[0] - 1) / 2, (pattern.shape[1] - 1) / 2
    row, col = ndimage.center_of_mass(weight)
    return float(row), float(col)


def _gradients(pattern: FloatArray, mask: Mask) -> tuple[FloatArray, FloatArray]:
    """Positions and gradients (n, 2) of planes fitted to the kept pixels around each pixel."""
    offset = np.arange(-3, 4)
    bell = np.exp(-0.5 * (offset / 1.0) ** 2)

    def moment(values: FloatArray, row: int, col: int) -> FloatArray:
        rows = ndimage.correlate1d(values, bell * offset**row, axis=0, mode="constant")
        return ndimage.correlate1d(rows, bell * offset**col, axis=1, mode="constant")

    powers = [(0, 0), (1, 0), (0, 1)]
    kept = mask.astype(float)
    normal = np.stack([[moment(kept, a + c, b + d) for a, b in powers] for c, d in powers])
    right = np.stack([moment(kept * pattern, *power) for power in powers])
    # A pixel with fewer than half of its neighbours kept has no plane worth fitting.
    enough = mask & (normal[0, 0] > 0.5 * bell.sum() ** 2)
    plane = np.linalg.solve(np.moveaxis(normal[..., enough], -1, 0), right[:, enough].T[..., None])
    return np.argwhere(enough).astype(float), plane[:, 1:, 0]


def _meeting_point(across: FloatArray, offset: FloatArray, weight: FloatArray) -> FloatArray:
    """Point x of least weighted squares of ``across @ x - offset``: nearest to many lines.

    The normals ``across (n, 2)`` are as long as a line's gradient is steep.
    """
    weighted = (across * weight[:, None]).T
    return np.linalg.lstsq(weighted @ across, weighted @ offset, rcond=None)[0]


def _robust_meeting_point(
    across: FloatArray, offset: FloatArray, start: FloatArray, width: float
) -> tuple[FloatArray, float]:
    """Meeting point of most of the lines near `start`, and the share of weight that agrees."""
    steepness = np.maximum(np.linalg.norm(across, axis=1), 1e-30)
    point = start
    for near in np.geomspace(width, PASSING_BY, 6).repeat(5):
        distance = (across @ point - offset) / steepness
        say = 1 / (1 + (distance / near) ** 2) ** 2
        point = _meeting_point(across, offset, say)
    return point, float(np.average(say, weights=steepness**2))
