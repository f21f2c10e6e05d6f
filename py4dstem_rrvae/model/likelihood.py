# SPDX-License-Identifier: GPL-3.0-or-later
"""How probable patterns are as a function of their turn.

``x = turn(D, theta) + noise`` with D given by its angular harmonics, and noise of one variance a
ring. By Parseval's theorem the log-density is a trigonometric polynomial in theta (see `angle`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from . import angle


@dataclass(frozen=True, eq=False)
class Coverage:
    """What is seen of each bin, and which rings are seen all round.

    Attributes
    ----------
    weight : Tensor, shape (R, A)
        Share of each bin that the detector covers and a mask leaves.
    whole : Tensor, shape (R,)
        1 for rings of which every bin is seen as a whole, else 0.
    partial : Tensor of int64, shape (P,)
        The other rings.
    """

    weight: Tensor
    whole: Tensor
    partial: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Coverage:
        """Of the shares (R, A)."""
        whole = (weight >= 1).all(dim=-1)
        return cls(weight, whole.to(weight.dtype), torch.nonzero(~whole)[:, 0])


class _Products(torch.autograd.Function):
    """Over the rings, ``sum S conj(D)`` (..., M), and half the weighted squares of D (...).

    With the gradients g and h of the two, that of D is ``conj(g) S + h weight D``: a few passes
    over arrays as large as D, where autograd makes nine. S, the spectra (B, R, M) of patterns, gets
    none.
    """

    @staticmethod
    def forward(
        ctx: Any, spectrum: Tensor, harmonics: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Of real and imaginary parts alike; over flat rows, sums are three times as fast.
        both = weight[..., None].expand(-1, -1, 2).flatten()
        ctx.save_for_backward(spectrum, harmonics, both)
        squared = torch.view_as_real(harmonics).flatten(-3).square()
        return (spectrum * harmonics.conj()).sum(dim=-2), squared @ (0.5 * both)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_correlation: Tensor, of_squares: Tensor) -> tuple[None, Tensor, None]:
        spectrum, harmonics, both = ctx.saved_tensors
        gradient = spectrum * of_correlation.conj()[..., None, :]
        weighted = torch.view_as_real(harmonics).flatten(-3) * both
        torch.view_as_real(gradient).flatten(-3).addcmul_(weighted, of_squares[..., None])
        return None, gradient, None


def log_density(
    signal: Tensor, harmonics: Tensor, precision: Tensor, coverage: Coverage
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
    coverage
        What is seen of each bin.

    Returns
    -------
    constant : Tensor, shape (..., B)
    coefficients : complex Tensor, shape (..., B, K)
        Of f, in the sense of `angle`: the log-density is ``constant + f(theta)``.
    """
    k, scaled = harmonics.shape[-1], precision[:, None]
    share = scaled * coverage.weight if coverage.partial.numel() else scaled
    weighted = share * signal
    spectrum = torch.fft.rfft(weighted)[..., :k]
    constant = -0.5 * (weighted * signal).sum(dim=(1, 2))
    # In the sum over the bins an order above 0 stands for two.
    _, count = angle.orders(k, signal.dtype, signal.device)
    squares_of = scaled * coverage.whole[:, None] * count
    correlation, squares = _Products.apply(spectrum, harmonics, squares_of)  # type: ignore[no-untyped-call]
    correlation = correlation / math.sqrt(signal.shape[-1])  # orthonormal, at least cost
    if not coverage.partial.numel():
        return constant - squares, nn.functional.pad(correlation, (0, 1))
    partial = harmonics.index_select(-2, coverage.partial)
    energy = _energy_under_mask(
        scaled.index_select(0, coverage.partial).sqrt() * partial,
        coverage.weight.index_select(0, coverage.partial),
    )
    missing = energy.shape[-1] - k
    return constant - squares, nn.functional.pad(correlation, (0, missing)) - 0.5 * energy


def _energy_under_mask(harmonics: Tensor, weight: Tensor) -> Tensor:
    """Coefficients (..., B, A + 1) of ``sum_bins weight turn(D, theta)^2``."""
    # The square has twice the band of D, so it is taken on twice the grid.
    n = weight.shape[-1]
    decoded = torch.fft.irfft(harmonics, n=2 * n, norm="forward") / math.sqrt(n)
    squared = torch.fft.rfft(decoded.square(), norm="forward")
    window = torch.fft.fft(weight).repeat(1, 2)[:, : n + 1]
    coefficients: Tensor = (squared.conj() * window).sum(dim=-2)
    return coefficients


class _Turning(torch.autograd.Function):
    """Overlap (B,) of a change of D with ``i m D``, its change in a turn, and the latter's square.

    Sums over rings and orders m, with gradients in as few passes as in `_Products`.
    """

    @staticmethod
    def forward(
        ctx: Any, harmonics: Tensor, change: Tensor, order: Tensor
    ) -> tuple[Tensor, Tensor]:
        turn = harmonics * (1j * order)
        ctx.save_for_backward(turn, change, order)
        flat, other = (torch.view_as_real(of).flatten(1) for of in (turn, change))
        return (flat * other).sum(dim=1), flat.square().sum(dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_overlap: Tensor, of_square: Tensor) -> tuple[Tensor, Tensor, None]:
        turn, change, order = ctx.saved_tensors
        of_overlap = of_overlap[:, None, None]
        of_turn = (change * of_overlap).add_(turn * (2 * of_square[:, None, None]))
        return of_turn * (-1j * order), turn * of_overlap, None


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
    overlap, turning = _Turning.apply(harmonics, change, order)  # type: ignore[no-untyped-call]
    cost: Tensor = overlap.square() / (turning * variance).clamp(min=1e-12)
    return cost
