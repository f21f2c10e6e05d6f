# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn and latents of patterns under a decoder, with the noise that each bin has by counting.

Training gives all bins of a ring one variance. Here a bin's variance follows its own expected
value: few counts lie in the dark parts of a ring, and say the more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import angle
from .likelihood import Coverage

# A bin is expected to hold at least this share of its ring's mean. Decoders overshoot below zero.
DARKEST = 0.05
# Longest step of a latent at once, in units of its prior.
LONGEST_STEP = 1.0


@dataclass(frozen=True, eq=False)
class Counting:
    """Noise of scaled bins.

    Attributes
    ----------
    variance : Tensor, shape (R,)
        Of a bin that is as bright as the mean of its ring.
    level : Tensor, shape (R, 1), or None
        That mean; None where all bins of a ring have one variance.
    """

    variance: Tensor
    level: Tensor | None

    def expected(self, pattern: Tensor) -> Tensor:
        """``pattern (..., R, A)`` where it is bright enough to be counted."""
        return pattern if self.level is None else torch.maximum(pattern, DARKEST * self.level)

    def precision(self, pattern: Tensor) -> Tensor:
        """One over the variance of each bin (..., R, A) of an expected pattern."""
        if self.level is None:
            return (1 / self.variance)[:, None].expand_as(pattern)
        return self.level / self.variance[:, None] / self.expected(pattern)


def log_density(
    x: Tensor, background: Tensor, harmonics: Tensor, counting: Counting, coverage: Coverage
) -> Tensor:
    """Log-likelihood of counts as a function of the turn, coefficients (B, M + 1).

    Of a Poisson variable n and its mean m, ``n log m - m``, over the excess of the variance over
    the mean. What is fixed to the detector beyond its rings' means is taken off the counts.

    Parameters
    ----------
    x : Tensor, shape (B, R, A)
        Scaled patterns.
    background : Tensor, shape (R, A)
    harmonics : complex Tensor, shape (B, R, M)
        Decoded patterns at turn zero.
    counting
        Of the bins, with their level.
    coverage
        What is seen of each bin.
    """
    assert counting.level is not None
    n = x.shape[-1]
    around = background.mean(dim=-1, keepdim=True)
    share = coverage.weight * counting.level / counting.variance[:, None]
    decoded = torch.fft.irfft(harmonics, n=n, norm="ortho") + around
    of_log = torch.fft.rfft(counting.expected(decoded).log_())
    seen = torch.fft.rfft(share * (x - (background - around)))
    k = harmonics.shape[-1]
    correlation = (seen[..., :k] * of_log[..., :k].conj()).sum(dim=-2) / n
    if coverage.partial.numel():
        partly = torch.fft.rfft(share)[coverage.partial, :k] / n**0.5
        correlation = correlation - (harmonics[:, coverage.partial].conj() * partly).sum(dim=-2)
    return torch.nn.functional.pad(correlation, (0, 1))


@dataclass(frozen=True, eq=False)
class Step:
    """A step from latents and turns to more probable ones.

    Attributes
    ----------
    z : Tensor, shape (B, d)
        By how much each latent moves.
    theta : Tensor, shape (B,)
        By how much the turn moves.
    z_std : Tensor, shape (B, d)
        How far noise moves the latents that are arrived at.
    """

    z: Tensor
    theta: Tensor
    z_std: Tensor


def step(
    x: Tensor,
    background: Tensor,
    fields: Tensor,
    z: Tensor,
    counting: Counting,
    weight: Tensor,
) -> Step:
    """Fisher scoring of latents and turn together, with z ~ N(0, 1) beforehand.

    Parameters
    ----------
    x, background, counting
        As in `log_density`.
    fields : Tensor, shape (B, d + 2, R, A)
        The turned decoded pattern, its change with each latent, and with the turn.
    z : Tensor, shape (B, d)
        Latents that it was decoded from.
    weight : Tensor, shape (R, A)
        What is seen of each bin.
    """
    pattern = background + fields[:, 0]
    residual = x - pattern
    weighted = weight * counting.precision(pattern)
    slopes = fields[:, 1:].flatten(2)
    information = (slopes * weighted.flatten(1)[:, None]) @ slopes.transpose(1, 2)
    score = (slopes @ (weighted * residual).flatten(1)[..., None])[..., 0]
    d = z.shape[1]
    prior = torch.zeros_like(score)
    prior[:, :d] = 1
    # A pattern without direction has no information on its turn.
    prior[:, d] = 1e-3 * information[:, d, d] + 1e-6
    inverse = torch.linalg.inv(information + torch.diag_embed(prior))
    score[:, :d] -= z
    moved = (inverse @ score[..., None])[..., 0]
    z_step = moved[:, :d].clamp(-LONGEST_STEP, LONGEST_STEP)
    spread = (inverse @ information @ inverse).diagonal(dim1=1, dim2=2)[:, :d]
    return Step(z_step, moved[:, d], spread.clamp(min=1e-12).sqrt())


@dataclass(frozen=True, eq=False)
class Fit:
    """Most probable latents and turns of B patterns.

    Attributes
    ----------
    z, z_std : Tensor, shape (B, d)
        Latents, and how far noise moves them.
    harmonics : complex Tensor, shape (B, R, M)
        Decoded patterns at turn zero, of the more probable hand.
    theta : Tensor, shape (B,)
        Turns.
    turned : complex Tensor, shape (B, K)
        Log-likelihood of the turn, coefficients in the sense of `angle`.
    residual : Tensor, shape (B, R, A)
        What is left of the patterns.
    squared : Tensor, shape (B, R)
        Its weighted squares, those of a bin over its variance relative to that of its ring.
    handedness : Tensor, shape (B,), or None
        As of `Inference`.
    """

    z: Tensor
    z_std: Tensor
    harmonics: Tensor
    theta: Tensor
    turned: Tensor
    residual: Tensor
    squared: Tensor
    handedness: Tensor | None


def turned_fields(harmonics: Tensor, slopes: Tensor, theta: Tensor, n_angular: int) -> Tensor:
    """What `step` wants, (B, d + 2, R, A), of decoded patterns turned by theta (B,).

    Parameters
    ----------
    harmonics : complex Tensor, shape (B, R, M)
        At turn zero.
    slopes : complex Tensor, shape (B, d, R, M)
        Their change with each latent.
    theta : Tensor, shape (B,)
    n_angular : int
        Angular bins A.
    """
    order, _ = angle.orders(harmonics.shape[-1], theta.dtype, theta.device)
    every = torch.cat([harmonics[:, None], slopes, harmonics[:, None] * (-1j * order)], dim=1)
    turned = angle.shifted(every, -theta[:, None, None])
    fields: Tensor = torch.fft.irfft(turned, n=n_angular, norm="ortho")
    return fields
