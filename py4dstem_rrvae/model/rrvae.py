# SPDX-License-Identifier: GPL-3.0-or-later
"""The generative model, with the turn marginalised exactly.

A stabilised polar pattern is ``x = background + turn(decoder(z), theta) + noise`` with z ~ N(0, I),
theta uniform on the circle, a background fixed to the detector, and noise of one variance a ring.
The likelihood of every theta follows from one circular correlation, so theta needs no network.
After the rrVAE of Oxley et al., npj Comput. Mater. 7 (2021), whose encoder guessed theta instead.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..detector.bins import ring_mean
from ..detector.intensity import FEW_ELECTRONS
from . import angle, evidence, likelihood, posterior
from .base import NOISE_MOMENTUM, Background, LatentModel, kl_divergence
from .inference import Inference
from .networks import PolarDecoder, PolarEncoder
from .posterior import Fit
from .widths import log_variance_layer

# Smallest noise variance of a ring, as a share of the largest.
LEAST_NOISY = 0.03
# Rings are taken to be at least this bright, relative to the brightest.
LEAST_LEVEL = 1e-9
# Nats that are tried for what a decoder has learned of noise in each order, on so many patterns.
LEARNED_NOISES, MOST_JUDGED = (0.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), 512
# Step in z of a finite difference.
DRIFT_STEP = 0.05


class PolarRRVAE(LatentModel):
    """Encoder, decoder, round background and noise.

    Parameters
    ----------
    latent_dim, weight, dof
        As of `LatentModel`.
    counts : bool
        Whether patterns are counts times a factor for each ring, so that a bin's variance is
        proportional to its mean; else all bins of a ring have one variance.
    """

    small_steps, both_hands = True, False
    fixed: Tensor
    learned_noise: Tensor
    width_range: Tensor
    level: Tensor
    counted_noise: Tensor
    partial: Tensor

    def __init__(self, latent_dim: int, weight: Tensor, dof: Tensor, counts: bool = True) -> None:
        n_radial, n_angular = weight.shape
        super().__init__(latent_dim, weight, dof, torch.ones(n_radial))
        self.counts, self.n_angular = counts, n_angular
        self.least_breaking = 0.0
        self.encoder: PolarEncoder = PolarEncoder(n_radial, latent_dim, self.both_hands)
        # Strictly below the Nyquist order, where a sub-bin turn is still well defined.
        self.decoder: PolarDecoder = PolarDecoder(latent_dim, n_radial, n_angular // 2 - 1)
        self.register_buffer("background", torch.zeros(n_radial, n_angular))
        self.register_buffer("counted_noise", torch.ones(n_radial))
        self.register_buffer("level", torch.ones(n_radial))
        self.register_buffer("fixed", torch.zeros(n_radial, n_angular))
        self.register_buffer("learned_noise", torch.zeros(()))
        everything = torch.tensor([-math.inf, math.inf])
        self.register_buffer("width_range", everything[:, None].repeat(1, latent_dim))
        self.register_buffer("partial", likelihood.partly_seen(weight), persistent=False)

    def set_weight(self, weight: Tensor, dof: Tensor) -> None:
        """Take the mask of another detector: see the constructor."""
        super().set_weight(weight, dof)
        self.partial = likelihood.partly_seen(self.weight)

    def know_counts(self, electrons: Tensor) -> None:
        """Take the mean electrons per bin (R,) of each ring, by whose root the bins are scaled."""
        self.counted_noise.copy_(electrons / (electrons + FEW_ELECTRONS))

    @property
    def overdispersion(self) -> float:
        """Variance of residuals over that of counts, mean over the counted electrons."""
        if not self.counts:
            return 1.0
        share = self.dof * self.level
        counted = (share * self.counted_noise).sum().clamp(min=1e-12)
        return ((share * self.noise_variance).sum() / counted).item()

    @torch.no_grad()
    def initialise(self, patterns: Tensor, background: Background) -> None:
        """Start background, scale and noise from ``patterns (n, R, A)``.

        The background is the mean of each ring ("auto", "radial"), the mean pattern ("mean"), or
        nothing (None). The noise starts at the size of the whole signal and falls as the model
        learns, which anneals it.
        """
        self._start_background(patterns, background)
        squared = (self.weight * (patterns - self.background).square()).sum(dim=(1, 2)).mean()
        self.scale.copy_((squared / (self.dof * self.counted_noise).sum()).sqrt())
        self.noise_variance.fill_(self.scale.square())

    @torch.no_grad()
    def adopt_scan(self, patterns: Tensor, background: Background) -> None:
        """Estimate background and noise anew from another scan's ``patterns (n, R, A)``."""
        stored = self.background.mean(dim=-1, keepdim=True).expand_as(self.background).clone()
        self._start_background(patterns, background)
        if background in ("auto", "radial"):
            # The rings that the decoder's patterns are added to are those of the scan trained on.
            self.background.copy_(stored)
        self.measure_noise(patterns)
        self.measure_fixed(patterns)

    def _start_background(self, patterns: Tensor, start: Background) -> None:
        mean = patterns.mean(dim=0)
        ring = ring_mean(mean, self.weight)
        self.level.copy_(ring.clamp(min=LEAST_LEVEL * ring.max()))
        self.background.copy_(0 * ring[:, None] if start is None else ring[:, None])
        if start == "mean":
            self.background.copy_(torch.where(self.weight > 0, mean, self.background))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance of z, each (B, d), from ``x (B, R, A)``."""
        mean, log_variance = self.encoder(self._seen(x))
        return mean * self.kept, log_variance * self.kept

    def _seen(self, x: Tensor) -> Tensor:
        """What the encoder is shown of ``x (B, R, A)``.

        What is not seen of a ring is filled with the mean of what is, so that no edge of the
        detector tells how a pattern is turned.
        """
        signal = (x - self.background) / self.scale
        if not len(self.partial):
            return signal
        return torch.lerp(ring_mean(signal, self.weight)[..., None], signal, self.weight)

    @torch.no_grad()
    def refit_widths(self, x: Tensor, squares: Tensor) -> None:
        """Refit the last layer's log-variances alone; see `widths.log_variance_layer`."""
        summaries = torch.cat([self.encoder.summary(self._seen(b)) for b in x.split(512)])
        weight, bias = log_variance_layer(summaries, squares)
        self.encoder.output.weight[self.latent_dim :] = weight
        self.encoder.output.bias[self.latent_dim :] = bias
        # A line says nothing of patterns unlike all that it was fitted to.
        fitted = (summaries @ weight.T + bias) * self.kept
        self.width_range.copy_(torch.stack([fitted.amin(dim=0), fitted.amax(dim=0)]))

    def decode(self, z: Tensor, exponent: float = 1.0) -> Tensor:
        """Angular harmonics (B, R, M) of the decoded patterns at turn zero, background apart.

        `exponent` as in `evidence.kept_share`, which they have gone through but in training.
        """
        harmonics: Tensor = self.decoder(z, self.scale)
        if self.training:
            return harmonics
        noise = self.learned_noise
        return harmonics * evidence.kept_share(harmonics, self.noise_variance, noise, exponent)

    def decode_with_change(self, z: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """In training, `decode` and by how much that changes in a step of z, (B, R, M) both."""
        return self.decoder.with_change(z, step, self.scale)

    def polar(self, harmonics: Tensor, theta: Tensor) -> Tensor:
        """Patterns (B, R, A), background apart, of `harmonics` (B, R, M) turned by theta (B,)."""
        shifted = angle.shifted(harmonics, -theta[:, None])
        return torch.fft.irfft(shifted, n=self.n_angular, norm="ortho")

    def log_density(self, x: Tensor, harmonics: Tensor) -> tuple[Tensor, Tensor]:
        """``log p(x | D, theta)`` as a function of the turn, less its normalisation.

        Constant (B,) and coefficients (B, K), as `likelihood.log_density` returns them.
        """
        signal, precision = x - self.background, 1 / self.noise_variance
        return likelihood.log_density(signal, harmonics, precision, self.weight, self.partial)

    def expected(self, z: Tensor, theta: Tensor, mirrored: Tensor | None = None) -> Tensor:
        """Stabilised patterns (B, R, A) of latents (B, d) at the turns theta (B,)."""
        return self._whole(self.decode(z), theta, mirrored)

    def typical(self, seen: Inference) -> Tensor:
        """Decoded patterns whose orders have the power of the true ones.

        Redrawn on those that the turn is found with, weaker ones, angles err by up to a sixth more
        than measured ones.
        """
        return self._whole(self.decode(seen.z, 0.5), seen.angle.nan_to_num(), seen.mirrored)

    def _whole(self, harmonics: Tensor, theta: Tensor, mirrored: Tensor | None) -> Tensor:
        if mirrored is not None:
            harmonics = angle.mirrored_where(mirrored, harmonics)
        return self.background + self.polar(harmonics, theta)

    def log_likelihood(self, x: Tensor, harmonics: Tensor) -> Tensor:
        """``log p(x | D)`` (B,), marginal over the turn; in training it also tracks the noise."""
        normalisation = 0.5 * (self.dof * (2 * math.pi * self.noise_variance).log()).sum()
        return self._log_marginal(x, harmonics) - normalisation

    def _log_marginal(self, x: Tensor, harmonics: Tensor) -> Tensor:
        constant, turned = self.log_density(x, harmonics)
        if not self.training:
            return constant + angle.log_mean_exp(turned)[0]
        # Of turns that explain a symmetric pattern alike, training would else take those that turn
        # the same sector beyond the detector's edge, where decoded patterns are arbitrary.
        sway = self.sway if len(self.partial) else 0.0
        marginal, theta = angle.log_mean_exp(angle.swayed(turned, sway) if sway else turned)
        self._track_noise(constant + angle.at_zero(angle.shifted(turned, theta)))
        return constant + marginal

    @torch.no_grad()
    def _track_noise(self, highest: Tensor) -> None:
        """Follow the noise by the log-density at the best turn, (B,) or (hands, B).

        Half the squared residual in units of the noise, that is, which all rings share meanwhile.
        """
        # The exact maximum of the likelihood over one variance for one batch (an M step), averaged
        # over batches; as a gradient parameter it needs a learning rate of its own. One variance
        # only: with one a ring, a ring's yet unlearned signal is taken for its noise and never
        # learned (classes lost at 200 counts).
        best = highest.reshape(-1, highest.shape[-1]).amax(dim=0).mean()
        variance = -2 * best * self.noise_variance / (self.dof * self.counted_noise).sum()
        self.noise_variance.lerp_(variance.clamp(min=self._floor()), NOISE_MOMENTUM)

    @torch.no_grad()
    def measure_noise(self, x: Tensor) -> None:
        """Set each ring's noise variance from patterns that were not trained on.

        Training takes one variance for all rings; what the decoder lacks of a ring, and what its
        few counts scatter less, show here. In these units the same patterns then tell how much of
        the decoded orders is noise that was learned.
        """
        # Scaled-down orders would leave the rest of the patterns to the noise.
        self.learned_noise.zero_()
        squared = torch.cat([self.fit(b).squared for b in x.split(512)])
        variance = squared.mean(dim=0) / self.dof.clamp(min=1e-9)
        # What a decoder makes of a ring that is all but empty is arbitrary, and not to be measured
        # by that ring's own noise.
        least = torch.maximum(self._floor(), LEAST_NOISY * variance.max())
        self.noise_variance.copy_(variance.clamp(min=least))
        self._measure_learned_noise(x[:MOST_JUDGED])

    def _measure_learned_noise(self, x: Tensor) -> None:
        """Take that learned noise without which the turns of ``x`` are the most likely.

        Noise in high orders is worth little energy, and yet it turns the peak of the likelihood.
        """
        z, _ = self.encode(x)
        likely = []
        for noise in LEARNED_NOISES:
            self.learned_noise.fill_(noise)
            harmonics, _ = self._choose_hand(x, self.decode(z))
            likely.append(self.turn_evidence(x, harmonics).mean().item())
        self.learned_noise.fill_(LEARNED_NOISES[likely.index(max(likely))])

    def fit(self, x: Tensor) -> Fit:
        """Most probable latents and turns of ``x (B, R, A)``."""
        z, log_variance = self.encode(x)
        harmonics, handedness = self._choose_hand(x, self.decode(z))
        turned = self.turn_density(x, harmonics)
        theta = angle.mode(turned)
        pattern = self.background + self.polar(harmonics, theta)
        residual = x - pattern
        squared = (self.weight * residual.square()).sum(dim=-1)
        return Fit(z, log_variance, harmonics, theta, turned, residual, squared, handedness)

    def turn_density(self, x: Tensor, harmonics: Tensor) -> Tensor:
        """Log-likelihood of the turn, coefficients (B, K), by counting noise where it is known."""
        if not self.counts:
            return self.log_density(x, harmonics)[1]
        level = self.level[:, None]
        share = self.weight * level / self.noise_variance[:, None]
        return posterior.log_density(x, self.background, harmonics, share, level, self.partial)

    def turn_evidence(self, x: Tensor, harmonics: Tensor) -> Tensor:
        """Log-likelihood (B,), marginal over the turn, up to what no `harmonics` change."""
        if not self.counts:
            return PolarRRVAE._log_marginal(self, x, harmonics)
        return angle.log_mean_exp(self.turn_density(x, harmonics))[0]

    def _choose_hand(self, x: Tensor, harmonics: Tensor) -> tuple[Tensor, Tensor | None]:  # noqa: ARG002, asked where there are two hands
        """Harmonics (B, R, M) of the more probable hand, and `Inference.handedness`."""
        return harmonics, None

    def elbo_terms(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihood (B,) at one sample of z, and KL divergence per latent (B, d).

        ``noise (B, d)`` is the standard normal sample.
        """
        mean, log_variance = self.encode(x)
        z = mean + (0.5 * log_variance).exp() * noise * self.kept
        if not self.training:
            return self.log_likelihood(x, self.decode(z)), kl_divergence(mean, log_variance)
        step = DRIFT_STEP * nn.functional.normalize(noise, dim=-1)
        harmonics, change = self.decode_with_change(z, step)
        drift = self._drift(harmonics, change)  # before the noise is tracked
        return self.log_likelihood(x, harmonics) - drift, kl_divergence(mean, log_variance)

    def _drift(self, harmonics: Tensor, change: Tensor) -> Tensor:
        """Cost (B,) of a decoder that turns its pattern by `change` in a step of `DRIFT_STEP`."""
        if len(self.partial):
            # What is decoded where nothing is seen is arbitrary, and may be large.
            seen = self.weight.mean(dim=-1, keepdim=True).sqrt()
            harmonics, change = seen * harmonics, seen * change
        return likelihood.drift(harmonics, change, self.noise_variance.mean() * DRIFT_STEP**2)

    @torch.no_grad()
    def measure_fixed(self, x: Tensor) -> None:
        """Set what weak patterns have in common on the detector, from a scan's ``x (n, R, A)``."""
        turned = torch.cat([b - self.background - self.fit(b).residual for b in x.split(512)])
        sigma = self.noise_variance.sqrt()[:, None]
        self.fixed.copy_(sigma * evidence.fixed_pattern(self.background / sigma, turned / sigma))

    def z_std(self, log_variance: Tensor) -> Tensor:
        """As of `LatentModel`, within the widths that were fitted."""
        return super().z_std(log_variance.clamp(*self.width_range))

    @torch.inference_mode()
    def infer(self, x: Tensor) -> Inference:
        """Codes of ``x (B, R, A)``."""
        fit, sigma = self.fit(x), self.noise_variance.sqrt()[:, None]
        relative = fit.harmonics * (1 / sigma)
        level = relative[..., 0].real / math.sqrt(self.n_angular)
        fixed = self.fixed + self.background.mean(dim=-1, keepdim=True)
        squared = (fit.squared / self.noise_variance).sum(dim=-1)
        over_round, over_fixed = (
            evidence.gain_over_fixed((x - still) / sigma, level, self.weight, squared)
            for still in (self.background, fixed)
        )
        seen = self.weight.mean(dim=-1, keepdim=True).sqrt()
        values = angle.about(fit.turned, fit.theta)
        folds = angle.fold(values, seen * relative, self.learned_noise, self.least_breaking)
        folds = torch.where(evidence.undirected(over_round, over_fixed), 0, folds)
        theta, std = angle.posterior(values, folds, fit.theta)
        error = ((fit.squared / self._own_noise(fit.harmonics)).sum(dim=-1) / self.dof.sum()).sqrt()
        widest = std.clamp(min=math.pi / math.sqrt(3))
        # Quasi-likelihood (R. W. M. Wedderburn, Biometrika 61, 1974): what the model lacks of a
        # pattern is taken for noise.
        std = torch.minimum(std * self.angle_spread * error.clamp(min=1), widest)
        z_std = self.z_std(fit.log_variance)
        reliability = angle.reliability(values, folds)
        return Inference(fit.z, z_std, theta, std, folds, error, reliability, fit.handedness)

    def _own_noise(self, harmonics: Tensor) -> Tensor:
        """Noise variance (B, R) of decoded patterns: of counts it follows their own ring means."""
        if not self.counts:
            return self.noise_variance
        ring = harmonics[..., 0].real / math.sqrt(self.n_angular) + self.background.mean(dim=-1)
        return self.noise_variance * (ring / self.level).clamp(min=posterior.DARKEST)

    def residual(self, x: Tensor) -> Tensor:
        """What is left of ``x (B, R, A)`` at the best turn."""
        return self.fit(x).residual

    @torch.no_grad()
    def halves(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """As of `LatentModel`; both halves are held against what the whole is decoded to."""
        draws, shape = len(noise), noise.shape[:2]
        harmonics = self.fit(x).harmonics.repeat(draws, 1, 1)
        folds = self.infer(x).fold.repeat(draws)
        found = []
        for half in (x + noise, x - noise):
            turned = self.turn_density(half.flatten(0, 1), harmonics)
            theta = angle.mode(turned)
            found.append(angle.posterior(0.5 * angle.about(turned, theta), folds, theta))
        angles, stds = (torch.stack(part) for part in zip(*found, strict=True))
        return angles.unflatten(1, shape), stds.unflatten(1, shape)

    @torch.no_grad()
    def order_latents(self, order: Tensor) -> None:
        """Renumber the latents: new latent j is the old ``order[j]``."""
        both = torch.cat([order, order + len(order)])
        self.encoder.output.weight.copy_(self.encoder.output.weight[both])
        self.encoder.output.bias.copy_(self.encoder.output.bias[both])
        self.decoder.input.weight.copy_(self.decoder.input.weight[:, order])
        super().order_latents(order)
        self.width_range.copy_(self.width_range[:, order])
