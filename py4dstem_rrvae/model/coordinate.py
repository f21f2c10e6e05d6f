# SPDX-License-Identifier: GPL-3.0-or-later
"""The published model: an encoder that guesses the turn, a decoder that is asked pixel by pixel.

A stabilised pattern is ``x = background + D(R(-theta) q, z) + noise`` on square pixels at q, with
z ~ N(0, I) and noise of one variance. The encoder gives a Gaussian of theta, never wrapped while it
is trained; its mean costs nothing, its width is drawn towards that of the prior. After the rrVAE of
Oxley et al., npj Comput. Mater. 7 (2021), as released with AtomAI.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from . import angle, evidence
from .base import NOISE_MOMENTUM, Background, LatentModel, kl_divergence
from .inference import Inference
from .networks import CoordinateDecoder, CoordinateEncoder

NoiseKind = Literal["learned", "unit"]

# Patterns decoded at once where nothing is trained: their hidden layers take 150 MB at 48 x 48.
CHUNK = 64
# Patterns, and M steps, for the background of another scan.
ADOPTION_PATTERNS, ADOPTION_STEPS = 512, 5
# Rings and angles at which decoded patterns are looked at for their symmetry.
RINGS, ANGLES = 12, 48

# Share of the angular energy that has to break a symmetry: the decoder does not know of turns, and
# no pattern that it has learned is quite symmetric.
IMPERFECT = 0.01


class CoordinateRRVAE(LatentModel):
    """Encoder, coordinate decoder, detector-fixed background and noise.

    Parameters
    ----------
    latent_dim, weight, dof
        As of `LatentModel`, for pixels ``(n, n)``.
    angle_prior
        Width of the turn's Gaussian prior, radians.
    noise
        "learned", or "unit": in training, the standard deviation of the noise is the whole range
        of the data.
    """

    offset: Tensor

    def __init__(
        self, latent_dim: int, weight: Tensor, dof: Tensor, angle_prior: float, noise: NoiseKind
    ) -> None:
        super().__init__(latent_dim, weight, dof, torch.ones(()))
        self.angle_prior, self.noise, self.noise_dim = angle_prior, noise, 1 + latent_dim
        self.encoder: CoordinateEncoder = CoordinateEncoder(weight.numel(), latent_dim)
        self.decoder: CoordinateDecoder = CoordinateDecoder(latent_dim)
        self.background = nn.Parameter(torch.zeros(weight.shape))
        self.register_buffer("offset", torch.zeros(()))

    @property
    def points(self) -> Tensor:
        """Pixels (n * n, 2), row and column from -1 to 1 at the middles of the outermost."""
        side = torch.linspace(-1, 1, len(self.weight), device=self.weight.device)
        return torch.cartesian_prod(side, side)

    @torch.no_grad()
    def initialise(self, patterns: Tensor, background: Background) -> None:
        """Start background, scale and noise from ``patterns (n, H, W)``.

        The background as in `PolarRRVAE.initialise`. With learned noise the networks see the
        signal over its root mean square, and the noise starts at its size; with unit noise they
        see the range of the signal as 0 to 1.
        """
        self._start_background(patterns, background)
        self.background.requires_grad_(background == "auto")
        signal = (patterns - self.background)[:, self.weight > 0]
        if self.noise == "unit":
            self.offset.copy_(signal.min())
            self.scale.copy_((signal.max() - signal.min()).clamp(min=1e-12))
        else:
            self.scale.copy_(signal.square().mean().sqrt().clamp(min=1e-12))
        self.noise_variance.copy_(self.scale.square())

    @torch.no_grad()
    def adopt_scan(self, patterns: Tensor, background: Background) -> None:
        """Estimate background and noise anew from another scan's ``patterns (n, H, W)``."""
        self._start_background(patterns, background)
        mean, some = self.background.clone(), patterns[:ADOPTION_PATTERNS]
        for _ in range(ADOPTION_STEPS if background == "auto" else 0):
            self.background.copy_(mean - self._explained(some).mean(dim=0))
        self.measure_noise(some)

    def _start_background(self, patterns: Tensor, start: Background) -> None:
        mean = patterns.mean(dim=0)
        if start is None:
            mean = torch.zeros_like(mean)
        elif start == "radial":
            mean = self._ring_mean(mean)
        self.background.copy_(mean)

    def _ring_mean(self, pattern: Tensor) -> Tensor:
        """Pattern (n, n) with each pixel the mean of its ring, one pixel wide."""
        pitch = 2 / (len(self.weight) - 1)
        ring = (self.points.norm(dim=-1) / pitch).round().long()
        weight = self.weight.flatten()
        total = torch.bincount(ring, weights=weight * pattern.flatten())
        return (total / torch.bincount(ring, weights=weight).clamp(min=1e-9))[ring].view_as(pattern)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance of z, each (B, d), from ``x (B, n, n)``."""
        mean, log_std = self._posterior(x)
        return mean[:, 1:], 2 * log_std[:, 1:]

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the turn and of z, each (B, 1 + d)."""
        signal = (x - self.background - self.offset) / self.scale
        mean, log_std = self.encoder((signal * self.weight.ceil()).flatten(1))
        kept = nn.functional.pad(self.kept, (1, 0), value=1.0)
        return mean * kept, log_std * kept

    def decode(self, z: Tensor, theta: Tensor) -> Tensor:
        """Patterns (B, n, n), background apart, of latents (B, d) at the turns theta (B,)."""
        decoded: Tensor = self.decoder(turned_back(self.points, theta), z)
        return self.scale * decoded.unflatten(-1, self.weight.shape) + self.offset

    def expected(self, z: Tensor, theta: Tensor, mirrored: Tensor | None = None) -> Tensor:  # noqa: ARG002, it knows no mirror
        """Stabilised patterns (B, n, n) of latents (B, d) at the turns theta (B,)."""
        parts = zip(z.split(CHUNK), theta.split(CHUNK), strict=True)
        return self.background + torch.cat([self.decode(*part) for part in parts])

    def _explained(self, x: Tensor) -> Tensor:
        """Decoded patterns of ``x (B, n, n)`` at their turns, background apart."""
        mean, _ = self._posterior(x)
        return self.expected(mean[:, 1:], mean[:, 0]) - self.background

    def squared_residual(self, x: Tensor, explained: Tensor) -> Tensor:
        """Weighted squared residual (B,)."""
        return (self.weight * (x - self.background - explained).square()).sum(dim=(1, 2))

    def elbo_terms(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihood (B,) at one sample of turn and z, and KL divergence per latent (B, d).

        ``noise (B, 1 + d)`` is the standard normal sample, that of the turn first. What the turn's
        posterior costs is taken off the log-likelihood.
        """
        mean, log_std = self._posterior(x)
        log_likelihood = self.log_likelihood(x, mean + log_std.exp() * noise)
        log_width = log_std[:, 0] - math.log(self.angle_prior)
        turn_cost = 0.5 * (2 * log_width).exp() - log_width - 0.5
        return log_likelihood - turn_cost, kl_divergence(mean[:, 1:], 2 * log_std[:, 1:])

    def log_weight(self, x: Tensor, noise: Tensor) -> Tensor:
        """Log of ``p(x, theta, z) / q(theta, z | x)`` (B,) at one sample of turn and z."""
        mean, log_std = self._posterior(x)
        sample = mean + log_std.exp() * noise
        posterior = -0.5 * noise.square() - log_std
        # The prior of the turn goes along with its mean, which costs nothing.
        offset = (sample[:, :1] - mean[:, :1]) / self.angle_prior
        prior = -0.5 * torch.cat([offset, sample[:, 1:]], dim=-1).square()
        prior_over_posterior = (prior - posterior).sum(dim=-1) - math.log(self.angle_prior)
        return self.log_likelihood(x, sample) + prior_over_posterior

    def log_likelihood(self, x: Tensor, sample: Tensor) -> Tensor:
        """``log p(x | theta, z)`` (B,) of ``sample (B, 1 + d)``; in training, tracks the noise."""
        squared = self.squared_residual(x, self.decode(sample[:, 1:] * self.kept, sample[:, 0]))
        if self.training and self.noise == "learned":
            with torch.no_grad():
                variance = (squared.mean() / self.dof.sum()).clamp(min=self._floor())
                self.noise_variance.lerp_(variance, NOISE_MOMENTUM)
        normalisation = 0.5 * self.dof.sum() * (2 * math.pi * self.noise_variance).log()
        return -0.5 * squared / self.noise_variance - normalisation

    @torch.no_grad()
    def measure_noise(self, x: Tensor) -> None:
        """Set the noise from patterns that were not trained on."""
        squared = torch.cat([self.squared_residual(b, self._explained(b)) for b in x.split(512)])
        self.noise_variance.copy_((squared.mean() / self.dof.sum()).clamp(min=self._floor()))

    @torch.inference_mode()
    def infer(self, x: Tensor) -> Inference:
        """Codes of ``x (B, n, n)``; the turn and its width are the encoder's."""
        mean, log_std = self._posterior(x)
        z, theta = mean[:, 1:], mean[:, 0]
        residual = (x - self.expected(z, theta)) / self.noise_variance.sqrt()
        error = ((self.weight * residual.square()).sum(dim=(1, 2)) / self.dof.sum()).sqrt()
        folds, reliability = self._fold(z, theta, self.weight * residual)
        undefined, widest = folds == 0, math.pi / math.sqrt(3)
        std = (log_std[:, 0].exp() * self.angle_spread).clamp(max=widest)
        std, z_std = std.masked_fill(undefined, widest), self.z_std(2 * log_std[:, 1:])
        theta = torch.remainder(theta, 2 * math.pi).masked_fill(undefined, math.nan)
        return Inference(z, z_std, theta, std, folds, error, reliability)

    def _fold(self, z: Tensor, theta: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Rotational order (B,) of decoded patterns as far as the data bear it out.

        And the reliability (B,) of the angle, of decoded patterns alone. Patterns and residuals are
        looked at on rings. ``residual (B, n, n)`` is in units of the noise.
        """
        radius = (torch.arange(RINGS, device=z.device) + 0.5) / RINGS
        phi = torch.arange(ANGLES, device=z.device) * (2 * math.pi / ANGLES)
        rings = torch.stack([torch.outer(radius, phi.cos()), torch.outer(radius, phi.sin())], -1)
        # A sum over points stands for one over so many pixels each.
        pixels = (2 * math.pi / ANGLES / RINGS) * radius * (len(self.weight) / 2) ** 2
        points, size = rings.flatten(0, 1), pixels.sqrt()[:, None]
        parts = [self.decoder(points.expand(len(b), -1, -1), b) for b in z.split(CHUNK)]
        decoded = torch.cat(parts).unflatten(-1, rings.shape[:2]) * self.scale
        # The highest coefficient of an even number of angles has no phase.
        harmonics = torch.fft.rfft(size * decoded / self.noise_variance.sqrt(), norm="ortho")
        # grid_sample wants the column first.
        where = rings.flip(-1).expand(len(z), -1, -1, -1)
        left = nn.functional.grid_sample(residual[:, None], where, align_corners=True)[:, 0]
        harmonics = harmonics[..., :-1]
        gain = evidence.gain_by_order(size * left, harmonics, theta)
        _, breaks, _ = angle.symmetries(harmonics.shape[-1], theta.dtype, theta.device)
        # At s times the strength decoded, orders gain 2 s overlap - s^2 promised; at the best s:
        power = angle.power(harmonics)
        promised = power @ breaks
        overlap = 0.5 * (gain @ breaks + promised).clamp(min=0)
        broken = overlap.square() / promised.clamp(min=1e-9) >= angle.EVIDENCE
        folds = angle.largest_fold(harmonics, broken, IMPERFECT)
        folds = torch.where(gain[:, 1:].sum(dim=-1) < angle.EVIDENCE, 0, folds)
        overlap_at = nn.functional.pad(power + 0j, (0, 1))
        return folds, angle.reliability(angle.about(overlap_at, torch.zeros_like(theta)), folds)

    @torch.no_grad()
    def order_latents(self, order: Tensor) -> None:
        """Renumber the latents: new latent j is the old ``order[j]``."""
        rows = nn.functional.pad(order + 1, (1, 0))
        for head in (self.encoder.mean, self.encoder.log_std):
            head.weight.copy_(head.weight[rows])
            head.bias.copy_(head.bias[rows])
        self.decoder.latent.weight.copy_(self.decoder.latent.weight[:, order])
        super().order_latents(order)


def turned_back(points: Tensor, theta: Tensor) -> Tensor:
    """``points (P, 2)``, row and column, turned by -theta (B,): (B, P, 2)."""
    cos, sin = theta.cos(), theta.sin()
    # Rows of the matrix that takes (row, col) from the row axis towards the column axis by -theta.
    matrix = torch.stack([cos, -sin, sin, cos], dim=-1).unflatten(-1, (2, 2))
    return points @ matrix
