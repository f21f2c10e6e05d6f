# SPDX-License-Identifier: GPL-3.0-or-later
"""The turn of a pattern, from a trigonometric polynomial: its peak, posterior and symmetry.

A real function of the angle is held as its coefficients ``c (B, K)``:
``f(theta) = c_0 + 2 Re sum_{m >= 1} c_m exp(i m theta)``. B may be several dimensions.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# A symmetry is taken as broken, and an angle as defined, when the harmonics that break it hold this
# much energy in units of the noise: their expected log-likelihood ratio is half of it, and noise
# learned by a decoder from a few hundred patterns stays below it.
DETECTABLE = 25.0
# And a turn by the symmetry must cost the pattern so many times what noise makes that cost vary.
SIGNIFICANT = 3.0
# The noise that the decoder has learned of a pattern it was trained on counts so many times: once
# in what the decoded orders promise, and once in the pattern.
LEARNED = 2.0
# Nats by which an angular structure must explain a pattern better than none: noise alone gives the
# best of all turns half as much.
EVIDENCE = 4.0
# Folds looked for, largest first.
FOLDS = (12, 10, 8, 6, 5, 4, 3, 2)
# A maximum of the likelihood so near to the angle, or to one that is equal to it by symmetry, is
# the same: half-way between two of the highest fold there is always room for another.
SAME = math.pi / (2 * max(FOLDS))
# Angles a posterior is evaluated at: so many per harmonic of a decoded pattern, which has 16 or 32.
# That is a multiple of every fold, so that a grid that holds one peak of a pattern holds all.
OVERSAMPLING, MOST_ANGLES = 15, 480
# Angle between those that one pattern of a batch and the next are made to prefer in training.
GOLDEN = math.pi * (3 - math.sqrt(5))
# Turns, as shares of a full one, that leave some of these folds as they are.
TURNS = tuple(sorted({k / n for n in FOLDS for k in range(1, n)}))


@lru_cache(maxsize=16)
def orders(n: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Orders m (n,), and how many terms of a Fourier sum each stands for (n,), made once."""
    with torch.inference_mode(False):  # training may use them later
        order = torch.arange(n, dtype=dtype, device=device)
        return order, 2 - (order == 0).to(dtype)


def grid_size(coefficients: Tensor) -> int:
    """Angles at which a function with ``coefficients (..., K)`` is looked at for its peak.

    Under a mask K is twice as large, but the peak is no narrower.
    """
    return min(OVERSAMPLING * (coefficients.shape[-1] - 1), MOST_ANGLES)


def evaluate(coefficients: Tensor, n: int) -> Tensor:
    """Values at the angles ``2 pi k / n``: ``c (B, K)`` to (B, n); needs ``n >= 2 (K - 1)``."""
    return torch.fft.irfft(coefficients, n=n, norm="forward")


def shifted(coefficients: Tensor, theta: Tensor) -> Tensor:
    """Coefficients of ``f(. + theta)``, for ``theta (B,)``, or with axes of 1 to broadcast."""
    order, _ = orders(coefficients.shape[-1], theta.dtype, theta.device)
    return coefficients * _phase(order, theta)


def _phase(order: Tensor, theta: Tensor) -> Tensor:
    """``exp(i m theta)`` of orders m (K,)."""
    phase = theta[..., None] * order
    return torch.complex(phase.cos(), phase.sin())


def peak(coefficients: Tensor, n: int) -> Tensor:
    """Angle of the maximum, (B,): the best of n equidistant ones, refined by a parabola."""
    values = evaluate(coefficients, n)
    k = values.max(dim=-1).indices  # takes a third of argmax's time
    around = torch.stack([k - 1, k, k + 1], dim=-1) % n
    left, middle, right = values.gather(-1, around).unbind(-1)
    curvature = left - 2 * middle + right
    step = torch.where(curvature < 0, 0.5 * (left - right) / curvature, torch.zeros_like(left))
    return (k + step) * (2 * math.pi / n)


def power(harmonics: Tensor) -> Tensor:
    """Squared size of each order, over all rings: ``harmonics (..., R, M)`` to (..., M)."""
    # Pairs are summed last: sums over an axis of two take as long as all the rest of `infer`.
    return torch.view_as_real(harmonics).square().sum(dim=-3).sum(dim=-1)


def at_zero(coefficients: Tensor) -> Tensor:
    """Values (B,) at the angle 0."""
    real = coefficients.real
    return 2 * real.sum(dim=-1) - real[..., 0]


def swayed(coefficients: Tensor, share: float) -> Tensor:
    """Functions (..., B, K) with a slight preference for an angle each.

    Of an amplitude of so many of their standard deviations over the circle; it gets no gradient.
    """
    deviation = coefficients.detach()[..., 1:].abs().square().sum(dim=-1).mul_(2).sqrt_()
    # Even over a batch, whose order is drawn anew in each epoch.
    number = torch.arange(coefficients.shape[-2], device=deviation.device, dtype=deviation.dtype)
    preference = torch.polar(0.5 * share * deviation, (GOLDEN * number).expand_as(deviation))
    first = coefficients[..., 1:2] + preference[..., None]
    return torch.cat([coefficients[..., :1], first, coefficients[..., 2:]], dim=-1)


def log_mean_exp(coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithm of the circular mean of ``exp(f)``, (B,), and the angle of f's maximum, (B,).

    The second has no gradient.
    """
    return _LogMeanExp.apply(coefficients)  # type: ignore[no-untyped-call]


class _LogMeanExp(torch.autograd.Function):
    """The mean on a grid that holds the peak; a narrower peak than its step counts as a Gaussian.

    The gradient of ``log mean exp(f)`` with respect to ``c_m`` is twice the circular moment
    ``E[exp(-i m theta)]`` of the density proportional to ``exp(f)``: one FFT of its values, where
    autograd takes some forty steps back.
    """

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        k, dtype, device = coefficients.shape[-1], coefficients.real.dtype, coefficients.device
        n = grid_size(coefficients)
        order, count = orders(k, dtype, device)
        bend, steps = _grid(k, n, dtype, device)
        theta = peak(coefficients, n)
        to_peak = _phase(order, theta)
        turned = coefficients * to_peak
        values = evaluate(turned, n)
        highest = values[..., :1].clone()
        density = _below_top(values, highest).exp_()
        total = density.sum(dim=-1)
        # What a Gaussian as sharp as the peak, in steps of the grid, and its square sum to on the
        # grid: its true area and variance come in their place. Of a wide one they are the same.
        sharp = (turned.real @ bend).clamp(min=0.5)
        on_grid, squares = ((-0.5 * sharp[..., None] * steps[1]).exp() @ steps.T).unbind(dim=-1)
        value = highest[..., 0] + (total / n * (2 * math.pi / sharp).sqrt() / on_grid).log()
        if ctx.needs_input_grad[0]:
            moments = torch.fft.rfft(density)[..., :k] / total[..., None]
            excess = squares / on_grid - 1 / sharp
            moments = count * moments + 0.5 * bend * excess[..., None]
            ctx.save_for_backward(moments * to_peak.conj())
        ctx.mark_non_differentiable(theta)
        return value, theta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        slope: Tensor = ctx.saved_tensors[0]
        return gradient[..., None] * slope


@lru_cache(maxsize=8)
def _grid(k: int, n: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """What `_LogMeanExp` multiplies by on a grid of n angles, made once.

    How much each order bends f at its peak in a step of the grid (K,); ones, and squares of steps
    from the peak, (2, 17).
    """
    step = 2 * math.pi / n
    squares = torch.arange(-8, 9, dtype=dtype, device=device).square()
    bend = 2 * (orders(k, dtype, device)[0] * step).square()
    return bend, torch.stack([squares**0, squares])


def _below_top(values: Tensor, top: Tensor) -> Tensor:
    """Values less the largest of their row, down to where exp gives nothing."""
    # Terms below exp(-80) of the largest leave the range of normal float32 numbers, where exp takes
    # 15 times as long (0.36 against 0.02 ms for 64 x 384).
    return (values - top).clamp_(min=-80)


def about(log_likelihood: Tensor, theta: Tensor) -> Tensor:
    """Log-likelihood at equidistant angles from ``theta (B,)`` on, less its mean: (B, K) to (B, n).

    `fold`, `posterior` and `reliability` judge by these values.
    """
    turned = shifted(log_likelihood, theta)
    turned[..., 0] = 0
    return evaluate(turned, grid_size(log_likelihood))


def fold(
    values: Tensor, harmonics: Tensor, learned: Tensor | float = 0.0, least_breaking: float = 0.0
) -> Tensor:
    """Order of rotational symmetry that noise leaves undecided.

    What breaks a symmetry has to be there in the decoded pattern, and the pattern that it was
    decoded for must become less likely by the turn, which is judged on what is seen of it.

    Parameters
    ----------
    values : Tensor, shape (B, n)
        The patterns' log-likelihood `about` its mode.
    harmonics : complex Tensor, shape (B, R, M)
        Orthonormal angular Fourier coefficients of decoded patterns, from order 0, in units of
        the noise of one bin, those of a ring times the root of the share that is seen of it.
    learned : Tensor, shape (), or float
        Nats that an order of a pattern trained on owes to noise that the decoder has learned.
    least_breaking : float
        Share of the angular energy that has to break a symmetry.

    Returns
    -------
    Tensor of int64, shape (B,)
        1 for a pattern with one distinct orientation, n where turns by ``2 pi / n`` cannot be told
        apart, 0 where the decoded pattern has no angular structure.
    """
    waves, _, kept_by = symmetries(harmonics.shape[-1], values.dtype, values.device)
    energy = 2 * power(harmonics)
    turned = values[:, [round(turn * values.shape[-1]) for turn in TURNS]]
    # Noise makes the cost of a turn vary by the difference between the pattern and its turned self,
    # and a decoder that has learned some of the pattern's own noise adds to the cost, in the orders
    # that are left of it.
    vary = SIGNIFICANT * (energy @ waves).clamp(min=1e-9).sqrt()
    learned = 0.5 * LEARNED * learned * ((energy > 0).to(waves) @ waves)
    told = values[:, :1] - turned > vary + learned
    return largest_fold(harmonics, told.to(energy.dtype) @ kept_by > 0, least_breaking)


def largest_fold(harmonics: Tensor, broken: Tensor, least_breaking: float) -> Tensor:
    """Largest symmetry (B,) that decoded patterns have, or that is not broken by the evidence.

    Parameters
    ----------
    harmonics, least_breaking
        As in `fold`.
    broken : Tensor of bool, shape (B, F)
        Whether the patterns speak against each of `FOLDS`.
    """
    _, breaks, _ = symmetries(harmonics.shape[-1], harmonics.real.dtype, harmonics.device)
    energy = 2 * power(harmonics)
    energy[:, 0] = 0
    total, breaking = energy.sum(dim=-1), energy @ breaks
    unbroken = ~broken | (breaking < (least_breaking * total).clamp(min=DETECTABLE)[:, None])
    # What is left must itself be seen, or a faint pattern would pass for any high order.
    unbroken &= total[:, None] - breaking >= DETECTABLE
    largest = (unbroken * torch.tensor(FOLDS, device=energy.device)).amax(dim=-1).clamp(min=1)
    return torch.where(total < DETECTABLE, 0, largest)


@lru_cache(maxsize=16)
def symmetries(
    n_orders: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """What symmetries are judged by, made once.

    By how much each order differs from itself turned (M, T), which orders break each fold (M, F),
    and which turns each fold is kept by (T, F).
    """
    with torch.inference_mode(False):
        order = orders(n_orders, dtype, device)[0]
        turns = torch.tensor(TURNS, dtype=dtype, device=device)
        waves = 2 - 2 * torch.cos(2 * math.pi * order[:, None] * turns)
        breaks = torch.stack([order % n != 0 for n in FOLDS], dim=1).to(dtype)
        whole = turns[:, None] * torch.tensor(FOLDS, dtype=dtype, device=device)
        kept_by = ((whole - whole.round()).abs() < 1e-4).to(dtype)
    return waves, breaks, kept_by


def mirrored_where(mirrored: Tensor, harmonics: Tensor) -> Tensor:
    """``harmonics (B, R, M)`` of the mirror image where ``mirrored (B,)`` is True.

    A mirror about the row axis takes the angle to its negative, and harmonics to their complex
    conjugates; about any other line it is this one and a turn.
    """
    return torch.where(mirrored[:, None, None], harmonics.conj(), harmonics)


def achiral(harmonics: Tensor) -> Tensor:
    """Whether noise leaves undecided that patterns differ from their mirror images.

    Judged as `fold` judges a symmetry, by the energy of what breaks it: the part of the pattern
    that is odd about the mirror line where that part is smallest.

    Parameters
    ----------
    harmonics : complex Tensor, shape (B, R, M)
        As for `fold`.

    Returns
    -------
    Tensor of bool, shape (B,)
    """
    angular = harmonics[..., 1:]
    total = 2 * power(angular).sum(dim=-1)
    # Overlap of the patterns with their mirror images, at every turn.
    overlap = nn.functional.pad(angular.square().sum(dim=1), (1, 0))
    best = shifted(overlap, peak(overlap, OVERSAMPLING * overlap.shape[-1])).real.sum(dim=-1)
    odd = 0.5 * total - best
    return odd < DETECTABLE


def mode(log_likelihood: Tensor) -> Tensor:
    """Most probable angle (B,) of a log-likelihood (B, K), uniform beforehand."""
    n = grid_size(log_likelihood)
    angle = peak(log_likelihood, n)
    order, _ = orders(log_likelihood.shape[-1], angle.dtype, angle.device)
    # Newton's steps from there, so that the mode does not depend on where the grid lies.
    for _ in range(2):
        there = shifted(log_likelihood, angle) * order
        slope, curvature = -2 * there.imag.sum(dim=-1), -2 * (there.real * order).sum(dim=-1)
        step = torch.where(curvature < 0, -slope / curvature, torch.zeros_like(angle))
        angle = angle + step.clamp(-math.pi / n, math.pi / n)
    return angle


def posterior(values: Tensor, folds: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Mode and standard deviation of the angle, uniform beforehand.

    Parameters
    ----------
    values : Tensor, shape (B, n)
        Log-likelihood `about` its mode.
    folds : Tensor of int64, shape (B,)
        From `fold`; the angle is only looked for modulo ``2 pi / fold``.
    angle : Tensor, shape (B,)
        The mode.

    Returns
    -------
    angle : Tensor, shape (B,)
        The mode, NaN where the fold is 0.
    std : Tensor, shape (B,)
        Circular standard deviation in radians about the mode, within one period; that of a uniform
        angle, ``pi / sqrt(3)``, where the fold is 0.
    """
    step = 2 * math.pi / values.shape[-1]
    distance = _to_nearest(values.shape[-1], values.dtype, values.device)
    squared = torch.softmax(_below_top(values, values[:, :1]), dim=-1) @ distance.square().T
    spread = squared.gather(-1, folds[:, None])[:, 0].sqrt()
    curvature = (2 * values[:, 0] - values[:, 1] - values[:, -1]) / step**2
    narrow = curvature.clamp(min=1e-12).rsqrt()
    # The grid misses the width of a narrower peak, not the distance between peaks.
    std = torch.where(narrow < step, torch.maximum(narrow, spread), spread)
    undefined = folds == 0
    std = std.masked_fill(undefined, math.pi / math.sqrt(3))
    return angle.masked_fill(undefined, math.nan), std


def reliability(values: Tensor, folds: Tensor) -> Tensor:
    """By how much the angle explains a pattern better than the best other one, from 0 to 1.

    ``1 - Q2 / Q1``, as in orientation mapping (E. F. Rauch and M. Veron, Mater. Charact. 98, 2014),
    where Q is what the log-likelihood has over its mean over all angles.

    Parameters
    ----------
    values, folds
        As in `posterior`; what turns by ``2 pi / fold`` give is no other angle.

    Returns
    -------
    Tensor, shape (B,)
        1 where there is no other maximum above the mean, near 0 where another turn is nearly as
        good, 0 where the fold is 0.
    """
    around = torch.cat([values[:, -1:], values, values[:, :1]], dim=-1)
    maximum = (values >= around[:, :-2]) & (values >= around[:, 2:])
    distance = _to_nearest(values.shape[-1], values.dtype, values.device)
    others = values.masked_fill(~(maximum & (distance.abs() > SAME)[folds]), 0)
    reliable = 1 - others.amax(dim=-1) / values[:, 0].clamp(min=1e-9)
    return torch.where(folds == 0, torch.zeros_like(reliable), reliable.clamp(0, 1))


@lru_cache(maxsize=8)
def _to_nearest(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Signed distance of n equidistant angles from the nearest of a fold's equivalents of 0.

    For every number of folds from 0 on, (13, n), made once; 0 is taken for 1.
    """
    with torch.inference_mode(False):
        offset = torch.arange(n, dtype=dtype, device=device) * (2 * math.pi / n)
        every = torch.arange(max(FOLDS) + 1, dtype=dtype, device=device)
        period = 2 * math.pi / every.clamp(min=1)[:, None]
        return torch.remainder(offset + period / 2, period) - period / 2
