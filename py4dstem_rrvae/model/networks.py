# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoders and decoders, of polar patterns and of pixels."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

# Sectors of the circle that an encoder looks at, each of neighbouring angular bins.
SECTORS = 16


@lru_cache(maxsize=64)
def _join(bins: int, first: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix (A, 16) to the mean of each sector's bins, the first of which is `first`."""
    with torch.inference_mode(False):  # training may use it later
        sectors = torch.eye(SECTORS, dtype=dtype, device=device) * (SECTORS / bins)
        return sectors.repeat_interleave(bins // SECTORS, dim=0).roll(first, dims=0)


@lru_cache(maxsize=8)
def _around(device: torch.device) -> Tensor:
    """Indices (48,) of each sector's neighbour before it, itself, and the neighbour after it."""
    with torch.inference_mode(False):
        sectors = torch.arange(SECTORS, device=device)
        return torch.stack([sectors - 1, sectors, sectors + 1], dim=-1).flatten() % SECTORS


def mirror_image(polar: Tensor) -> Tensor:
    """``polar (..., A)`` mirrored about the row axis: reversed about bin 0."""
    return polar.flip(-1).roll(1, -1)


class AngularFeatures(nn.Module):
    """Two circular convolutions along the angle, with the radii as channels.

    Angular bins are joined to 16 sectors, each the mean of its bins: (B, R, A) to (B, 16, C). On so
    few sectors a convolution is fastest as a matrix product of each sector with its two neighbours.

    Parameters
    ----------
    n_radial
        Radial bins R, the input channels.
    channels
        Output channels C of both.
    """

    def __init__(self, n_radial: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Linear(3 * n_radial, channels)
        self.second = nn.Linear(3 * channels, channels)

    def forward(self, polar: Tensor, first_bin: int = 0) -> Tensor:
        """Features (B, 16, C) of ``polar (B, R, A)``, whose bins are joined from `first_bin` on."""
        join = _join(polar.shape[-1], first_bin, polar.dtype, polar.device)
        features = (polar @ join).transpose(1, 2)
        for layer in (self.first, self.second):
            around = features.index_select(1, _around(polar.device)).unflatten(1, (SECTORS, 3))
            features = nn.functional.silu(layer(around.flatten(2)))
        return features


class PolarEncoder(nn.Module):
    """Mean and log-variance of the latents, invariant to shifts of the pattern along the angle.

    Circular convolutions along the angle, with the radii as channels, commute with shifts; the mean
    and the maximum over the angle then forget them. The sums over the rings go past them: a weak
    ring whose bins hold less than a count each says little in a bin, and much as a sum. With bins
    joined to 16 that is exact for 16 turns. In training the joins begin at another bin from step to
    step, so that turns in between are no news either: without that, 12-fold patterns trained in two
    directions move in the others by 10 times their noise, with it by less than once, as with
    convolutions of all 64 bins.

    Parameters
    ----------
    n_radial
        Radial bins R, the input channels.
    latent_dim
        Number of latents d.
    channels
        Width of the hidden layers.
    """

    def __init__(
        self, n_radial: int, latent_dim: int, both_hands: bool, channels: int = 32
    ) -> None:
        super().__init__()
        self.both_hands, self.features = both_hands, AngularFeatures(n_radial, channels)
        self.hidden = nn.Sequential(nn.Linear(2 * channels + n_radial, 2 * channels), nn.SiLU())
        self.output = nn.Linear(2 * channels, 2 * latent_dim)
        self._first_bin = 0

    def forward(self, polar: Tensor) -> tuple[Tensor, Tensor]:
        """``polar (B, R, A)`` to mean and log-variance, each (B, d)."""
        return self.output(self.summary(polar)).chunk(2, dim=-1)

    def summary(self, polar: Tensor) -> Tensor:
        """What `output` is linear in, (B, 2 channels)."""
        if self.training:
            self._first_bin = (self._first_bin + 1) % (polar.shape[-1] // SECTORS)
        first_bin = self._first_bin if self.training else 0
        features = self.features(polar, first_bin)
        if self.both_hands:
            features = torch.cat([features, self.features(mirror_image(polar), first_bin)], dim=1)
        sums = polar.sum(dim=-1) * polar.shape[-1] ** -0.5
        pooled = torch.cat([features.mean(dim=1), features.amax(dim=1), sums], dim=-1)
        return self.hidden(pooled)


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

    def __init__(self, latent_dim: int, n_radial: int, max_order: int, hidden: int = 64) -> None:
        super().__init__()
        self.shape = (n_radial, max_order + 1, 2)
        self.input = nn.Linear(latent_dim, hidden)
        self.layers = nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.output = nn.Linear(hidden, math.prod(self.shape))
        # Order 0 of a real pattern is real. No gradient ever reaches these parameters.
        with torch.no_grad():
            self.output.weight.view(*self.shape, hidden)[:, 0, 1] = 0
            self.output.bias.view(self.shape)[:, 0, 1] = 0

    def forward(self, z: Tensor, scale: Tensor) -> Tensor:
        """``z (B, d)`` to complex (B, R, M), orthonormal, times the scale ()."""
        return self._harmonics(scale * self.layers(self.input(z)), scale * self.output.bias)

    def with_change(self, z: Tensor, step: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and its change, complex (B, R, M), as z moves by ``step (B, d)``."""
        here, there = (scale * self.layers(self.input(torch.cat([z, z + step])))).chunk(2)
        change = self._harmonics(there - here, None)
        return self._harmonics(here, scale * self.output.bias), change

    def _harmonics(self, features: Tensor, bias: Tensor | None) -> Tensor:
        parts = nn.functional.linear(features, self.output.weight, bias)
        return torch.view_as_complex(parts.unflatten(-1, self.shape))


class CoordinateEncoder(nn.Module):
    """Mean and log standard deviation of the turn and the latents, from all pixels at once.

    Nothing in it knows of turns: that a turned pattern gets the same latents is left to training.

    Parameters
    ----------
    n_pixels
        Pixels of a pattern.
    latent_dim
        Number of latents d.
    hidden
        Width of the two hidden layers.
    """

    def __init__(self, n_pixels: int, latent_dim: int, hidden: int = 128) -> None:
        super().__init__()
        first, second = nn.Linear(n_pixels, hidden), nn.Linear(hidden, hidden)
        self.layers = nn.Sequential(first, nn.Tanh(), second, nn.Tanh())
        self.mean = nn.Linear(hidden, 1 + latent_dim)
        self.log_std = nn.Linear(hidden, 1 + latent_dim)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """``pixels (B, P)`` to mean and log standard deviation, each (B, 1 + d), the turn first."""
        features = self.layers(pixels)
        return self.mean(features), self.log_std(features)


class CoordinateDecoder(nn.Module):
    """Intensity at a point of the pattern that a latent stands for.

    A turned pattern is this one read at points turned back.

    Parameters
    ----------
    latent_dim
        Number of latents d.
    hidden
        Width of the three hidden layers.
    """

    def __init__(self, latent_dim: int, hidden: int = 128) -> None:
        super().__init__()
        self.position = nn.Linear(2, hidden)
        self.latent = nn.Linear(latent_dim, hidden, bias=False)
        first, second, last = (nn.Linear(hidden, n) for n in (hidden, hidden, 1))
        self.layers = nn.Sequential(nn.Tanh(), first, nn.Tanh(), second, nn.Tanh(), last)

    def forward(self, points: Tensor, z: Tensor) -> Tensor:
        """Intensities (B, P) at ``points (B, P, 2)`` of latents ``z (B, d)``."""
        intensity: Tensor = self.layers(self.position(points) + self.latent(z)[:, None])
        return intensity[..., 0]
