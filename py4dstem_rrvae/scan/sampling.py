# SPDX-License-Identifier: GPL-3.0-or-later
"""Uniform samples of a scan, or of a stream of patterns, in bounded memory."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..detector.bins import Grid, GridFor, PolarGrid
from ..detector.defects import defects, without_counts
from ..detector.fine_mean import FineMean
from ..detector.outliers import without_pattern
from ..detector.response import COUNTS, Response, estimate_response
from ..training.defaults import MIN_PATTERNS
from .binning import Binner
from .blocks import MOST_INTENSITY
from .center_checks import contradicted, partly_seen, wandering
from .frames import Frames

# Patterns that have to be held as they were recorded take no more.
SAMPLE_BYTES = 2**28
# Patterns that the camera's response is found from.
RAW_SAMPLE = 512


NOTHING = (
    "none of the {} frames that were looked at holds a pattern: all are blank, saturated, or have "
    "a pixel flagged as invalid (mask= leaves such pixels out)"
)
UNEVEN = (
    "pixels that hardly an electron hits differ by {:.3g} units (root mean square), more than "
    "noise explains: subtract the camera's dark frame, or gain, error bars and angles are wrong"
)
LEFT_OUT = (
    "{} of {} frames are left out of training: they are blank, saturated, or struck in one pixel. "
    "They get codes, which say nothing"
)


@dataclass(frozen=True)
class Drawn:
    """Sample of a scan.

    Attributes
    ----------
    frames
        The scan, with its centre.
    binner
        For its detector.
    binned : Tensor, shape (n, R, A)
        Counts of the drawn patterns in bins.
    response : Response
        Of the camera.
    """

    frames: Frames
    binner: Binner
    binned: Tensor
    response: Response


def draw(
    frames: Frames,
    n: int,
    rng: np.random.Generator,
    grid: Grid | GridFor = PolarGrid.for_detector,
    device: str = "auto",
    progress: str | None = None,
    refine: bool = False,
    gain: float | None = None,
    offset: float | None = None,
    seek_defects: bool = True,
) -> Drawn:
    """Draw patterns, and bin them as they are read.

    Only where the centre is unknown, or to be refined, are they held as they were recorded until it
    is found, and then no more of them than `affordable`.

    Parameters
    ----------
    frames
        Read once, in blocks.
    n
        Patterns to draw at most.
    rng
        Source of chance.
    grid
        Bins, or what makes them to suit the detector.
    device, progress
        As in `RRVAE` and `blocks.walk`.
    refine
        Whether to look for a better centre than the frames'.
    gain, offset
        Of the camera, where they are known.
    seek_defects
        Whether to look for hot and dead pixels, and to draw again without them.
    """
    asked, given = frames, frames.center is not None and not refine
    if not given:
        where = frames.choose(affordable(frames, n), rng)
        raw = frames.read(where, progress)
        used = with_pattern(raw, frames.mask)
        frames = frames.refined(raw[used]) if refine else frames.located(raw[used])
        binner = Binner.of(frames, grid, device)
        parts = [(where, binner(raw, where))]
    else:
        binner = Binner.of(frames, grid, device)
        parts = list(frames.walk(binner, frames.choose(n, rng), progress))
    looked_at = sum(len(where) for where, _ in parts)
    where = np.concatenate([where[part.used] for where, part in parts])
    if not len(where):
        raise ValueError(NOTHING.format(looked_at))
    binned = torch.from_numpy(np.concatenate([part.polar for _, part in parts]))
    binned = binned[np.argsort(where)].to(binner.transform.device)
    _check_range(binned)
    sums = [part.sums for _, part in parts if part.sums is not None]
    total = reduce(add, [part.total for _, part in parts])
    some = np.concatenate([part.some for _, part in parts])[:RAW_SAMPLE]
    n, transform = len(where), binner.transform
    bad = without_counts(some, transform.kept, gain, offset)
    if bad.any():
        # They may have drawn the centre to them.
        frames = replace(asked, mask=transform.kept & ~bad)
        return draw(
            frames, n, rng, grid, device, progress, refine, gain, offset, seek_defects=seek_defects
        )
    response = estimate_response(some, frames.mask, gain, offset) if len(some) > 1 else COUNTS
    dark = response.dark_level
    mean = transform.fine_mean(total / n - dark)
    if seek_defects and not (response.noise_free or response.uneven):
        expected = mean.round().on(transform.detector) * (n / response.gain)
        bad = defects((total - n * dark) / response.gain, expected, transform.kept)
        if bad.any() and not bad[transform.kept].all():
            frames = replace(frames, mask=transform.kept & ~bad)
            return draw(frames, n, rng, binner.grid, device, progress, False, gain, offset, False)
    detector, mean_pattern = transform.detector, total / n - dark
    told = [partly_seen(binner, binned), contradicted(detector, mean_pattern) if given else None]
    if told[-1] is None and frames.origins() is None and not response.noise_free:
        told.append(wandering(detector, some, response))
    if response.uneven:
        told.append(UNEVEN.format(response.uneven))
    for sentence in filter(None, told):
        warnings.warn(sentence, stacklevel=4)
    if len(where) < looked_at:
        warnings.warn(LEFT_OUT.format(looked_at - len(where), looked_at), stacklevel=4)
    if sums:
        mean = FineMean(FineMean.of(reduce(add, sums)).values - dark)
    binner = binner.knowing(mean, dark)
    binned = binner.evened(binned - binner.transform.dark, np.sort(where))
    return Drawn(frames, binner, binned, response)


def affordable(frames: Frames, n: int) -> int:
    """How many of n patterns to hold as they were recorded."""
    height, width = frames.detector_shape
    most: int = SAMPLE_BYTES // (height * width * frames.patterns.dtype.itemsize)
    return max(MIN_PATTERNS, min(n, most))


def with_pattern(raw: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Which of the frames (n, H, W) show where the beam is; all of them if none do."""
    bad = without_pattern(raw, mask)
    return np.ones(len(raw), bool) if bad.all() else ~bad


class Reservoir:
    """At most `size` patterns, each of those seen so far as likely as any other.

    Parameters
    ----------
    size
        Patterns to keep.
    rng
        Source of chance.

    Notes
    -----
    Algorithm R of J. S. Vitter, ACM Trans. Math. Softw. 11, 37 (1985).
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.rng, self.seen = size, rng, 0
        self.patterns: NDArray[Any] = np.empty(0)

    def add(self, patterns: NDArray[Any]) -> None:
        """Take note of ``patterns (n, H, W)``; they are copied where they are kept.

        Raises
        ------
        ValueError
            If they are not of the shape of those before.
        """
        if not self.seen:
            self.patterns = np.empty((0, *patterns.shape[1:]), dtype=patterns.dtype)
        elif patterns.shape[1:] != self.patterns.shape[1:]:
            raise ValueError(
                f"patterns must have {self.patterns.shape[1:]} pixels as those before; "
                f"got {patterns.shape[1:]}"
            )
        room = self.size - len(self.patterns)
        if room > 0:
            self.patterns = np.concatenate([self.patterns, patterns[:room]])
        late = patterns[max(room, 0) :]
        ordinal = self.seen + len(patterns) - len(late) + np.arange(len(late)) + 1
        slot = self.rng.integers(0, ordinal)
        kept = slot < self.size
        self.patterns[slot[kept]] = late[kept]
        self.seen += len(patterns)


def _check_range(binned: Tensor) -> None:
    """Refuse intensities whose squares single precision cannot hold.

    Raises
    ------
    ValueError
        If the largest of ``binned (n, R, A)`` is too small or too large.
    """
    largest = binned.abs().max().item()
    if not 1 / MOST_INTENSITY < largest < MOST_INTENSITY:
        raise ValueError(
            f"intensities summed into bins must lie between {1 / MOST_INTENSITY:g} and "
            f"{MOST_INTENSITY:g}; the largest here is {largest:.3g}: scale the patterns"
        )
