# SPDX-License-Identifier: GPL-3.0-or-later
"""How a pattern is turned, with the noise that each bin has by counting.

Training gives all bins of a ring one variance. Here a bin's variance follows its own expected
value: few counts lie in the dark parts of a ring, and say the more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .likelihood import Coverage

# A bin is expected to hold at least this share of its ring's mean. Decoders overshoot below zero.
DARKEST = 0.05
# Points per bin at which logarithms of decoded patterns are taken.
FINER = 2


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

    def relative(self, pattern: Tensor) -> Tensor:
        """Variance of each bin (..., R, A) of an expected pattern, over that of its ring."""
        if self.level is None:
            return torch.ones_like(pattern)
        return (self.expected(pattern) / self.level).clamp(max=1 / DARKEST)


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
    # A logarithm has higher orders than its argument; on the bins alone they would pass for lower
    # ones, and break the symmetry of the pattern.
    fine = FINER * n
    decoded = torch.fft.irfft(harmonics, n=fine, norm="forward") / n**0.5 + around
    of_log = torch.fft.rfft(counting.expected(decoded).log_()) / FINER
    seen = torch.fft.rfft(share * (x - (background - around)))
    k = harmonics.shape[-1]
    correlation = (seen[..., :k] * of_log[..., :k].conj()).sum(dim=-2) / n
    if coverage.partial.numel():
        partly = torch.fft.rfft(share)[coverage.partial, :k] / n**0.5
        correlation = correlation - (harmonics[:, coverage.partial].conj() * partly).sum(dim=-2)
    return torch.nn.functional.pad(correlation, (0, 1))


@dataclass(frozen=True, eq=False)
class Fit:
    """Most probable latents and turns of B patterns.

    Attributes
    ----------
    z, log_variance : Tensor, shape (B, d)
        Mean and log-variance of the approximate posterior of the latents.
    harmonics : complex Tensor, shape (B, R, M)
        Decoded patterns at turn zero, of the more probable hand.
    theta : Tensor, shape (B,)
        Turns.
    turned : complex Tensor, shape (B, K)
        Log-likelihood of the turn, coefficients in the sense of `angle`.
    residual : Tensor, shape (B, R, A)
        What is left of the patterns.
    squared : Tensor, shape (B, R)
        Its weighted squares.
    handedness : Tensor, shape (B,), or None
        As of `Inference`.
    """

    z: Tensor
    log_variance: Tensor
    harmonics: Tensor
    theta: Tensor
    turned: Tensor
    residual: Tensor
    squared: Tensor
    handedness: Tensor | None
