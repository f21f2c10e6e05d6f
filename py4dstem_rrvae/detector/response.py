# SPDX-License-Identifier: GPL-3.0-or-later
"""Gain, pedestal and read-out noise of a camera, from a sample of its frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from . import dark_pixels
from .arrays import AnyArray, FloatArray, Mask
from .dark_pixels import Anchor
from .pedestals import uneven_pedestals

Samples = NDArray[np.float32]
Source = Literal["counted", "comb", "estimated", "given", "noise-free"]

# Pixels of pairs of frames that are looked at: the gain is then known to about 1 %.
MOST_PIXELS = 1 << 18
# No pattern holds more electrons than this, and no pixel on average: what varies is not noise.
MOST_ELECTRONS = 1e8
MOST_PER_PIXEL = 2e4
# Rings this much rougher than the smooth ones of the same level hold an edge.
ROUGHER = 2.5
# Levels further than this many standard errors from the line are not on it.
OFF_LINE = 2.5
# Levels that tell the slope worse than this, relative to it, are too close to where it starts.
STEEP_ENOUGH = 0.2
FEW_CELLS = 5000
# Where fewer pixels than this stand out from the read-out noise, most hold a single electron.
FEW_BRIGHT = 0.03
# A pedestal must bring this much, in squared standard errors, to be preferred to none.
EVIDENCE = 10.0
# A gain by which the noise left by a model is off by more than this factor is replaced.
FAR_OFF = 1.5


@dataclass(frozen=True)
class Response:
    """What a camera makes of electrons: ``value = offset + gain * electrons + readout * noise``.

    Attributes
    ----------
    gain : float
        Detector units per electron. Where `noise_free`, the least gain that is credible.
    offset : float
        Detector units of a pixel that no electron hit. 0 where no pixel is dark enough to tell.
    readout : float
        Standard deviation of such a pixel, in detector units; 0 for counting cameras.
    dark_level : float
        Intensity at which a pixel would have no noise, below `offset` where the read-out adds some:
        what is counted from here has a variance proportional to its mean, as electrons have.
    source : {"counted", "comb", "estimated", "given", "noise-free"}
        How the gain was found: the values are counts; all values are multiples of it; from the
        noise; by the user; or not at all, since there is no noise.
    uneven : float
        How far pixels differ in their pedestals, detector units; 0 where they are alike.
    """

    gain: float
    offset: float
    readout: float
    source: Source
    dark_level: float = 0.0
    uneven: float = 0.0

    def measured(self, overdispersion: float) -> Response:
        """The response that a model's residuals speak for.

        Parameters
        ----------
        overdispersion : float
            Their variance over the one that this response promises. A gain that was estimated is
            replaced where it was far off.
        """
        if self.source != "estimated" or 1 / FAR_OFF < overdispersion < FAR_OFF:
            return self
        return replace(self, gain=self.gain * overdispersion)

    @property
    def noise_free(self) -> bool:
        """Whether the patterns vary less than counting noise of any credible dose."""
        return self.source == "noise-free"


COUNTS = Response(1.0, 0.0, 0.0, "counted")
"""Of a camera that counts."""


class _Cells(NamedTuple):
    """Squares of 2 x 2 pixels in pairs of frames; what chooses them is of the ring around."""

    independent: float  # share of cells that do not overlap others
    level: Samples  # mean of the 12 pixels around
    rough: Samples  # variance of the pair's difference in them
    mean: Samples
    variance: Samples
    pixel: Samples  # value of one pixel in one frame


def estimate_response(
    frames: AnyArray,
    mask: Mask | None = None,
    gain: float | None = None,
    offset: float | None = None,
) -> Response:
    """Find a camera's response from the noise of its frames.

    Counting noise has a variance that grows in proportion to the mean. It is measured in the mixed
    difference of 2 x 2 pixels and of two neighbouring frames, in which smooth and constant
    structure cancels. Cells are sorted by level, and those near an edge left out, by the ring of
    pixels around them, whose noise is independent. What structure is left raises the variance,
    so the lowest line through the levels counts.

    Parameters
    ----------
    frames : ndarray, shape (n, H, W)
        Two patterns or more, in scan order, of 4 x 4 pixels or more.
    mask : ndarray of bool, shape (H, W), or None
        True where a pixel is kept.
    gain, offset
        Detector units per electron, and of a dark pixel, where they are known.

    Returns
    -------
    Response
        `offset` and `readout` are 0 where the darkest pixels get so many electrons that these
        hide them.

    Raises
    ------
    ValueError
        If `gain` is no positive or `offset` no finite number.
    """
    if gain is not None and not (np.isfinite(gain) and gain > 0):
        raise ValueError(f"gain must be a positive finite number, got {gain}")
    if offset is not None and not np.isfinite(offset):
        raise ValueError(f"offset must be a finite number, got {offset}")
    x, first, kept = _sample(frames, mask)
    x = x - np.float32(offset or 0.0)
    found = _estimated(x, first, kept, gain, offset)
    if found.source not in ("estimated", "given"):
        return found
    return replace(found, uneven=uneven_pedestals(x, first, kept))


def _estimated(
    x: Samples, first: NDArray[np.int64], kept: Mask, gain: float | None, offset: float | None
) -> Response:
    cells = _cells(x, first, kept)
    if not len(cells.level):
        source: Source = "given" if gain else "counted"
        return Response(gain or 1.0, offset or 0.0, 0.0, source, offset or 0.0)
    found, zero, readout, dark = _noise(cells, gain)
    dark += offset or 0.0
    total = float((x.mean(axis=0, dtype=float)[kept] - zero).sum())
    told = zero if offset is None else offset
    if gain is not None:
        return Response(float(gain), told, readout, "given", dark)
    step = _comb(x, kept)
    if total <= 0 and found <= 0:
        return Response(1.0, told, readout, "counted", dark)
    least = max(total, 0.0) / min(MOST_ELECTRONS, MOST_PER_PIXEL * kept.sum())
    if found <= least:
        return Response(least, told, readout, "noise-free", dark)
    # In few cells structure is not told from noise well, and multiples are the better witness.
    most = 10.0 if len(cells.level) < FEW_CELLS else 1.5
    whole = step > 0 and 0.67 < found / step < most
    if whole and abs(zero) < step / 2 and readout < step / 4:
        return Response(step, told, 0.0, "counted" if step == 1 else "comb", offset or 0.0)
    return Response(found, told, readout, "estimated", dark)


def _sample(frames: AnyArray, mask: Mask | None) -> tuple[Samples, NDArray[np.int64], Mask]:
    """Frames (n, H, W), which of them pairs begin with, and the pixels (H, W) to be trusted."""
    n, area = len(frames), frames[0].size
    kept = np.ones(frames.shape[1:], dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    first = np.arange(n - 1)
    pairs = max(8, MOST_PIXELS // area)
    if n // 2 > pairs:
        begin = 2 * np.linspace(0, n // 2 - 1, pairs).astype(int)
        frames = frames[np.stack([begin, begin + 1], axis=1).ravel()]
        first = np.arange(0, 2 * pairs, 2)
    elif (n - 1) * area > MOST_PIXELS:
        first = first[::2]
    x = np.asarray(frames, dtype=np.float32)
    kept = kept & np.isfinite(x).all(axis=0)
    x = np.where(kept, x, np.float32(0))
    # Empty and saturated frames say nothing of the others.
    same = np.ptp(x[:, kept], axis=1) == 0 if kept.any() else np.zeros(len(x), dtype=bool)
    varied = first[~(same[first] | same[first + 1])]
    first = varied if len(varied) else first
    seen, where = np.unique(np.stack([first, first + 1]), return_inverse=True)
    x, first = x[seen], where.reshape(2, -1)[0]
    low = np.where(kept, x.min(axis=0), np.inf)
    high = np.where(kept, x.max(axis=0), -np.inf)
    dead = high < ndimage.percentile_filter(low, 30, 3)
    hot = low > ndimage.percentile_filter(high, 70, 3)
    return x, first, kept & ~dead & ~hot


def _quads(z: Samples) -> Samples:
    z = z[:, 1:] + z[:, :-1]
    return z[:, :, 1:] + z[:, :, :-1]


def _ring(quads: Samples) -> Samples:
    corners = quads[:, :-2, :-2] + quads[:, 2:, :-2] + quads[:, :-2, 2:] + quads[:, 2:, 2:]
    return corners - quads[:, 1:-1, 1:-1]


def _cells(x: Samples, first: NDArray[np.int64], kept: Mask) -> _Cells:
    change, total = x[first + 1] - x[first], _quads(x[first + 1] + x[first])
    mixed = np.diff(np.diff(change, axis=1), axis=2)[:, 1:-1, 1:-1]
    rough = (_ring(_quads(change**2)) - _ring(_quads(change)) ** 2 / 12) / 22
    near = ndimage.minimum_filter(kept, 4, origin=-1, mode="constant")[:-3, :-3]
    mean, pixel = total[:, 1:-1, 1:-1] / 8, x[first, 1:-2, 1:-2]
    planes = _ring(total) / 24, rough, mean, mixed**2 / 8, pixel
    columns = [plane[:, near].ravel() for plane in planes]
    saturated = columns[2] == x.max()
    if saturated.any() and not saturated.all():
        columns = [column[~saturated] for column in columns]
    # Cells overlap by half in rows and in columns, and pairs by a frame where all follow on.
    overlap = 2.25 * (1.5 if len(first) > 1 and first[1] == first[0] + 1 else 1.0)
    return _Cells(1 / overlap, *columns)


def _noise(cells: _Cells, gain: float | None) -> tuple[float, float, float, float]:
    """Gain, offset, read-out noise, dark level.

    From electrons that stand out one by one; else from the line through the levels of which the
    least lie off: through no signal and no noise, through the darkest levels, or through the peak
    of pixels that no electron hit.
    """
    order = np.argsort(cells.level)
    dark = np.sort(cells.pixel[order[: max(100, len(order) // 32)]].astype(float))
    if not gain and (lone := _sparse(cells, dark)):
        found, zero, readout = lone
        return found, zero, readout, zero - readout**2 / found
    levels = _levels(cells, order, -np.inf)
    found, misfit = _slope(levels, (0.0, 0.0, np.inf))
    starts, best, origin = [found], (found, 0.0, 0.0), (0.0, 0.0)
    if dark[len(dark) // 50] < 0:  # counts alone are not negative
        misfit = np.inf
    for part in (8, 32):
        anchor = _darkest(levels, part)
        found, rest = _slope(levels, anchor)
        starts.append(found)
        if rest < misfit - EVIDENCE:
            hidden = dark_pixels.offset_by_skewness(dark, anchor, gain or found)
            best, origin, misfit = (found, *hidden), anchor[:2], rest + EVIDENCE
    for start in [gain] if gain else starts[::-1]:
        found, rest, peak = start, np.inf, None
        for _ in range(2):
            peak = dark_pixels.peak(dark, found) if found > 0 else None
            if peak is None:
                break
            # Structure is far below the noise where a pixel gets less than an electron.
            sparse = _levels(cells, order, peak[0] + found)
            found, rest = _slope(sparse, peak[2])
            found = gain or found
        if peak is None or found <= 0:
            continue
        faint = cells.pixel[cells.level < peak[0] + found]
        single, apart = found, False
        if not gain:
            single, apart = dark_pixels.single_electron(faint, *peak[:2], found)
        if apart or rest <= misfit + 3 * EVIDENCE:
            best, origin, misfit = (single, *peak[:2]), peak[2][:2], rest
        if apart:
            break
    found, zero, readout = best
    used = float(gain or found)
    level = origin[0] - origin[1] / used if used > 0 else zero
    return used, float(zero), float(readout), float(level)


def _sparse(cells: _Cells, dark: FloatArray) -> tuple[float, float, float] | None:
    """Gain, offset and read-out noise from electrons so few that each stands out; else None."""
    zero = dark_pixels.half_sample_mode(dark)
    bright = cells.pixel[cells.pixel > zero + 4 * (np.quantile(dark, 0.84) - zero)]
    if not 50 < len(bright) < FEW_BRIGHT * len(cells.pixel):
        return None
    start = float(np.median(bright)) - zero
    peak = dark_pixels.peak(dark, start) if start > 0 else None
    # Continuous values without read-out noise need not be electrons.
    if peak is None or peak[1] <= 0.02 * start:
        return None
    most = 4 * dark_pixels.MOST_VALUES
    found, apart = dark_pixels.single_electron(cells.pixel, *peak[:2], start, most)
    return (found, *peak[:2]) if apart else None


def _levels(cells: _Cells, order: NDArray[np.int64], sparse: float) -> FloatArray:
    """Mean, variance and independent numbers, shape (3, K), of cells of like level."""
    rows = []
    for part in filter(len, np.array_split(order, int(np.clip(len(order) / 400, 4, 32)))):
        if cells.mean[part].mean(dtype=float) >= sparse:
            rough = cells.rough[part]
            part = part[rough <= ROUGHER * np.partition(rough, len(part) // 4)[len(part) // 4]]
        if len(part):
            moments = (column[part].mean(dtype=float) for column in (cells.mean, cells.variance))
            rows.append((*moments, len(part) * cells.independent))
    return np.array(sorted(rows)).T


def _darkest(levels: FloatArray, part: int) -> Anchor:
    mean, variance, n = levels[:, : max(1, levels.shape[1] // part)]
    return float(np.average(mean, weights=n)), float(np.average(variance, weights=n)), n.sum()


def _line(
    levels: FloatArray, anchor: Anchor, gain: FloatArray | float
) -> tuple[FloatArray, FloatArray]:
    """Variances (K,) of levels on a line of noise, and their standard errors."""
    mean, _, n = levels
    variance = np.maximum(anchor[1] + gain * (mean - anchor[0]), 0.0)
    # A second electron in a cell changes the mean of squares by a step, not by a bell.
    error = np.hypot(np.sqrt(2 / n) * variance, gain**2 / 4 / n)
    return variance, np.hypot(error, np.sqrt(2 / anchor[2]) * anchor[1])


def _misfit(levels: FloatArray, anchor: Anchor, gain: float) -> float:
    """Sum of squared standard errors; structure may raise a level, but nothing lowers it."""
    variance, error = _line(levels, anchor, gain)
    off = (levels[1] - variance) / (error + 1e-300)
    return float(np.sum(np.clip(off, -2 * OFF_LINE, OFF_LINE) ** 2))


def _slope(levels: FloatArray, anchor: Anchor) -> tuple[float, float]:
    """Slope of the line through an anchor that most levels lie on, and its misfit."""
    above = levels[:, levels[0] > anchor[0]]
    lever = above[0] - anchor[0]
    slope = (above[1] - anchor[1]) / lever
    seen = _line(above, anchor, slope)[1] / lever
    known = seen < STEEP_ENOUGH * slope
    if np.isinf(anchor[2]) and not known.any():
        known = slope > 0
    if not known.any():
        return 0.0, np.inf
    starts = np.flatnonzero(known)
    start = min(starts, key=lambda at: _misfit(levels, anchor, slope[at]))
    best, doubt = float(slope[start]), float(seen[start])
    for _ in range(5):
        own = np.maximum(_line(above, anchor, best)[1] / lever, 1e-150)
        near = np.abs(slope - best) < OFF_LINE * np.hypot(own, doubt)
        if not near.any():
            break
        best = float(np.average(slope[near], weights=own[near] ** -2))
        doubt = float(np.sum(own[near] ** -2) ** -0.5)
    return max(best, 0.0), _misfit(levels, anchor, best)


def _comb(x: Samples, kept: Mask) -> float:
    """Step that all values are multiples of; 0 if there is none."""
    values = x[:: max(1, len(x) * int(kept.sum()) // 200_000)][:, kept].ravel().astype(float)
    teeth = np.unique(values)
    if len(teeth) < 2 or len(teeth) > len(values) / 4:
        return 0.0
    # A hot pixel or a saturated one is no multiple: the commonest small step decides.
    step = float(np.quantile(np.diff(teeth), 0.1))
    if np.any(teeth != np.rint(teeth)):
        index = np.rint(values / step)
        step = float(index @ values / max(index @ index, 1.0)) or step
    off = np.abs(values / step - np.rint(values / step))
    return step if np.mean(off < 0.02) > 0.98 else 0.0
