# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot and dead pixels, from the mean pattern of a scan; spikes of single frames."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .center import FloatArray, Mask

# A pixel is hot with this many times the mean of its brightest neighbour, dead with less than this
# part of its darkest one. Patterns are blurred by more than a pixel: their spots have wider feet.
CONTRAST = 3.0
# And where it stands off that neighbour by so many standard deviations of counting.
SIGNIFICANT = 8.0
# A block or a line of pixels is dead where it never counts, though its rings count so many
# electrons a pixel.
EXPECTED = 100.0
# With more lone pixels than this share it is the pattern that has such spots.
MOST_LONE = 0.05


def defects(electrons: FloatArray, expected: FloatArray, kept: Mask) -> Mask:
    """Pixels (H, W) that say nothing of the pattern.

    Parameters
    ----------
    electrons : ndarray, shape (H, W)
        Sum over many patterns.
    expected : ndarray, shape (H, W)
        What a round pattern with its rings has there.
    kept : ndarray of bool, shape (H, W)
        Pixels that a mask leaves; the others are neither looked at nor compared with.
    """
    hot, darkest = spikes(electrons, kept), -_brightest_beside(-electrons, kept)
    noise = SIGNIFICANT * np.sqrt(np.maximum(ndimage.maximum_filter(electrons, 3), 1))
    known = kept & np.isfinite(darkest)
    dead = known & (electrons < darkest / CONTRAST) & (darkest - electrons > noise)
    lone = hot | dead
    if lone.mean() > MOST_LONE:
        lone[:] = False
    found: Mask = lone | _silent(electrons, expected, kept)
    return found


def spikes(counts: FloatArray, kept: Mask) -> Mask:
    """Kept pixels of ``counts (..., H, W)`` that are far brighter than all kept ones beside."""
    brightest = _brightest_beside(counts, kept)
    noise = SIGNIFICANT * np.sqrt(np.maximum(counts, 1))
    found = kept & np.isfinite(brightest) & (counts > CONTRAST * brightest)
    spikes: Mask = found & (counts - brightest > noise)
    return spikes


def _brightest_beside(counts: FloatArray, kept: Mask) -> FloatArray:
    """Brightest of the kept pixels around each of ``counts (..., H, W)``."""
    footprint = np.ones((1,) * (counts.ndim - 2) + (3, 3), bool)
    footprint[..., 1, 1] = False
    # Mirrored about the outermost pixels, which are then no neighbours of themselves.
    counts = np.where(kept, counts, -np.inf)
    brightest: FloatArray = ndimage.maximum_filter(counts, footprint=footprint, mode="mirror")
    return brightest


def _silent(electrons: FloatArray, expected: FloatArray, kept: Mask) -> Mask:
    """Lines across the detector, and blocks of 3 x 3 pixels and more, that never count."""
    silent = ~kept | (electrons <= 0)
    rows = (silent.all(axis=1) & (expected.max(axis=1) > EXPECTED))[:, None]
    columns = (silent.all(axis=0) & (expected.max(axis=0) > EXPECTED))[None, :]
    blocks = ndimage.binary_opening(silent & (expected > EXPECTED), np.ones((3, 3)))
    found: Mask = kept & silent & (rows | columns | blocks)
    return found
