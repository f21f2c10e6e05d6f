# SPDX-License-Identifier: GPL-3.0-or-later
"""What pixels tell that no electron hit, or few: offset, read-out noise, gain."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .arrays import FloatArray

Anchor = tuple[float, float, float]
"""Mean and variance of a point on the line of noise, and the independent numbers behind them."""

# Values that the peaks of single electrons are fitted to.
MOST_VALUES = 30_000


def half_sample_mode(ordered: FloatArray) -> float:
    """Half-sample mode: the densest half, of that the densest half, and so on."""
    values, times = np.unique(ordered, return_counts=True)
    if times.max() > 0.02 * len(ordered):
        return float(values[np.argmax(times)])
    while len(ordered) > 3:
        half = (len(ordered) + 1) // 2
        width = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
        at = int(np.argmin(width))
        if width[at] == 0:
            return float(ordered[at])
        ordered = ordered[at : at + half]
    return float(np.mean(ordered))


def peak(ordered: FloatArray, gain: float) -> tuple[float, float, Anchor] | None:
    """Offset, read-out noise and anchor from the peak of no electron, where that stands apart."""
    zero, readout = half_sample_mode(ordered), 0.0
    if np.mean(ordered < zero) < 0.05:  # nothing below: values are cut off there
        above = ordered[(ordered > zero) & (ordered < zero + gain / 2)] - zero
        if len(above) > 0.02 * np.sum(ordered == zero):
            readout = float(np.sqrt(np.mean(above**2)))
    else:
        for _ in range(10):
            below = ordered[ordered < zero] - zero
            readout = sqrt(below @ below / (len(below) + np.sum(ordered == zero) / 2))
            zero = float(np.mean(ordered[np.abs(ordered - zero) <= 1.5 * readout]))
    core = ordered[ordered < zero + gain / 2]
    if readout > gain / 3 or len(core) < 0.1 * len(ordered):
        return None
    return zero, readout, (float(core.mean()), float(core.var()), float(len(core)))


def offset_by_skewness(dark: FloatArray, darkest: Anchor, gain: float) -> tuple[float, float]:
    """Offset and read-out noise where electrons are hidden in it: they alone make it lopsided."""
    off = dark - np.median(dark)
    off = off[np.abs(off) < 6 * off.std() + 1e-300]
    mean, variance, _ = darkest
    third = float(np.mean((off - off.mean()) ** 3)) if len(off) else 0.0
    electrons = min(max(third / gain**3, 0.0), variance / gain**2)
    if gain**2 * electrons > 0.75 * variance:
        return 0.0, 0.0
    return mean - gain * electrons, sqrt(variance - gain**2 * electrons)


def single_electron(
    pixels: NDArray[np.float32], zero: float, readout: float, gain: float, most: int = MOST_VALUES
) -> tuple[float, bool]:
    """Gain from the peaks of 0 to 5 electrons, and whether that of one stands apart."""
    x = pixels[:: max(1, len(pixels) // most)].astype(float) - zero
    first, number = gain, np.arange(6)
    share = 0.05**number
    for _ in range(20):
        width = max(readout, 0.05 * gain)
        x = x[x < 5.5 * gain]
        if not len(x):
            return first, False
        belongs = share * np.exp(-0.5 * ((x[:, None] - gain * number) / width) ** 2) + 1e-30
        belongs /= belongs.sum(axis=1, keepdims=True)
        share = belongs.mean(axis=0)
        gain = float((x @ belongs @ number) / (belongs.sum(axis=0) @ number**2))
    if belongs[:, 1].sum() < 50 or not 0.6 < gain / first < 1.5 or readout > gain / 3:
        return first, False
    peak, valley = (np.sum(np.abs(x / gain - middle) < 0.15) for middle in (1, 0.5))
    below, above = ndtr(np.array([0.85, 1.15]) * gain / max(readout, 0.1 * gain))
    chance = len(x) * share[0] * (above - below)  # dark pixels that read like one electron
    beyond = readout > 0.1 * gain and share[0] > 0.8 and peak > 50 + 3 * chance
    return gain, bool(peak > 1.5 * valley or beyond)
