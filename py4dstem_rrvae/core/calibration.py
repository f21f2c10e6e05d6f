# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard deviations that repeated noise draws bear out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .model import Inference, LatentModel

# Share of a normal distribution within one standard deviation.
ONE_SIGMA = 0.6827
# Patterns that are encoded at once, numbers fewer than which calibrate nothing, and noise draws.
CHUNK, FEWEST, DRAWS = 512, 20, 4


@torch.no_grad()
def calibrate(model: LatentModel, held_out: Tensor, generator: torch.Generator) -> None:
    """Scale `z_std` and `angle_std` to what the noise moves z and the angle by.

    The posterior's width takes the encoder for an ideal one and, for the angle, z for known; both
    are optimistic. The model's noise is added to held-out patterns, and one factor for each latent
    and one for the angle make 68 % of the moves smaller than the standard deviation.

    Parameters
    ----------
    model
        Trained; gets `spread` and `angle_spread`.
    held_out : Tensor, shape (n, R, A)
        Patterns that were not trained on.
    generator
        CPU generator of the added noise.
    """
    model.spread.fill_(1.0)
    model.angle_spread.fill_(1.0)
    before = [model.infer(x) for x in held_out.split(CHUNK)]
    z_moves, turns = [], []
    for _ in range(DRAWS):
        for x, one in zip(held_out.split(CHUNK), before, strict=True):
            noise = torch.randn(x.shape, generator=generator).to(x)
            other = model.infer(x + noise * model.bin_noise())
            z_moves.append((other.z - one.z).abs() / one.z_std)
            turns.append(_turned(one, other))
    moves, turn = torch.cat(z_moves), torch.cat(turns)
    if len(held_out) >= FEWEST:
        spread = torch.quantile(moves, ONE_SIGMA, dim=0)
        model.spread.copy_(torch.where(model.kept > 0, spread.clamp(min=1e-3), 1.0))
    if len(turn) >= FEWEST * DRAWS:
        model.angle_spread.copy_(torch.quantile(turn, ONE_SIGMA).clamp(min=1.0))


def _turned(one: Inference, other: Inference) -> Tensor:
    """Differences of the angle in standard deviations, where both have the same period."""
    both = (one.fold == other.fold) & (one.fold > 0)
    period = 2 * math.pi / one.fold[both]
    difference = (other.angle - one.angle)[both]
    distance = torch.remainder(difference + period / 2, period) - period / 2
    return distance.abs() / one.angle_std[both]
