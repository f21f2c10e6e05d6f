# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to use a trained model on a scan, the one trained on or another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ..detector.bins import Detector
from ..detector.intensity import Intensity
from ..model.base import Background, LatentModel
from ..training.defaults import MIN_PATTERNS
from ..training.fitted import Fitted
from .frames import Frames
from .preparing import check_variety
from .sampling import Drawn

ScanBackground = Literal["stored", "refit"]

# A model's circle may stick out of another detector by this much: bins at the rim are averages.
LEAST_RADIUS = 0.97
# Rings of fewer pixels of radius show nothing of a pattern's turn.
LEAST_PIXELS = 3


def with_model_geometry(
    frames: Frames, fitted: Fitted, background: ScanBackground, center: Any
) -> Frames:
    """Give frames to encode the model's mask and, on the scan trained on, its centre.

    Parameters
    ----------
    frames
        To encode.
    fitted
        The trained model.
    background
        "stored" where the frames are of the scan trained on.
    center
        Centre given by hand, or "refine", for the scan trained on; it comes before that of the
        frames, as in training. None: theirs.

    Raises
    ------
    ValueError
        If q is not known in the units of the model, or the pixels are too coarse for it.
    """
    same_camera = frames.detector_shape == fitted.detector.shape
    if frames.q_units != fitted.q_units or (frames.q_units == "pixels" and not same_camera):
        raise ValueError(
            f"the model was trained on {fitted.detector.shape} pixels with q in "
            f"{fitted.q_units!r}; these patterns have {frames.detector_shape} pixels with q in "
            f"{frames.q_units!r}: calibrate both in the same units of q"
        )
    _check_scale(frames, fitted)
    known = fitted.detector.mask
    if same_camera and known is not None:
        # Defects of the camera were added to the mask in training.
        both = known if frames.mask is None else frames.mask & known
        frames = replace(frames, mask=both if both.any() else frames.mask)
    by_hand = center is not None
    if same_camera and background == "stored" and (by_hand or frames.center is None):
        # Origins given by hand for the scan trained on serve that scan alone.
        own = np.shape(center) == (*frames.scan_shape, 2)
        frames = replace(frames, center=center if own else fitted.detector.center)
    return frames


def check_fits(frames: Frames, fitted: Fitted) -> None:
    """Refuse frames to encode that the model's circle does not fit on.

    Raises
    ------
    ValueError
        If the circle about their centre is smaller than the model's.
    """
    # A wandering beam may take the circle's rim off the detector in some of its positions:
    # better a few bins short of counts there than a scan refused.
    _check_radius(frames.detector().inscribed_radius(), frames, fitted)


def _check_scale(frames: Frames, fitted: Fitted) -> None:
    """Refuse pixels too fine or too coarse for the model, wherever the centre is."""
    shape = frames.detector_shape
    widest = Detector(shape, ((shape[0] - 1) / 2, (shape[1] - 1) / 2), frames.matrix)
    _check_radius(widest.inscribed_radius(), frames, fitted)
    pixels = fitted.detector.inscribed_radius() / widest.pixel_size()
    if pixels < LEAST_PIXELS and widest.pixel_size() > 1.01 * fitted.detector.pixel_size():
        raise ValueError(
            f"the model's circle must have a radius of {LEAST_PIXELS} pixels at least; on this "
            f"detector it has {pixels:.2g}"
        )


def _check_radius(radius: float, frames: Frames, fitted: Fitted) -> None:
    known = fitted.detector.inscribed_radius()
    if radius < LEAST_RADIUS * known:
        raise ValueError(
            f"the model sees q up to {known:.4g} {fitted.q_units} all round; the circle "
            f"on this detector ends at {radius:.4g} {frames.q_units}"
        )


def refit(model: LatentModel, drawn: Drawn, fitted: Fitted, background: Background) -> Intensity:
    """Fit to a scan what belongs to a scan and not to the networks.

    Parameters
    ----------
    model
        Takes the scan's background and noise.
    drawn
        Sample of the scan.
    fitted
        The trained model.
    background
        As in `RRVAE`.

    Returns
    -------
    Intensity
        With the scan's gain.

    Raises
    ------
    ValueError
        If the sample is too small or does not vary.
    """
    binned = drawn.binned
    if len(binned) < MIN_PATTERNS:
        raise ValueError(
            f'background="refit" needs at least {MIN_PATTERNS} patterns; got {len(binned)}'
        )
    check_variety(binned)
    dose = binned.sum(dim=(1, 2)).mean().item()
    scale = fitted.intensity.scale * (dose / fitted.dose)
    intensity = replace(fitted.intensity, scale=scale)
    model.adopt_scan(intensity(binned), background)
    return intensity
