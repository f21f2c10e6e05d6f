# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot and dead pixels, from the mean pattern of a scan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

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

_NEIGHBOURS = np.ones((3, 3), bool)
_NEIGHBOURS[1, 1] = False


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
    # Mirrored about the outermost pixels, which are then no neighbours of themselves.
    low, high = (np.where(kept, electrons, fill) for fill in (np.inf, -np.inf))
    brightest = ndimage.maximum_filter(high, footprint=_NEIGHBOURS, mode="mirror")
    darkest = ndimage.minimum_filter(low, footprint=_NEIGHBOURS, mode="mirror")
    noise = SIGNIFICANT * np.sqrt(np.maximum(ndimage.maximum_filter(electrons, 3), 1))
    known = kept & np.isfinite(brightest) & np.isfinite(darkest)
    hot = known & (electrons > CONTRAST * brightest) & (electrons - brightest > noise)
    dead = known & (electrons < darkest / CONTRAST) & (darkest - electrons > noise)
    lone = hot | dead
    if lone.mean() > MOST_LONE:
        lone[:] = False
    found: Mask = lone | _silent(electrons, expected, kept)
    return found


def _silent(electrons: FloatArray, expected: FloatArray, kept: Mask) -> Mask:
    """Lines across the detector, and blocks of 3 x 3 pixels and more, that never count."""
    silent = ~kept | (electrons <= 0)
    rows = (silent.all(axis=1) & (expected.max(axis=1) > EXPECTED))[:, None]
    columns = (silent.all(axis=0) & (expected.max(axis=0) > EXPECTED))[None, :]
    blocks = ndimage.binary_opening(silent & (expected > EXPECTED), _NEIGHBOURS | True)
    found: Mask = kept & silent & (rows | columns | blocks)
    return found
