# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames that hold no pattern: never recorded, saturated, or struck by a cosmic ray."""

from __future__ import annotations

import numpy as np

from .arrays import AnyArray, Mask
from .defects import CONTRAST, flag_of, spikes

# With spikes in more than this share of the frames, it is the patterns that are so sharp.
MOST_SPIKED = 0.25


def without_pattern(frames: AnyArray, kept: Mask | None = None) -> Mask:
    """Which of ``frames (n, H, W)`` hold no pattern that could be learned from, (n,).

    Frames of one value throughout (blank, saturated), frames with a pixel that counts the most that
    their type can hold, and frames with a spike of one pixel. A pixel that does so in more than
    half of the frames is a defect of the camera, not of a frame: see `without_counts`.

    Parameters
    ----------
    frames
        In units of the detector.
    kept
        Pixels (H, W) that a mask leaves; the others are not looked at.
    """
    flat = (frames if kept is None else frames[:, kept]).reshape(len(frames), -1)
    least, most = flat.min(axis=1), flat.max(axis=1)
    bad: Mask = least == most
    looked_at = np.ones(frames.shape[1:], bool) if kept is None else kept
    limit = flag_of(frames.dtype)
    if not bad.all() and (most == limit).any():
        at_limit = (frames == limit) & looked_at
        at_limit &= at_limit[~bad].mean(axis=0) <= 0.5
        bad |= at_limit.any(axis=(1, 2))
    if bad.all():
        return bad
    bright = np.flatnonzero(~bad & (most > CONTRAST * np.median(most[~bad])))
    spiked = np.zeros(len(frames), bool)
    # As many at once as make no large copies.
    for part in np.array_split(bright, max(1, len(bright) // 64)):
        spiked[part] = spikes(frames[part].astype(float), looked_at).any(axis=(1, 2))
    if spiked.sum() <= MOST_SPIKED * len(frames):
        bad |= spiked
    return bad
