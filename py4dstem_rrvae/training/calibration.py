# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard deviations that repeated noise draws bear out."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..detector.intensity import COUNTED, Intensity
from ..detector.transform import BinTransform
from ..device import sparse_device
from ..model.base import LatentModel
from ..model.inference import Inference

# Shares of a normal distribution within these many standard deviations.
SHARES, REACHES = (0.6827, 0.95), (1.0, 1.96)
# Patterns that are drawn anew at most, at once, and how often each of them at least; fewer patterns
# are drawn more often, to make so many draws.
MOST, CHUNK, DRAWS, WANTED = 512, 64, 4, 1024
MOST_DRAWS = 64
# How much worse it is to miss the second of these shares: three bars of a hundred too short are few
# of 32, and many of five.
OUTER = 2.0
# Patterns to be counted anew are sharpened to so much of their noise (`BinOperator.unfold`): of
# blurred ones the bars of z come out 5 % too long. In those that are shown it would show as noise.
SHARP = 0.002
# Fewer deviations than this calibrate nothing.
FEWEST = 50

Redraw = Callable[[Tensor, int], Tensor]


@torch.no_grad()
def calibrate(model: LatentModel, held_out: Tensor, redraw: Redraw) -> None:
    """Make `z_std` and `angle_std` what noise moves z and the angle by.

    The posterior's width takes the encoder for an ideal one, z for known where it judges the angle,
    and counting noise for Gaussian; all three are optimistic. So noise is drawn several times. The
    variances of z are refitted to how far z of the model's own patterns lies from its mean over the
    draws, and one factor for each latent and one for the angle bring 68 % and 95 % of the
    deviations within one and two standard deviations, as nearly as one factor can do both.

    The angle's factor comes from the held-out patterns themselves: see `LatentModel.halves`.

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
        again = redraw(model.typical(seen), draws)
        z = model.encode(again.flatten(0, 1))[0].unflatten(0, (draws, len(x)))
        move = (z - z.mean(dim=0)) * math.sqrt(draws / (draws - 1))
        # A width is asked of real patterns, which are not quite the model's: of both.
        moves += [move.flatten(0, 1)] * 2
        drawn.append(torch.cat([again.flatten(0, 1), x.repeat(draws, 1, 1)]))
        # A difference of draws has no part of what `redraw` blurs.
        noise = (again - again.roll(-1, 0)) / math.sqrt(2)
        turns.append(_apart(seen, *model.halves(x, noise)))
    redrawn, move, turn = torch.cat(drawn), torch.cat(moves), torch.cat(turns)
    model.refit_widths(redrawn, move.square())
    width = torch.cat([model.z_std(model.encode(x)[1]) for x in redrawn.split(512)])
    relative = move.abs() / width.clamp(min=1e-12)
    spread = torch.stack([_factor(one) for one in relative.unbind(dim=1)])
    model.spread.copy_(torch.where(model.kept.cpu() > 0, spread, 1.0))
    if len(turn) >= FEWEST:
        model.angle_spread.copy_(_factor(turn))


@torch.no_grad()
def widen(model: LatentModel, held_out: Tensor) -> None:
    """Widen error bars to what the model's misfit moves z and the angle by, if noise moves less.

    The spreads that `calibrate` has set from counting noise grow where residuals, as `waved`, move
    z and the angle farther. Where residuals are noise they do not, and the bars stay.

    Parameters
    ----------
    model
        Calibrated; `spread` and `angle_spread` may grow.
    held_out : Tensor, shape (n, R, A)
        Patterns that were not trained on.
    """
    moves, turns = [], []
    for x in held_out[:MOST].split(CHUNK):
        seen, residual = model.infer(x), model.residual(x)
        if residual is None:
            return
        waves = waved(residual)
        clean = model.typical(seen)
        above, below = (model.encode((clean + w).flatten(0, 1))[0] for w in (waves, -waves))
        moves.append(0.5 * (above - below).abs() / seen.z_std.clamp(min=1e-12).repeat(2, 1))
        turns.append(_apart(seen, *model.halves(x, waves)))
    move, turn = torch.cat(moves), torch.cat(turns)
    if len(move) >= FEWEST:
        factor = torch.stack([_factor(one) for one in move.unbind(dim=1)]).clamp(min=1)
        model.spread.mul_(torch.where(model.kept.cpu() > 0, factor, 1.0).to(model.spread))
    if len(turn) >= FEWEST:
        # The halves' widths have no part of `angle_spread`.
        model.angle_spread.clamp_(min=_factor(turn).item())


def waved(residual: Tensor) -> Tensor:
    """``residual (B, R, A)`` times two waves with one period around the circle, (2, B, R, A).

    At the best turn the pulls of all residuals on the angle cancel, so that they do not show how
    strong these are. Under a slow wave they do not cancel, and neighbouring bins, whose misfit is
    alike, still pull together; if they are independent noise, so is the product (dependent wild
    bootstrap; X. Shao, J. Am. Stat. Assoc. 105, 2010).
    """
    n = residual.shape[-1]
    around = torch.arange(n, dtype=residual.dtype, device=residual.device) * (2 * math.pi / n)
    wave = math.sqrt(2) * torch.stack([around.cos(), around.sin()])
    return wave[:, None, None] * residual


def _factor(deviation: Tensor) -> Tensor:
    """By what to multiply standard deviations, of absolute deviations (n,) in units of them.

    Found in main memory: Apple's devices have no doubles.
    """
    deviation, shares, reaches = deviation.cpu(), torch.tensor(SHARES), torch.tensor(REACHES)
    one, two = torch.quantile(deviation, shares) / reaches
    factors = torch.lerp(one, two, torch.linspace(0, 1, 33))
    within = (deviation <= (reaches[:, None] * factors)[..., None]).double().mean(dim=-1)
    errors = (within - shares[:, None]) * torch.tensor([[1.0], [OUTER]])
    return factors[errors.abs().amax(dim=0).argmin()].clamp(min=1e-3)


def _apart(seen: Inference, halves: Tensor, stds: Tensor) -> Tensor:
    """By how many standard deviations the angles (2, k, B) of halves differ, if both have one."""
    defined = (seen.fold > 0) & halves.isfinite().all(dim=0)
    period = 2 * math.pi / seen.fold
    distance = torch.remainder(halves[0] - halves[1] + period / 2, period) - period / 2
    widened = stds * seen.error.clamp(min=1)
    return (distance.abs() / widened.square().sum(dim=0).sqrt())[defined]


def redraw(
    clean: Tensor,
    draws: int,
    model: LatentModel,
    transform: BinTransform,
    intensity: Intensity,
    chance: torch.Generator,
) -> Tensor:
    """Stabilised patterns ``clean (n, R, A)`` as the detector would count them so many times more.

    Where the intensity scale is not one of counts, the model's noise is added instead.
    """
    if intensity.kind not in COUNTED:
        noise = torch.randn((draws, *clean.shape), generator=chance)
        return clean + noise.to(clean) * model.bin_noise()
    # Bins share pixels, so that noise drawn bin by bin would be too strong.
    host = sparse_device(clean.device)
    mean = transform.uneven(intensity.expected(clean, transform.dof / transform.grid.shape[1]))
    expected = transform.unfold(mean.to(host).clamp(min=0) / intensity.gain, SHARP).cpu()
    counted = (torch.poisson(expected, chance).numpy() for _ in range(draws))
    frames = (intensity.gain * one + transform.offset for one in counted)
    return torch.stack([intensity(transform(one)) for one in frames]).to(clean.device)


def detector_noise(clean: Tensor, draws: int, redraw: Redraw) -> Tensor:
    """So many draws (draws, R, A) of the noise of a pattern ``clean (R, A)``."""
    drawn = redraw(clean[None], draws)[:, 0]
    return drawn - drawn.mean(dim=0)
