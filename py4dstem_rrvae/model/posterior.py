# SPDX-License-Identifier: GPL-3.0-or-later
"""How a pattern is turned, with the noise that each bin has by counting.

Training gives all bins of a ring one variance. Here a bin's variance follows its own expected
value: few counts lie in the dark parts of a ring, and say the more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .likelihood import Coverage

# A bin is expected to hold at least this share of its ring's mean. Decoders overshoot below zero.
DARKEST = 0.05
# Points per bin at which logarithms of decoded patterns are taken.
FINER = 2


@dataclass(frozen=True, eq=False)
class Counting:
    """Noise of scaled bins."""

    variance: Tensor  # of a bin that is as bright as the mean of its ring, (R,)
    level: Tensor | None  # that mean (R, 1); None where all bins of a ring have one variance

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


class Fit(NamedTuple):
    """Most probable latents and turns of B patterns."""

    z: Tensor  # (B, d)
    log_variance: Tensor  # of z, (B, d)
    harmonics: Tensor  # of the decoded patterns at turn zero, of the more probable hand, (B, R, M)
    theta: Tensor  # turns (B,)
    turned: Tensor  # log-likelihood of the turn, coefficients (B, K) in the sense of `angle`
    residual: Tensor  # what is left of the patterns, (B, R, A)
    squared: Tensor  # its weighted squares (B, R)
    handedness: Tensor | None  # as of `Inference`, (B,)
