# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot and dead pixels of a mean pattern."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float64]

# A pixel is hot with this many times the mean of its brightest neighbour, dead with less than this
# part of its darkest one. Patterns are blurred by more than a pixel: their spots have wider feet.
CONTRAST = 3.0
# And where it stands off that neighbour by so many standard deviations of the mean's noise.
SIGNIFICANT = 8.0
# With more than this share of all pixels it is the pattern that has such spots.
MOST_DEFECTS = 0.01

_NEIGHBOURS = np.ones((3, 3), bool)
_NEIGHBOURS[1, 1] = False


def excess(mean: FloatArray, noise: FloatArray, kept: NDArray[np.bool_]) -> FloatArray:
    """What hot pixels of a mean pattern have beyond their neighbours, and dead ones lack, (H, W).

    Parameters
    ----------
    mean : ndarray, shape (H, W)
        Mean of many patterns.
    noise : ndarray, shape (H, W)
        Its standard deviation by counting.
    kept : ndarray of bool, shape (H, W)
        Pixels that a mask leaves; the others are neither looked at nor compared with.
    """
    # Mirrored about the outermost pixels, which are then no neighbours of themselves.
    low, high = (np.where(kept, mean, fill) for fill in (np.inf, -np.inf))
    brightest = ndimage.maximum_filter(high, footprint=_NEIGHBOURS, mode="mirror")
    darkest = ndimage.minimum_filter(low, footprint=_NEIGHBOURS, mode="mirror")
    spread = np.sqrt(ndimage.maximum_filter(noise, 3, mode="nearest") ** 2 + noise**2)
    hot = (mean > CONTRAST * brightest) & (mean - brightest > SIGNIFICANT * spread)
    dead = (mean < darkest / CONTRAST) & (darkest - mean > SIGNIFICANT * spread)
    found = kept & np.isfinite(brightest) & np.isfinite(darkest) & (hot | dead)
    if found.mean() > MOST_DEFECTS:
        return np.zeros_like(mean)
    usual = ndimage.median_filter(np.where(kept, mean, 0.0), footprint=_NEIGHBOURS, mode="mirror")
    return np.where(found, mean - usual, 0.0)
