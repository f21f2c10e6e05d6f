# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks on polar patterns: an encoder that turns leave alone, and a decoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class AngularConvolution(nn.Conv2d):
    """Circular convolution along the angle, (B, C, 1, A) to (B, C', 1, A / stride).

    As an image of one row with the channels last in memory it takes half the time of a `Conv1d`
    with circular padding: 0.9 against 1.8 ms, forward and backward, 64 x 32 x 64 on one core.
    """

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels, (1, kernel), (1, stride))

    def forward(self, polar: Tensor) -> Tensor:
        """``polar (B, C, 1, A)``, its angle closed to a circle."""
        pad = self.kernel_size[1] // 2
        closed = torch.cat([polar[..., -pad:], polar, polar[..., :pad]], dim=-1)
        features: Tensor = super().forward(closed)
        return features


class AngularFeatures(nn.Sequential):
    """Two circular convolutions along the angle, with the radii as channels.

    The second keeps every other position: (B, R, A) to (B, C, A / 2).
    """

    def __init__(self, n_radial: int, channels: int, kernel: int) -> None:
        super().__init__(
            AngularConvolution(n_radial, channels, kernel),
            nn.GELU(),
            AngularConvolution(channels, channels, kernel, stride=2),
            nn.GELU(),
        )

    def forward(self, polar: Tensor) -> Tensor:
        """Features (B, C, A / 2) of ``polar (B, R, A)``."""
        image = polar[:, :, None].contiguous(memory_format=torch.channels_last)
        for layer in self:
            image = layer(image)
        return image.squeeze(2)


class PolarEncoder(nn.Module):
    """Mean and log-variance of the latents, invariant to shifts of the pattern along the angle.

    Circular convolutions along the angle, with the radii as channels, commute with shifts; the mean
    and the maximum over the angle then forget them. The second convolution keeps every other
    position, so the invariance is exact for shifts by two bins and close in between.

    Parameters
    ----------
    n_radial
        Radial bins R, the input channels.
    latent_dim
        Number of latents d.
    channels
        Width of the hidden layers.
    kernel
        Angular bins a convolution sees.
    """

    def __init__(self, n_radial: int, latent_dim: int, channels: int = 32, kernel: int = 5) -> None:
        super().__init__()
        self.features: nn.Module = AngularFeatures(n_radial, channels, kernel)
        self.hidden = nn.Sequential(nn.Linear(2 * channels, 2 * channels), nn.GELU())
        self.output = nn.Linear(2 * channels, 2 * latent_dim)

    def forward(self, polar: Tensor) -> tuple[Tensor, Tensor]:
        """``polar (B, R, A)`` to mean and log-variance, each (B, d)."""
        features = self.features(polar)
        pooled = torch.cat([features.mean(dim=-1), features.amax(dim=-1)], dim=-1)
        mean, log_variance = self.output(self.hidden(pooled)).chunk(2, dim=-1)
        return mean, log_variance


class PolarDecoder(nn.Module):
    """Angular harmonics of the pattern that a latent stands for, at turn zero.

    Harmonics rather than bins, so that a turn by any angle is a phase and the pattern stays
    band-limited: the likelihood between two bins is then the true one.

    Parameters
    ----------
    latent_dim
        Number of latents d.
    n_radial
        Radial bins R.
    max_order
        Highest harmonic; M = max_order + 1 with order 0.
    hidden
        Width of the two hidden layers.
    """

    real: Tensor

    def __init__(self, latent_dim: int, n_radial: int, max_order: int, hidden: int = 64) -> None:
        super().__init__()
        self.shape = (n_radial, max_order + 1, 2)
        self.input = nn.Linear(latent_dim, hidden)
        self.layers = nn.Sequential(
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, math.prod(self.shape)),
        )
        # Order 0 of a real pattern is real.
        real = torch.ones(self.shape)
        real[:, 0, 1] = 0
        self.register_buffer("real", real.flatten(), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """``z (B, d)`` to complex (B, R, M), orthonormal."""
        parts = self.layers(self.input(z)) * self.real
        return torch.view_as_complex(parts.unflatten(-1, self.shape))
