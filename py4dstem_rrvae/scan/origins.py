# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the beam stands in every pattern of a scan, found from the patterns themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detector.beam import BeamFinder, Shifts
from ..detector.defects import without_counts
from ..detector.outliers import without_pattern
from ..detector.response import COUNTS, Response, estimate_response
from .blocks import Positions
from .frames import Frames
from .sampling import RAW_SAMPLE, affordable, with_pattern


@dataclass(frozen=True)
class Followed:
    """Where the beam stands in each pattern of a block: rows of its shift and their variance."""

    finder: BeamFinder
    response: Response

    def __call__(self, patterns: NDArray[Any], _: Positions) -> NDArray[Any]:
        """Rows (n, 3) of ``patterns (n, H, W)``."""
        response = self.response
        found = self.finder(patterns, response.dark_level, response.gain)[1]
        variance = np.where(
            without_pattern(patterns, self.finder.detector.mask), np.inf, found.variance
        )
        return np.column_stack([found.value, variance])


def follow(
    frames: Frames,
    n: int,
    rng: np.random.Generator,
    progress: str | None = None,
    gain: float | None = None,
    offset: float | None = None,
) -> Frames:
    """Frames with where the beam stands in each pattern, found from the patterns themselves.

    Parameters
    ----------
    frames
        Read once, and a sample of them before.
    n
        Patterns at most from which the mean pattern is taken.
    rng
        Source of chance.
    progress
        As in `blocks.walk`.
    gain, offset
        Of the camera, where they are known.

    Raises
    ------
    ValueError
        If neither a disc nor the brightest ring about the beam lies on the detector all round.
    """
    raw = frames.read(frames.choose(min(n, affordable(frames, n), RAW_SAMPLE), rng))
    raw = raw[with_pattern(raw, frames.mask)]
    kept = np.ones(frames.detector_shape, bool) if frames.mask is None else frames.mask
    bad = without_counts(raw, kept, gain, offset)
    if bad.any():
        frames = replace(frames, mask=kept & ~bad)
    frames = frames.located(raw) if frames.center is None else frames
    response = estimate_response(raw, frames.mask, gain, offset) if len(raw) > 1 else COUNTS
    finder = BeamFinder.of(frames.detector(), raw, response.dark_level)
    if not finder.reach:
        raise ValueError(
            'center="each" needs a disc or a ring about the beam that lies on the detector all '
            f"round; there is none about {tuple(np.round(finder.detector.center, 1).tolist())}"
        )
    rows = frames.gather(Followed(finder, response), progress=progress)
    shifts = Shifts(rows[:, :2], rows[:, 2]).smoothed(frames.scan_shape)
    last = np.asarray(frames.detector_shape) - 1.0
    origins = np.clip(shifts + finder.detector.center, 0, last)
    return replace(frames, center=origins.reshape(*frames.scan_shape, 2))
