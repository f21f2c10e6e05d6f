# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot, dead and hanging pixels of a scan; spikes of single frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from .arrays import AnyArray, FloatArray, Mask
from .response import estimate_response

# A pixel is hot with this many times the mean of its brightest neighbour, dead with less than this
# part of its darkest one. Patterns are blurred by more than a pixel: their spots have wider feet.
CONTRAST = 3.0
# And where it stands off that neighbour by so many standard deviations of counting.
SIGNIFICANT = 8.0
# A block or a line of pixels is dead where it never counts, though its rings count so many
# electrons a pixel.
EXPECTED = 100.0
# Counts vary by their own root, and more where patterns differ. A pixel with less than this share
# of the variance that the least lively tenth of the others has, for its counts, counts no
# electrons; so few frames show it.
LEAST_LIVELY, LEAST_LIVELY_PART = 0.1, 0.1
FRAMES_TO_TELL = 16
# So many electrons are not counted in all of them by chance.
NO_CHANCE = 3.0
# Side of the neighbourhood whose median such a pixel is compared with.
AROUND = 7
# Frames at most that are looked at for it.
MOST_FRAMES = 128
# Integers of this many bits and more reach their largest value only as a flag, or in saturation.
FLAG_BITS = 16
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
    return lone | _silent(electrons, expected, kept)


def without_counts(
    some: AnyArray, kept: Mask, gain: float | None = None, offset: float | None = None
) -> Mask:
    """Pixels (H, W) that count no electrons; none where these would be all.

    Parameters
    ----------
    some : ndarray, shape (n, H, W)
        Patterns as they were recorded.
    kept
        Pixels that a mask leaves.
    gain, offset
        Of the camera, where they are known.
    """
    mean = some.mean(axis=0, dtype=float)
    # Cameras mark the gaps between their chips so.
    bad = kept & (mean > flag_of(some.dtype) / 2)
    same = stuck(some, kept & ~bad)
    rest = kept & ~bad & ~same
    if len(some) >= FRAMES_TO_TELL and rest.any():
        # One flag of -9999 is enough to spoil what all pixels together say of the camera.
        bright = standing_out(mean, rest)
        if (same | bright).any():
            response = estimate_response(some, rest & ~bright, gain, offset)
            if not response.noise_free:
                dark, gain = response.dark_level, response.gain
                bad |= same & (np.abs(some[0] - dark) > NO_CHANCE * gain)
                bad |= lifeless(some, dark, gain, bright, rest)
    return np.zeros_like(bad) if bad[kept].all() else bad


def flag_of(dtype: np.dtype[Any]) -> float:
    """Value by which detectors mark pixels of integer frames as invalid or saturated."""
    flagged = dtype.kind in "ui" and 8 * dtype.itemsize >= FLAG_BITS
    return np.iinfo(dtype).max if flagged else np.inf


def stuck(frames: AnyArray, kept: Mask) -> Mask:
    """Kept pixels (H, W) with one value in all ``frames (n, H, W)``, which no dark pixel has.

    The gap between two chips, a flag, a pixel that hangs or is always saturated.
    """
    if len(frames) < FRAMES_TO_TELL:
        return np.zeros_like(kept)
    same: Mask = kept & (frames == frames[0]).all(axis=0)
    if not same.any() or same[kept].all():
        return np.zeros_like(kept)
    return same & (frames[0] != frames[:, kept & ~same].min())


def standing_out(mean: FloatArray, kept: Mask) -> Mask:
    """Kept pixels of a mean pattern (H, W), lone or in lines and clusters, far above those around.

    Spots and discs of a few pixels are among them.
    """
    least = mean[kept].min()
    around = ndimage.median_filter(np.where(kept, mean, least), AROUND, mode="mirror")
    return kept & (mean - least > CONTRAST * (around - least))


def lifeless(frames: AnyArray, dark: float, gain: float, among: Mask, kept: Mask) -> Mask:
    """Those among some pixels (H, W) that vary by far less than counts would.

    Parameters
    ----------
    frames : ndarray, shape (n, H, W)
        With counting noise, in units of the detector.
    dark, gain
        What a pixel without electrons reads, and what an electron adds to it.
    among
        Pixels to judge.
    kept
        Pixels that a mask leaves.
    """
    some = frames[:: -(-len(frames) // MOST_FRAMES)].astype(np.float64)
    mean, variance = some.mean(axis=0) - dark, some.var(axis=0)
    varied: Mask = kept & (variance > 0) & (mean > gain / 2)
    if not varied.any():
        return np.zeros_like(kept)
    usual = min(gain, float(np.quantile(variance[varied] / mean[varied], LEAST_LIVELY_PART)))
    return among & varied & (variance < LEAST_LIVELY * usual * mean)


def spikes(counts: FloatArray, kept: Mask) -> Mask:
    """Kept pixels of ``counts (..., H, W)`` that are far brighter than all kept ones beside."""
    brightest = _brightest_beside(counts, kept)
    noise = SIGNIFICANT * np.sqrt(np.maximum(counts, 1))
    found = kept & np.isfinite(brightest) & (counts > CONTRAST * brightest)
    return found & (counts - brightest > noise)


def _brightest_beside(counts: FloatArray, kept: Mask) -> FloatArray:
    """Brightest of the kept pixels around each of ``counts (..., H, W)``."""
    footprint = np.ones((1,) * (counts.ndim - 2) + (3, 3), bool)
    footprint[..., 1, 1] = False
    # Mirrored about the outermost pixels, which are then no neighbours of themselves.
    counts = np.where(kept, counts, -np.inf)
    return ndimage.maximum_filter(counts, footprint=footprint, mode="mirror")


def _silent(electrons: FloatArray, expected: FloatArray, kept: Mask) -> Mask:
    """Lines across the detector, and blocks of 3 x 3 pixels and more, that never count."""
    silent = ~kept | (electrons <= 0)
    rows = (silent.all(axis=1) & (expected.max(axis=1) > EXPECTED))[:, None]
    columns = (silent.all(axis=0) & (expected.max(axis=0) > EXPECTED))[None, :]
    blocks = ndimage.binary_opening(silent & (expected > EXPECTED), np.ones((3, 3)))
    return kept & silent & (rows | columns | blocks)
