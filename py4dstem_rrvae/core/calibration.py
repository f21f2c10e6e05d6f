# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard deviations that repeated noise draws bear out."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .inference import Inference
from .model import LatentModel

# Shares of a normal distribution within these many standard deviations.
SHARES, REACHES = (0.6827, 0.95), (1.0, 1.96)
# Patterns that are drawn anew at most, at once, and how often each of them at least; fewer patterns
# are drawn more often, to make so many draws.
MOST, CHUNK, DRAWS, WANTED = 512, 64, 4, 1024
MOST_DRAWS = 64
# Share of what tells a held-out pattern from the model's that stays in it where the angle's error
# is measured. With none of it, what the decoder lacks is missing (graphene: 50 to 59 % within one
# standard deviation); with all of it, the pattern's own noise is in it twice (68 to 78 %).
OWN = 0.9
# Fewer deviations than this calibrate nothing.
FEWEST = 50

Redraw = Callable[[Tensor, int], list[Tensor]]


@torch.no_grad()
def calibrate(model: LatentModel, held_out: Tensor, redraw: Redraw) -> None:
    """Make `z_std` and `angle_std` what noise moves z and the angle by.

    The posterior's width takes the encoder for an ideal one, z for known where it judges the angle,
    and counting noise for Gaussian; all three are optimistic. So noise is drawn several times. The
    variances of z are refitted to how far z of the model's own patterns lies from its mean over the
    draws, and one factor for each latent and one for the angle bring 68 % and 95 % of the
    deviations within one and two standard deviations, as nearly as one factor can do both.

    For the angle the held-out patterns themselves are counted anew, but for a share of what tells
    them from the model's: where the decoder lacks something of them, noise turns them farther.

    Parameters
    ----------
    model
        Trained; gets its widths, `spread` and `angle_spread`.
    held_out : Tensor, shape (n, R, A)
        Patterns that were not trained on.
    redraw
        Stabilised patterns (n, R, A) as measured so many times anew, of expected ones.
    """
    model.spread.fill_(1.0)
    model.angle_spread.fill_(1.0)
    chosen = held_out[:MOST]
    draws = min(max(DRAWS, -(-WANTED // len(chosen))), MOST_DRAWS)
    drawn, moves, turns = [], [], []
    for x in chosen.split(CHUNK):
        seen = model.infer(x)
        clean = model.typical(seen.z, torch.nan_to_num(seen.angle), seen.mirrored)
        again = redraw(clean, draws)
        z = torch.stack([model.encode(one)[0] for one in again])
        move = (z - z.mean(dim=0)) * math.sqrt(draws / (draws - 1))
        # A width is asked of real patterns, which are not quite the model's: of both.
        moves += [move.flatten(0, 1)] * 2
        drawn.append(torch.cat([*again, x.repeat(draws, 1, 1)]))
        real = redraw(clean + OWN * (x - clean), draws)
        turns += [_turned(seen, model.infer(one)) for one in real]
    redrawn, move, turn = torch.cat(drawn), torch.cat(moves), torch.cat(turns)
    if len(move) >= FEWEST:
        model.refit_widths(redrawn, move.square())
        width = torch.cat([model.infer(part).z_std for part in redrawn.split(512)])
        relative = move.abs() / width.clamp(min=1e-12)
        spread = torch.stack([_factor(one) for one in relative.unbind(dim=1)])
        model.spread.copy_(torch.where(model.kept > 0, spread, 1.0))
    if len(turn) >= FEWEST:
        model.angle_spread.copy_(_factor(turn))


def _factor(deviation: Tensor) -> Tensor:
    """By what to multiply standard deviations, of absolute deviations (n,) in units of them."""
    one, two = (
        torch.quantile(deviation, share) / reach
        for share, reach in zip(SHARES, REACHES, strict=True)
    )
    factors = torch.lerp(one, two, torch.linspace(0, 1, 33, device=deviation.device))
    errors = torch.stack(
        [
            (deviation <= reach * factors[:, None]).double().mean(dim=1) - share
            for share, reach in zip(SHARES, REACHES, strict=True)
        ]
    )
    return factors[errors.abs().amax(dim=0).argmin()].clamp(min=1e-3)


def _turned(truth: Inference, found: Inference) -> Tensor:
    """Errors of the angle in standard deviations, where both have the same period."""
    both = (truth.fold == found.fold) & (truth.fold > 0)
    period = 2 * math.pi / truth.fold[both]
    difference = (found.angle - truth.angle)[both]
    distance = torch.remainder(difference + period / 2, period) - period / 2
    return distance.abs() / found.angle_std[both]
