# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard deviations that repeated noise draws bear out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .intensity import Intensity
from .model import Inference, LatentModel

# Share of a normal distribution within one standard deviation.
ONE_SIGMA = 0.6827
# Patterns encoded at once; fewest moves that calibrate anything; noise draws.
CHUNK, FEWEST, DRAWS = 512, 50, 4


@torch.no_grad()
def calibrate(
    model: LatentModel, held_out: Tensor, intensity: Intensity, generator: torch.Generator
) -> None:
    """Scale `z_std` and `angle_std` to what noise moves z and the angle by.

    The posterior's width takes the encoder for an ideal one, z for known where it judges the angle,
    and counting noise for Gaussian; all three are optimistic. Noise is drawn anew on the model's
    patterns of held-out data, and one factor for each latent and one for the angle make 68 % of the
    moves smaller than the standard deviation.

    Parameters
    ----------
    model
        Trained; gets `spread` and `angle_spread`.
    held_out : Tensor, shape (n, R, A)
        Patterns that were not trained on.
    intensity
        Scale of these patterns, by which the noise is known: that of counting, unless the scale is
        not one of counts, where it is the model's.
    generator
        CPU generator of the noise.
    """
    model.spread.fill_(1.0)
    model.angle_spread.fill_(1.0)
    z_moves, turns = [], []
    for x in held_out.split(CHUNK):
        seen = model.infer(x)
        clean = model.expected(seen.z, torch.nan_to_num(seen.angle), seen.mirrored)
        still = model.infer(clean)
        for _ in range(DRAWS):
            drawn = model.infer(_redrawn(clean, model, intensity, generator))
            z_moves.append((drawn.z - still.z).abs() / drawn.z_std)
            turns.append(_turned(still, drawn))
    moves, turn = torch.cat(z_moves), torch.cat(turns)
    if len(moves) >= FEWEST:
        spread = torch.quantile(moves, ONE_SIGMA, dim=0)
        model.spread.copy_(torch.where(model.kept > 0, spread.clamp(min=1e-3), 1.0))
    if len(turn) >= FEWEST:
        model.angle_spread.copy_(torch.quantile(turn, ONE_SIGMA).clamp(min=1e-3))


def _redrawn(
    clean: Tensor, model: LatentModel, intensity: Intensity, generator: torch.Generator
) -> Tensor:
    """Patterns ``clean (n, R, A)`` with noise."""
    if intensity.kind == "sqrt":
        counts = intensity.invert(clean).cpu() / intensity.gain
        return intensity(intensity.gain * torch.poisson(counts, generator)).to(clean.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return clean + noise * model.bin_noise()


def _turned(still: Inference, drawn: Inference) -> Tensor:
    """Differences of the angle in standard deviations, where both have the same period."""
    both = (still.fold == drawn.fold) & (still.fold > 0)
    period = 2 * math.pi / still.fold[both]
    difference = (drawn.angle - still.angle)[both]
    distance = torch.remainder(difference + period / 2, period) - period / 2
    return distance.abs() / drawn.angle_std[both]
