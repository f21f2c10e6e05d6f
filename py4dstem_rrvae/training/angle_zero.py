# SPDX-License-Identifier: GPL-3.0-or-later
"""The zero of the angle: on average, the direction of the centre of mass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..detector.bins import Grid, center_of_mass
from ..detector.intensity import Intensity
from ..model.base import LatentModel
from ..model.inference import Inference


def angle_offset(
    model: LatentModel,
    stabilised: Tensor,
    parts: Sequence[Inference],
    intensity: Intensity,
    grid: Grid,
    weight: Tensor,
) -> float:
    """Turn the model's zero onto the direction of the centre of mass, weighted by its size.

    Parameters
    ----------
    model
        Trained.
    stabilised : Tensor, shape (n, R, A)
        Patterns of the scan trained on.
    parts
        What the model infers of them, block by block.
    intensity, grid
        Their scale and bins.
    weight : Tensor, shape (R, A)
        0 in the bins that a mask leaves nothing of.

    Returns
    -------
    float
        Radians, to be added to the model's turn; 0 where no pattern has fold 1.
    """
    theta = torch.cat([p.angle for p in parts]).cpu()
    distinct = torch.cat([p.fold for p in parts]).cpu() == 1
    if not bool(distinct.any()):
        return 0.0
    if bool((weight == 0).any()):
        stabilised = _completed(model, stabilised, parts, weight)
    shift = center_of_mass(intensity.invert(stabilised), grid).cpu()
    shift = (shift - shift.mean())[distinct]
    ahead = shift * torch.exp(-1j * theta[distinct])
    mirrored = torch.cat([p.mirrored for p in parts]).cpu()[distinct]
    return float(torch.angle(torch.where(mirrored, ahead.conj(), ahead).sum()))


@torch.inference_mode()
def _completed(
    model: LatentModel, stabilised: Tensor, parts: Sequence[Inference], weight: Tensor
) -> Tensor:
    """Patterns with what the model expects where a mask leaves nothing.

    Without it the centre of mass would lean away from a beam stop.
    """
    expected = [model.expected(p.z, torch.nan_to_num(p.angle), p.mirrored) for p in parts]
    return torch.where(weight > 0, stabilised, torch.cat(expected))
