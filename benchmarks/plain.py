# SPDX-License-Identifier: GPL-3.0-or-later
"""The default model with rotation switched off: an ordinary VAE of the same networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from py4dstem_rrvae import RRVAE, Frames
from py4dstem_rrvae.detector.intensity import Intensity
from py4dstem_rrvae.model.networks import SECTORS
from py4dstem_rrvae.model.rrvae import PolarRRVAE
from py4dstem_rrvae.scan.binning import Binner
from py4dstem_rrvae.scan.encoding import CHUNK
from py4dstem_rrvae.training import loop
from py4dstem_rrvae.training.defaults import schedule_of


class PlainEncoder(nn.Module):
    """The same convolutions, then all their outputs instead of their mean and maximum."""

    def __init__(self, features: nn.Module, latent_dim: int) -> None:
        super().__init__()
        channels = next(p.shape[0] for p in features.parameters())
        self.layers = nn.Sequential(
            features,
            nn.Flatten(),
            nn.Linear(channels * SECTORS, 2 * channels),
            nn.GELU(),
            nn.Linear(2 * channels, 2 * latent_dim),
        )

    def forward(self, polar: Tensor) -> tuple[Tensor, Tensor]:
        """``polar (B, R, A)`` to mean and log-variance, each (B, d)."""
        mean, log_variance = self.layers(polar).chunk(2, dim=-1)
        return mean, log_variance


class PlainVAE(PolarRRVAE):
    """Patterns decoded as they lie: the likelihood at turn zero instead of over all turns."""

    def __init__(self, latent_dim: int, weight: Tensor, dof: Tensor) -> None:
        super().__init__(latent_dim, weight, dof, counts=False)
        pooled = self.encoder.features
        self.encoder = PlainEncoder(pooled, latent_dim)  # type: ignore[assignment]

    def _log_marginal(self, x: Tensor, harmonics: Tensor) -> Tensor:
        constant, turned = self.log_density(x, harmonics)
        still = constant + turned[:, 0].real + 2 * turned[:, 1:].real.sum(dim=1)
        if self.training:
            self._track_noise(still)
        return still

    def turn_density(self, x: Tensor, harmonics: Tensor) -> Tensor:
        only_zero = torch.zeros(len(x), harmonics.shape[-1], dtype=harmonics.dtype)
        only_zero[:, 1] = 1.0
        return only_zero

    def _drift(self, harmonics: Tensor, change: Tensor) -> Tensor:  # noqa: ARG002, nothing can turn
        return torch.zeros(len(harmonics))


class Plain:
    """Trained plain VAE, in the manner of `worker.Fitted`; schedule and data as `RRVAE`'s."""

    def __init__(
        self, train: np.ndarray, latent_dim: int, seed: int, epochs: int | None = None
    ) -> None:
        height, width = train.shape[1:]
        frames = Frames(train, ((height - 1) / 2, (width - 1) / 2))
        self.binner = Binner.of(frames, device="cpu")
        self.intensity = Intensity("sqrt", torch.ones(()))
        transform = self.binner.transform

        parts = loop.split(self._polar(train), torch.Generator().manual_seed(seed))
        schedule = schedule_of(RRVAE(max_epochs=epochs).get_params(), len(parts[0]))
        torch.manual_seed(seed)
        self.model = PlainVAE(latent_dim, transform.weight, transform.dof)
        self.model.initialise(parts[0], "mean")
        chance = torch.Generator().manual_seed(seed)
        self.history = loop.train(self.model, *parts, schedule, chance)
        self.shown = len(self.history.train_loss) * len(parts[0])

    def _polar(self, frames: np.ndarray) -> Tensor:
        return self.intensity(self.binner.polar(frames, np.arange(len(frames))))

    @torch.inference_mode()
    def encode(self, frames: np.ndarray) -> tuple[np.ndarray, None]:
        return self.model.encode(self._polar(frames))[0].double().numpy(), None

    @torch.inference_mode()
    def expected(self, frames: np.ndarray) -> np.ndarray:
        z, _ = self.model.encode(self._polar(frames))
        parts = [self.model.expected(part, torch.zeros(len(part))) for part in z.split(CHUNK)]
        render = self.binner.transform.render
        return torch.cat([render(self.intensity.invert(part)) for part in parts]).numpy()
