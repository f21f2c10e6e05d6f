# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard deviations that repeated noise draws bear out."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .inference import Inference
from .model import LatentModel

# Share of a normal distribution within one standard deviation.
ONE_SIGMA = 0.6827
# Patterns that are drawn anew at most, at once, and pairs of draws of each.
MOST, CHUNK, PAIRS = 256, 64, 4
# Fewer moves than this calibrate nothing.
FEWEST = 50

Redraw = Callable[[Tensor], Tensor]


@torch.no_grad()
def calibrate(model: LatentModel, held_out: Tensor, redraw: Redraw) -> None:
    """Scale `z_std` and `angle_std` to what noise moves z and the angle by.

    The posterior's width takes the encoder for an ideal one, z for known where it judges the angle,
    and counting noise for Gaussian; all three are optimistic. Noise is drawn twice on the model's
    patterns of held-out data; the two codes differ by sqrt(2) standard deviations. One factor for
    each latent and one for the angle make 68 % of the differences as small as they should be.

    Parameters
    ----------
    model
        Trained; gets `spread` and `angle_spread`.
    held_out : Tensor, shape (n, R, A)
        Patterns that were not trained on.
    redraw
        Stabilised patterns (n, R, A) as measured anew, of expected ones.
    """
    model.spread.fill_(1.0)
    model.angle_spread.fill_(1.0)
    moves, turns = [], []
    for x in held_out[:MOST].split(CHUNK):
        seen = model.infer(x)
        clean = model.expected(seen.z, torch.nan_to_num(seen.angle), seen.mirrored)
        for _ in range(PAIRS):
            one, other = model.infer(redraw(clean)), model.infer(redraw(clean))
            width = (one.z_std.square() + other.z_std.square()).sqrt()
            moves.append((other.z - one.z).abs() / width)
            turns.append(_turned(one, other))
    move, turn = torch.cat(moves), torch.cat(turns)
    if len(move) >= FEWEST:
        spread = torch.quantile(move, ONE_SIGMA, dim=0).clamp(min=1e-3)
        model.spread.copy_(torch.where(model.kept > 0, spread, 1.0))
    if len(turn) >= FEWEST:
        model.angle_spread.copy_(torch.quantile(turn, ONE_SIGMA).clamp(min=1e-3))


def _turned(one: Inference, other: Inference) -> Tensor:
    """Differences of the angle in standard deviations, where both have the same period."""
    both = (one.fold == other.fold) & (one.fold > 0)
    period = 2 * math.pi / one.fold[both]
    difference = (other.angle - one.angle)[both]
    distance = torch.remainder(difference + period / 2, period) - period / 2
    width = (one.angle_std.square() + other.angle_std.square()).sqrt()[both]
    return distance.abs() / width
