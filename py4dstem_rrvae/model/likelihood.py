# SPDX-License-Identifier: GPL-3.0-or-later
"""How probable patterns are as a function of their turn.

``x = turn(D, theta) + noise`` with D given by its angular harmonics, and noise of one variance a
ring. By Parseval's theorem the log-density is a trigonometric polynomial in theta (see `angle`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from . import angle


def partly_seen(weight: Tensor) -> Tensor:
    """Rings (P,) of which a bin is not seen as a whole, by the shares (R, A) that are seen."""
    return torch.nonzero((weight < 1).any(dim=-1))[:, 0]


def log_density(
    signal: Tensor, harmonics: Tensor, precision: Tensor, weight: Tensor, partial: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted squared residual of turned patterns, times -1/2, as a function of their turn.

    Dimensions of `harmonics` in front of the batch, where there are any, come first in both.

    Parameters
    ----------
    signal : Tensor, shape (B, R, A)
        Patterns less the background.
    harmonics : complex Tensor, shape (..., B, R, M)
        D at turn zero.
    precision : Tensor, shape (R,)
        One over the noise variance of each ring.
    weight : Tensor, shape (R, A)
        Share that is seen of each bin.
    partial : Tensor of int64
        The rings that are `partly_seen`.

    Returns
    -------
    constant : Tensor, shape (..., B)
    coefficients : complex Tensor, shape (..., B, K)
        Of f, in the sense of `angle`: the log-density is ``constant + f(theta)``.
    """
    k, scaled = harmonics.shape[-1], precision[:, None]
    weighted = scaled * weight * signal
    spectrum = torch.fft.rfft(weighted)[..., :k]
    constant = -0.5 * (weighted * signal).sum(dim=(1, 2))
    # In the sum over the bins an order above 0 stands for two.
    _, count = angle.orders(k, signal.dtype, signal.device)
    squares_of = 0.5 * scaled.index_fill(0, partial, 0) * count
    # Of real and imaginary parts alike; over flat rows, sums are three times as fast.
    both = squares_of[..., None].expand(-1, -1, 2).flatten()
    squares = torch.view_as_real(harmonics).flatten(-3).square() @ both
    correlation = (spectrum * harmonics.conj()).sum(dim=-2)
    correlation = correlation / math.sqrt(signal.shape[-1])  # orthonormal, at least cost
    if not partial.numel():
        return constant - squares, nn.functional.pad(correlation, (0, 1))
    part = scaled.index_select(0, partial).sqrt() * harmonics.index_select(-2, partial)
    energy = _energy_under_mask(part, weight.index_select(0, partial))
    missing = energy.shape[-1] - k
    return constant - squares, nn.functional.pad(correlation, (0, missing)) - 0.5 * energy


def _energy_under_mask(harmonics: Tensor, weight: Tensor) -> Tensor:
    """Coefficients (..., B, A + 1) of ``sum_bins weight turn(D, theta)^2``."""
    # The square has twice the band of D, so it is taken on twice the grid.
    n = weight.shape[-1]
    decoded = torch.fft.irfft(harmonics, n=2 * n, norm="forward") / math.sqrt(n)
    squared = torch.fft.rfft(decoded.square(), norm="forward")
    window = torch.fft.fft(weight).repeat(1, 2)[:, : n + 1]
    return (squared.conj() * window).sum(dim=-2)


def drift(harmonics: Tensor, change: Tensor, variance: Tensor) -> Tensor:
    """Cost (B,) in nats of a decoder that turns its pattern as z moves.

    The likelihood does not care (the angle undoes it), so this costs it nothing; without it the
    zero of the angle wanders with z, by up to twice the Cramer-Rao bound at 5,000 counts.

    Parameters
    ----------
    harmonics, change : complex Tensor, shape (B, R, M)
        Decoded at z, and their change per unit of z.
    variance : Tensor, shape ()
        Of the noise.
    """
    order, _ = angle.orders(harmonics.shape[-1], variance.dtype, variance.device)
    turn, other = (torch.view_as_real(c).flatten(1) for c in (1j * order * harmonics, change))
    overlap, turning = (turn * other).sum(dim=1), turn.square().sum(dim=1)
    return overlap.square() / (turning * variance).clamp(min=1e-12)
