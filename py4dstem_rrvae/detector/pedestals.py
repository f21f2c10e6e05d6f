# SPDX-License-Identifier: GPL-3.0-or-later
"""Pedestals that differ from pixel to pixel, as where no dark frame was subtracted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .arrays import FloatArray, Mask

# Share of the dark pixels' noise, per frame, beyond which their mean is uneven: what electrons
# leave there reaches 0.08 on scans as cameras record them, and 0.2 electrons of pedestal 0.18.
UNEVEN = 0.15
# Share of the noise of so many electrons by which the noise must be uneven as well if it is they:
# where patterns vary the gain is taken for more than it is, and 0.4 to 1 of that were seen.
AS_ELECTRONS = 0.2
# Fourth differences have 12 times the variance of second ones where neighbours do not depend on
# each other, and less or far more where lenses have drawn them.
WHITE = 8.0, 20.0
# Variance of a normal variable without the tenth of the largest values.
SMALLER = 0.623
# Electrons by which pedestals must differ to matter.
LEAST = 0.05
# Least pairs of frames and pixels to judge by.
PAIRS, PIXELS = 8, 200
# What four squares about a pixel take of its neighbours, and a second difference.
AROUND, SECOND = (0.25, 0.5, 0.25), (1, -2, 1)


def uneven_pedestals(frames: NDArray[np.float32], first: NDArray[np.int64], kept: Mask) -> float:
    """How far pixels that few electrons hit differ from their neighbours; 0 if they do not.

    The noise of a pixel does not know of its pedestal. So the gain is the slope of the mean on the
    noise of one half of the pairs, taken by that of the other half (instrumental variable).
    Pedestals are uneven where the mean of the darkest quarter of the pixels is, beyond its noise,
    if it is as uneven from each pixel to the next, and the noise there is not, as it would be if
    electrons were.

    Parameters
    ----------
    frames : ndarray, shape (n, H, W)
    first : ndarray of int, shape (k,)
        First frames of the pairs, each with the next, that are compared.
    kept : ndarray of bool, shape (H, W)
        Pixels to be trusted.

    Returns
    -------
    float
        Standard deviation, detector units.
    """
    if len(first) < PAIRS:
        return 0.0
    change = frames[first + 1] - frames[first]
    cells = np.square(np.diff(np.diff(change, axis=1, append=0), axis=2, append=0)) / 8
    # A pixel is in four of the squares of 2 x 2 pixels whose noise is measured.
    one, other = (
        ndimage.uniform_filter(half.mean(axis=0, dtype=float), 2)
        for half in (cells[::2], cells[1::2])
    )
    mean, noise = frames.mean(axis=0, dtype=float), (one + other) / 2
    # Not those that always read the same.
    near = ndimage.minimum_filter(kept, 3, mode="constant") & (noise > 0)
    if near.sum() < PIXELS:
        return 0.0
    dark = near & (noise <= np.quantile(noise[near], 0.25))
    spread, roughness, axis = max((*_uneven(mean, axis, dark), axis) for axis in (0, 1))
    if spread**2 <= noise[dark].mean() * (UNEVEN**2 + 1 / len(frames)):
        return 0.0
    smooth = ndimage.convolve1d(ndimage.convolve1d(mean, AROUND, 0), AROUND, 1)
    a, b, m = (plane[near] - plane[near].mean() for plane in (one, other, smooth))
    gain = abs(2 * (a @ b) / (a @ m + b @ m))
    uneven, as_noise = (ndimage.convolve1d(x, SECOND, axis)[dark] for x in (smooth, noise))
    electrons = as_noise @ uneven > AS_ELECTRONS * gain * (uneven @ uneven)
    independent = WHITE[0] < roughness < WHITE[1]
    return spread if independent and not electrons and spread > LEAST * gain else 0.0


def _uneven(mean: FloatArray, axis: int, dark: Mask) -> tuple[float, float]:
    """Standard deviation of pixels beside each other, and how rough they are along the axis.

    The tenth that differs most is left out: a few may be hot.
    """
    second = ndimage.convolve1d(mean, SECOND, axis)
    fourth = ndimage.convolve1d(second, SECOND, axis)
    squares = (np.sort(x[dark] ** 2)[: int(0.9 * dark.sum())] for x in (second, fourth))
    two, four = (float(square.mean()) / SMALLER for square in squares)
    return (two / 6) ** 0.5, four / max(two, 1e-300)
