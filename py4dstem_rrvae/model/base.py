# SPDX-License-Identifier: GPL-3.0-or-later
"""What every model can do, whatever its architecture."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from .inference import Inference

Background = Literal["auto", "mean", "radial"] | None
BACKGROUNDS: tuple[str | None, ...] = (*get_args(get_args(Background)[0]), None)

# Share of a new batch in the running estimate of the noise variance.
NOISE_MOMENTUM = 0.1
# Smallest noise of a ring, as a share of the signal's size.
LEAST_NOISE = 0.02


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, variance) from N(0, 1), element by element."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


class LatentModel(nn.Module):
    """What training and the estimator ask of an architecture.

    Parameters
    ----------
    latent_dim
        Number of latents d.
    weight : Tensor, shape (R, A)
        Share of each bin that the mask leaves; the noise variance of a bin is the model's over it.
    dof : Tensor, shape (R,)
        Independent numbers among the bins of each ring, or row.
    noise_variance : Tensor
        With which to start.

    Attributes
    ----------
    small_steps : bool
        Whether steps of training are so small that more than one thread would slow them down.
    sway : float
        How much each pattern prefers some direction in training, in standard deviations of the
        log-likelihood of its turn.
    """

    small_steps = False
    sway: float = 0.0
    background: Tensor
    weight: Tensor
    dof: Tensor
    scale: Tensor
    noise_variance: Tensor
    kept: Tensor
    spread: Tensor
    angle_spread: Tensor

    def __init__(
        self, latent_dim: int, weight: Tensor, dof: Tensor, noise_variance: Tensor
    ) -> None:
        super().__init__()
        self.latent_dim = self.noise_dim = latent_dim
        self.register_buffer("weight", weight)
        self.register_buffer("dof", dof)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("noise_variance", noise_variance)
        self.register_buffer("kept", torch.ones(latent_dim))
        self.register_buffer("spread", torch.ones(latent_dim))
        self.register_buffer("angle_spread", torch.ones(()))

    def initialise(self, patterns: Tensor, background: Background) -> None:
        """Start what is not a network from ``patterns (n, R, A)``."""
        raise NotImplementedError

    def elbo_terms(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihood (B,) at one sample of z, and KL divergence per latent (B, d).

        ``noise (B, noise_dim)`` is the standard normal sample behind it.
        """
        raise NotImplementedError

    def log_weight(self, x: Tensor, noise: Tensor) -> Tensor:
        """Log of ``p(x, z) / q(z | x)`` (B,) at one such sample, ``noise (B, noise_dim)``."""
        mean, log_variance = self.encode(x)
        z = mean + (0.5 * log_variance).exp() * noise
        prior_over_posterior = 0.5 * (noise.square() + log_variance - z.square()).sum(dim=-1)
        return self.elbo_terms(x, noise)[0] + prior_over_posterior

    def measure_noise(self, x: Tensor) -> None:
        """Set the noise from patterns that were not trained on."""
        raise NotImplementedError

    def bin_noise(self) -> Tensor:
        """Standard deviation (R, A) of noise that hides what the bins' own hides, bin by bin.

        Bins share pixels: their own noise is weaker and alike in neighbours. What changes slowly
        from bin to bin is hidden by it as by independent noise of the model's variance. 0 where the
        mask leaves nothing.
        """
        inverse = torch.where(self.weight > 0, 1 / self.weight.clamp(min=1e-9), 0)
        return (self.noise_variance.reshape(-1, 1) * inverse).sqrt()

    def set_weight(self, weight: Tensor, dof: Tensor) -> None:
        """Take another mask: the share it leaves of each bin, and independent bins per ring."""
        self.weight.copy_(weight)
        self.dof.copy_(dof)

    def _floor(self) -> Tensor:
        # Rings without a count, and data without noise, would otherwise outweigh everything.
        return (LEAST_NOISE * self.scale).square()

    def know_counts(self, electrons: Tensor) -> None:
        """Take the mean electrons per bin (R,) of each ring, by whose root the bins are scaled.

        A model with one noise for all leaves it.
        """

    @property
    def overdispersion(self) -> float:
        """Variance of residuals over that of counts; 1 for a model that does not know it."""
        return 1.0

    def adopt_scan(self, patterns: Tensor, background: Background) -> None:
        """Estimate background and noise anew from another scan's ``patterns (n, R, A)``."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance of z, each (B, d)."""
        raise NotImplementedError

    def expected(self, z: Tensor, theta: Tensor, mirrored: Tensor | None = None) -> Tensor:
        """Stabilised patterns (B, R, A) of latents (B, d) at the turns theta (B,).

        ``mirrored (B,)`` is True where the mirror image is turned instead.
        """
        raise NotImplementedError

    def typical(self, seen: Inference) -> Tensor:
        """Patterns that codes are decoded to, as strong as true ones, for noise to be drawn on."""
        return self.expected(seen.z, seen.angle.nan_to_num(), seen.mirrored)

    def latent_summary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior means (n, d) and mean KL divergence per latent (d,) of ``x (n, R, A)``."""
        parts = [self.encode(b) for b in x.split(512)]
        mean, log_variance = (torch.cat(p) for p in zip(*parts, strict=True))
        return mean, kl_divergence(mean, log_variance).mean(dim=0)

    def z_std(self, log_variance: Tensor) -> Tensor:
        """Standard deviations (B, d) that `infer` gives z, of the encoder's log-variances."""
        return (0.5 * log_variance).exp() * self.spread

    def infer(self, x: Tensor) -> Inference:
        """Codes of ``x (B, R, A)``."""
        raise NotImplementedError

    def residual(self, x: Tensor) -> Tensor | None:  # noqa: ARG002, asked where there are rings
        """What is left of ``x (B, R, A)`` at the best turn; None where rows are no rings."""
        return None

    def halves(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Angles (2, k, B) of independent halves of ``x (B, R, A)``, and their standard deviations.

        With noise as strong as their own added to patterns, and the same taken off, they make two
        of twice the variance whose noise is independent (data fission; J. Leiner et al., J. Am.
        Stat. Assoc. 120, 2025). So widths are held against errors where no truth is known.
        ``noise (k, B, R, A)`` is drawn k times.
        """
        both = torch.stack([x + noise, x - noise])
        seen = self.infer(both.flatten(0, 2))
        angle, std = (part.view(both.shape[:3]) for part in (seen.angle, seen.angle_std))
        return angle, math.sqrt(2) * std

    def measure_fixed(self, x: Tensor) -> None:
        """Set what weak patterns have in common on the detector, from a scan's ``x (n, R, A)``.

        A model whose fold is that of the decoded pattern alone leaves it.
        """

    def order_latents(self, order: Tensor) -> None:
        """Renumber the latents: new latent j is the old ``order[j]``."""
        self.kept.copy_(self.kept[order])
        self.spread.copy_(self.spread[order])

    def refit_widths(self, x: Tensor, squares: Tensor) -> None:
        """Make the variances of z what fits ``squares (n, d)`` of its moves by noise, at ``x``.

        A model whose variances cannot be fitted by themselves leaves them as they are.
        """
