# SPDX-License-Identifier: GPL-3.0-or-later
"""What the model says of each pattern, on the scan's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .core.intensity import Intensity
from .core.model import Inference, LatentModel
from .core.polar import PolarGrid, center_of_mass

FloatArray = NDArray[np.float64]

CHUNK = 512


@dataclass(frozen=True)
class Codes:
    """What the model says of each pattern; the leading shape is the scan's.

    Attributes
    ----------
    z, z_std : ndarray, shape (..., d)
        Latents, without units, N(0, 1) over the training scan, and their posterior standard
        deviation. A collapsed latent is 0 with standard deviation 1.
    angle : ndarray, shape (...)
        Turn in radians in [0, 2 pi / fold), from the row axis towards the column axis; NaN where
        `fold` is 0.
    angle_std : ndarray, shape (...)
        Its posterior standard deviation in radians; ``pi / sqrt(3)``, that of a uniform angle,
        where `fold` is 0.
    fold : ndarray of int, shape (...)
        Equal peaks of the angle's posterior: the angle is known modulo ``2 pi / fold``. 0 where
        the pattern has no angular structure above the noise.
    error : ndarray, shape (...)
        Root-mean-square residual in units of the noise: 1 where the model explains the pattern.
    handedness : ndarray, shape (...), or None
        With ``mirror=True``, probability that the pattern is the mirror image of the decoded one;
        which of two twins that is, is a convention of the trained model. 0.5 where noise leaves
        undecided that the decoded pattern differs from its mirror image. `angle` and `angle_std`
        are those of the mirror image where it is above 0.5, else of the decoded pattern.
    """

    z: FloatArray
    z_std: FloatArray
    angle: FloatArray
    angle_std: FloatArray
    fold: NDArray[np.int64]
    error: FloatArray
    handedness: FloatArray | None = None

    @property
    def mirrored(self) -> NDArray[np.bool_]:
        """Whether `angle` is that of the mirror image, shape (...)."""
        handedness = np.zeros(np.shape(self.angle)) if self.handedness is None else self.handedness
        return np.asarray(handedness) > 0.5


def join(parts: list[Inference], offset: float, scan_shape: tuple[int, ...]) -> Codes:
    """Put the inferences of successive blocks into one `Codes`.

    Parameters
    ----------
    parts
        In the scan's order.
    offset
        Added to the model's turn, radians.
    scan_shape
        Shape of the result in front of the latents.
    """

    def whole(name: str) -> FloatArray:
        values = torch.cat([getattr(p, name) for p in parts]).cpu().double().numpy()
        return cast(FloatArray, values.reshape((*scan_shape, *values.shape[1:])))

    fold = whole("fold").astype(np.int64)
    period = 2 * np.pi / np.maximum(fold, 1)
    handedness = None if parts[0].handedness is None else whole("handedness")
    # What turns a pattern by the offset turns its mirror image back by it.
    angle = np.mod(whole("angle") + np.where(whole("mirrored") > 0, -offset, offset), period)
    # mod of a tiny negative number rounds up to the period itself.
    angle = np.where(angle >= period, 0.0, angle)
    z, z_std, angle_std, error = (whole(name) for name in ("z", "z_std", "angle_std", "error"))
    return Codes(z, z_std, angle, angle_std, fold, error, handedness)


def angle_offset(
    model: LatentModel, stabilised: Tensor, intensity: Intensity, grid: PolarGrid
) -> float:
    """Turn the model's zero onto the direction of the centre of mass, weighted by its size."""
    parts = [model.infer(x) for x in stabilised.split(CHUNK)]
    theta = torch.cat([p.angle for p in parts]).cpu()
    distinct = torch.cat([p.fold for p in parts]).cpu() == 1
    if not bool(distinct.any()):
        return 0.0
    shift = center_of_mass(intensity.invert(stabilised), grid).cpu()
    shift = (shift - shift.mean())[distinct]
    ahead = shift * torch.exp(-1j * theta[distinct])
    mirrored = torch.cat([p.mirrored for p in parts]).cpu()[distinct]
    return float(torch.angle(torch.where(mirrored, ahead.conj(), ahead).sum()))
