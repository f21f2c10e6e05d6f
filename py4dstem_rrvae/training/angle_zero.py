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


@torch.inference_mode()
def angle_offset(
    model: LatentModel, x: Tensor, parts: Sequence[Inference], intensity: Intensity, grid: Grid
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
    if bool((model.weight == 0).any()):
        # Else the centre of mass would lean away from a beam stop.
        expected = [model.expected(p.z, p.angle.nan_to_num(), p.mirrored) for p in parts]
        x = torch.where(model.weight > 0, x, torch.cat(expected))
    shift = center_of_mass(intensity.invert(x), grid).cpu()
    shift = (shift - shift.mean())[distinct]
    ahead = shift * torch.exp(-1j * theta[distinct])
    mirrored = torch.cat([p.mirrored for p in parts]).cpu()[distinct]
    return float(torch.angle(torch.where(mirrored, ahead.conj(), ahead).sum()))
