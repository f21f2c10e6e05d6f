# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample of a scan as training takes it: on the intensity scale, and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..detector.intensity import Intensity, IntensityKind, choose_intensity
from ..detector.response import Response
from ..model.base import LatentModel
from ..training.calibration import Redraw, redraw
from .binning import Binner
from .frames import Frames
from .sampling import Drawn

# A frame is odd with so many times the counts of the median frame, and where few have as many.
OUTSHINES, FEW = 10.0, 0.25
OUTSHONE = (
    "{} of {} frames are more than 10 times as bright as the median one (cosmic rays, saturation, "
    "another exposure?), and training follows them: if they are no patterns, fill them with zeros, "
    "or leave them out by roi= (True = train there)"
)
# With more than this share found to be defects, more than the gaps of most cameras, it is worth a
# look at which pixels they are.
MANY_DEFECTS = 0.02
DEFECTS = (
    "{} of {} pixels are left out: they are hot or dead, flagged, or read the same whatever falls "
    "on them (the fitted model's mask_ is False there)"
)


@dataclass(frozen=True)
class Prepared:
    """What training starts from.

    Attributes
    ----------
    binner
        For the detector of the scan.
    q_units : str
        Units of q.
    intensity
        Intensity scale.
    response
        Of the camera.
    dose : float
        Mean summed intensity per pattern.
    stabilised : Tensor, shape (n, R, A)
        Drawn patterns on the intensity scale.
    seed : int
        Of everything random from here on.
    """

    binner: Binner
    q_units: str
    intensity: Intensity
    response: Response
    dose: float
    stabilised: Tensor
    seed: int

    def measured(self, model: LatentModel) -> Prepared:
        """The same with the camera's gain by the noise that a trained model leaves."""
        response = self.response.measured(model.overdispersion)
        intensity = replace(self.intensity, gain=response.gain)
        return replace(self, response=response, intensity=intensity)

    def counting(self, model: LatentModel, chance: torch.Generator) -> Redraw:
        """What counts a model's patterns anew, as the camera does."""
        camera = model, self.binner.transform, self.intensity, chance
        return lambda x, draws: redraw(x, draws, *camera)


def prepare(drawn: Drawn, latent_dim: int, kind: IntensityKind, seed: int) -> Prepared:
    """Put a sample on the intensity scale; refuse one that nothing can be learned from.

    Parameters
    ----------
    drawn
        The sample.
    latent_dim
        Latents to be learned.
    kind
        Intensity scale.
    seed
        Of everything random from here on.

    Raises
    ------
    ValueError
        If the patterns are all equal, too few for so many latents, or not bright enough.
    """
    binned, response, weight = drawn.binned, drawn.response, drawn.binner.transform.weight
    check_capacity(latent_dim, binned)
    intensity = choose_intensity(kind, binned, response.gain, weight)
    dose = binned.sum(dim=(1, 2)).mean().item()
    if dose <= 0 and kind != "linear":
        raise ValueError(
            f'intensity="{kind}" needs patterns that are brighter than the camera\'s offset '
            f"of {response.dark_level:g}; got {dose:.3g} above it per pattern on average "
            '(offset= sets another one, intensity="linear" takes what is no intensity)'
        )
    stabilised = intensity(binned)
    check_variety(stabilised)
    units = drawn.frames.q_units
    return Prepared(drawn.binner, units, intensity, response, dose, stabilised, seed)


def check_variety(binned: Tensor) -> None:
    """Refuse patterns that are all equal.

    Raises
    ------
    ValueError
        If no bin of ``binned (n, R, A)`` varies.
    """
    if not bool((binned.var(dim=0) > 0).any()):
        raise ValueError("the patterns must differ from one another; all drawn ones are equal")


def check_capacity(latent_dim: int, binned: Tensor) -> None:
    """Refuse more latents than ``binned (n, R, A)`` can carry.

    Raises
    ------
    ValueError
        If there are not more patterns, and more bins, than latents.
    """
    patterns, n_radial, n_angular = binned.shape
    most = min(patterns, n_radial * n_angular)
    if latent_dim >= most:
        raise ValueError(
            f"latent_dim must be below the {most} that {patterns} patterns of "
            f"{n_radial} x {n_angular} bins can carry; got {latent_dim}"
        )


def outshone(binned: Tensor) -> str | None:
    """What is to be told of few frames that outshine the others of ``binned (n, R, A)``."""
    sums = binned.sum(dim=(1, 2))
    usual = sums.median()
    bright = int((sums > OUTSHINES * usual).sum()) if usual > 0 else 0
    return OUTSHONE.format(bright, len(sums)) if 0 < bright <= FEW * len(sums) else None


def defective(given: Frames, drawn: Frames) -> str | None:
    """What is to be told of many pixels that were found to be defects."""
    pixels = given.detector_shape[0] * given.detector_shape[1]
    left_out = [0 if f.mask is None else int((~f.mask).sum()) for f in (given, drawn)]
    found = left_out[1] - left_out[0]
    return DEFECTS.format(found, pixels) if found > MANY_DEFECTS * pixels else None
