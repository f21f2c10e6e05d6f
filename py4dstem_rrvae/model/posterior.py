# SPDX-License-Identifier: GPL-3.0-or-later
"""How a pattern is turned, with the noise that each bin has by counting.

Training gives all bins of a ring one variance. Here a bin's variance follows its own expected
value: few counts lie in the dark parts of a ring, and say the more.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# A bin is expected to hold at least this share of its ring's mean. Decoders overshoot below zero.
DARKEST = 0.05
# Points per bin at which logarithms of decoded patterns are taken.
FINER = 2


def log_density(
    x: Tensor, background: Tensor, harmonics: Tensor, share: Tensor, level: Tensor, partial: Tensor
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
    share : Tensor, shape (R, A)
        Share that is seen of each bin, times level, over the variance of a bin of that level.
    level : Tensor, shape (R, 1)
        Mean of each ring.
    partial : Tensor of int64
        As of `likelihood.partly_seen`.
    """
    n = x.shape[-1]
    around = background.mean(dim=-1, keepdim=True)
    # A logarithm has higher orders than its argument; on the bins alone they would pass for lower
    # ones, and break the symmetry of the pattern.
    fine = FINER * n
    decoded = torch.fft.irfft(harmonics, n=fine, norm="forward") / n**0.5 + around
    of_log = torch.fft.rfft(torch.maximum(decoded, DARKEST * level).log_()) / FINER
    seen = torch.fft.rfft(share * (x - (background - around)))
    k = harmonics.shape[-1]
    correlation = (seen[..., :k] * of_log[..., :k].conj()).sum(dim=-2) / n
    if partial.numel():
        partly = torch.fft.rfft(share)[partial, :k] / n**0.5
        correlation = correlation - (harmonics[:, partial].conj() * partly).sum(dim=-2)
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
