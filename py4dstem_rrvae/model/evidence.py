# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pattern itself says for its turn: gains in log-likelihood over explanations without one.

A decoder may have learned structure that some of its patterns lack. All tensors here are in units
of the noise: residuals and patterns (B, R, A), harmonics (B, R, M), weights (R, A).
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import angle

# A pattern is weak when it has less than this share of the angular energy of the strongest
# patterns of its scan (this quantile); from fewer weak ones, what they have in common is not known.
WEAK, STRONGEST, FEWEST = 0.1, 0.98, 8
# A turn has to explain this share of its gain that a fixed pattern does not explain as well.
SHARE = 0.5


def gain_by_order(residual: Tensor, harmonics: Tensor, theta: Tensor) -> Tensor:
    """What each order adds to the log-likelihood at the best turn, (B, M).

    Parameters
    ----------
    residual : Tensor, shape (B, R, A)
        Pattern less the model's, turned by theta.
    harmonics : complex Tensor, shape (B, R, M)
        Decoded pattern at turn zero.
    theta : Tensor, shape (B,)
    """
    spectrum = torch.fft.rfft(residual, norm="ortho")[..., : harmonics.shape[-1]]
    overlap = angle.shifted((spectrum * harmonics.conj()).sum(dim=-2), theta).real
    return 2 * overlap + angle.power(harmonics)


def kept_share(harmonics: Tensor, variance: Tensor, noise: Tensor, exponent: float = 1.0) -> Tensor:
    """Share (..., 1, M) of each decoded order that it keeps of its promise.

    Noise in high orders is worth little energy and yet turns the peak of the likelihood: at 200
    counts it made the angle of a one-fold pattern 1.4 times as uncertain as the Cramer-Rao bound.

    Parameters
    ----------
    harmonics : complex Tensor, shape (..., R, M)
    variance : Tensor, shape (R,)
        Of the noise of each ring.
    noise : Tensor, shape ()
        Nats of an order that are noise.
    exponent
        Of the share: 1 for patterns that are nearest to the true ones, 1/2 for patterns whose
        orders have the power of the true ones.
    """
    promised = angle.power(variance.rsqrt()[:, None] * harmonics)[..., None, :]
    share = (1 - noise / promised.clamp(min=1e-9)).clamp(min=0)
    share[..., 0] = 1
    return share**exponent


def undirected(over_round: Tensor, over_fixed: Tensor) -> Tensor:
    """Whether a pattern without a turn explains most of what the turn explains, (B,).

    Parameters
    ----------
    over_round, over_fixed : Tensor, shape (B,)
        From `gain_over_fixed`, over the background with the pattern's own rings, and over what is
        fixed to the detector.
    """
    return over_fixed < (SHARE * over_round).clamp(min=angle.EVIDENCE)


def gain_over_fixed(unfixed: Tensor, level: Tensor, weight: Tensor, squared: Tensor) -> Tensor:
    """Log-likelihood of the turned pattern over that of a fixed one of the same rings, (B,).

    Parameters
    ----------
    unfixed : Tensor, shape (B, R, A)
        Pattern less the background's rings and the angular structure that a fixed pattern has in
        place of the model's (`fixed_pattern`).
    level : Tensor, shape (B, R)
        Mean over the angle of what the model adds to the background.
    weight : Tensor, shape (R, A)
    squared : Tensor, shape (B,)
        Weighted squared residual of the model's pattern.
    """
    without = unfixed - level[..., None]
    return 0.5 * ((without.square() * weight).sum(dim=(1, 2)) - squared)


def fixed_pattern(background: Tensor, turned: Tensor) -> Tensor:
    """Angular structure of patterns without a turn, (R, A): of the background, or of a vacuum.

    A background that is learned from strong patterns of one orientation holds part of them, and the
    decoder has to take it away again where they are not. So what counts as fixed is what the weak
    patterns of a scan have in common; where those are turned at random, that is the background.
    Nobody can tell weak patterns of one orientation from what is fixed to the detector.

    Parameters
    ----------
    background : Tensor, shape (R, A)
    turned : Tensor, shape (n, R, A)
        Decoded patterns of the scan, turned, without the background.
    """
    background = angular(background)
    whole = angular(turned) + background
    alone, together = ((p.square().sum(dim=(1, 2))) for p in (whole - background, whole))
    energy = torch.minimum(alone, together)
    weak = energy < WEAK * torch.quantile(energy, STRONGEST)
    return whole[weak].mean(dim=0) if int(weak.sum()) >= FEWEST else background


def angular(patterns: Tensor) -> Tensor:
    """``patterns (..., A)`` less their mean over the angle."""
    return patterns - patterns.mean(dim=-1, keepdim=True)
