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
# patterns of its scan; fewer weak ones than this do not tell what they have in common.
WEAK, STRONGEST, FEWEST = 0.1, 0.98, 8


def gain_by_order(residual: Tensor, harmonics: Tensor, theta: Tensor, weight: Tensor) -> Tensor:
    """What each order adds to the log-likelihood at the best turn, (B, M).

    Parameters
    ----------
    residual : Tensor, shape (B, R, A)
        Pattern less the model's, turned by theta.
    harmonics : complex Tensor, shape (B, R, M)
        Decoded pattern at turn zero.
    theta : Tensor, shape (B,)
    weight : Tensor, shape (R, A)
        Share that the mask leaves of each bin. Products of two orders under it are left out.
    """
    spectrum = torch.fft.rfft(weight * residual, norm="ortho")[..., : harmonics.shape[-1]]
    overlap = angle.shifted((spectrum * harmonics.conj()).sum(dim=-2), theta).real
    power = harmonics.real.square() + harmonics.imag.square()
    return 2 * overlap + (weight.mean(dim=-1, keepdim=True) * power).sum(dim=-2)


def gain_over_fixed(residual: Tensor, fitted: Tensor, fixed: Tensor, weight: Tensor) -> Tensor:
    """Log-likelihood of the turned pattern over that of a fixed one, (B,).

    Parameters
    ----------
    residual : Tensor, shape (B, R, A)
        Pattern less the model's.
    fitted : Tensor, shape (B, R, A)
        Decoded and turned pattern, background apart.
    fixed : Tensor, shape (R, A)
        What takes the place of `fitted`, apart from its mean over the angle.
    weight : Tensor, shape (R, A)
    """
    extra = fitted - fitted.mean(dim=-1, keepdim=True) - fixed
    return (weight * (residual + 0.5 * extra) * extra).sum(dim=(1, 2))


def fixed_pattern(fitted: Tensor, energy: Tensor) -> Tensor:
    """What the weak patterns of a scan have in common on the detector, (R, A).

    Where they are turned at random that is nothing. Where they are not, nobody can tell a pattern
    of one orientation from what is fixed to the detector, such as a background that was learned
    from stronger patterns too and that the decoder has to take away again.

    Parameters
    ----------
    fitted : Tensor, shape (n, R, A)
        Decoded and turned patterns of the scan, in any units.
    energy : Tensor, shape (n,)
        Their angular energy in units of the noise.
    """
    weak = energy < WEAK * torch.quantile(energy, STRONGEST)
    if int(weak.sum()) < FEWEST:
        return torch.zeros_like(fitted[0])
    common = fitted[weak].mean(dim=0)
    return common - common.mean(dim=-1, keepdim=True)
