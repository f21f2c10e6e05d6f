# SPDX-License-Identifier: GPL-3.0-or-later
"""Train one peer and encode with it: ``PEERS_PYTHON -m benchmarks.peers.run IN.npz OUT.npz``.

The files are those of `benchmarks.worker`; `options` are the fields of `Options`.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks import worker

ANSCOMBE = 0.375
"""2 sqrt(n + 3/8) of counts n has counting noise of unit variance."""


@dataclass(frozen=True)
class Options:
    """How to train a peer.

    Attributes
    ----------
    peer
        Whose model.
    epochs, batch_size, learning_rate, seed, latent_dim
        As they say.
    intensity
        "unit": counts scaled to [0, 1] by their largest; "standard": their square roots less the
        mean pattern, as a whole of unit variance.
    rotation_prior
        AtomAI's, standard deviation of the angle in radians.
    capacity
        Nats that AtomAI's KL divergence is led to over the first half of the training, and the
        weight of its distance from there; None: the plain loss.
    warm_up
        Share of the epochs over which the weight of pyroVED's KL divergence rises from 0 to 1.
    noise
        Standard deviation of pyroVED's Gaussian sampler, in units of the counting noise of the
        square roots; None: its Bernoulli sampler, for "unit".
    """

    peer: Literal["atomai", "pyroved"]
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    latent_dim: int = 2
    intensity: Literal["unit", "standard"] = "unit"
    rotation_prior: float = 0.1
    capacity: tuple[float, float] | None = None
    warm_up: float = 0.0
    noise: float | None = None


class Scale:
    """From counts to what a peer is given, and back."""

    def __init__(self, counts: np.ndarray, intensity: str) -> None:
        self.root = intensity == "standard"
        self.zero, self.factor = np.float32(0), np.float32(1 / counts.max())
        if self.root:
            values = self._root(counts)
            self.zero = values.mean(axis=0)
            self.factor = 1 / (values - self.zero).std()

    def _root(self, counts: np.ndarray) -> np.ndarray:
        values: np.ndarray = counts.astype(np.float32)
        return 2 * np.sqrt(values + np.float32(ANSCOMBE)) if self.root else values

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        return (self._root(counts) - self.zero) * self.factor

    def invert(self, values: np.ndarray) -> np.ndarray:
        values = values / self.factor + self.zero
        return np.maximum(values / 2, 0) ** 2 - ANSCOMBE if self.root else values


class Peer:
    """A trained peer, in the manner of `worker.Fitted`."""

    def __init__(self, train: np.ndarray, options: Options) -> None:
        self.scale = Scale(train, options.intensity)
        self.shown = options.epochs * len(train)
        self.train(self.scale(train), options)

    def train(self, frames: np.ndarray, options: Options) -> None:
        raise NotImplementedError

    def codes(self, frames: np.ndarray) -> np.ndarray:
        """Angle and latents (n, 1 + d) of scaled patterns."""
        raise NotImplementedError

    def decode(self, angle: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Scaled patterns of angles (n,) and latents (n, d)."""
        raise NotImplementedError

    def encode(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = self.codes(self.scale(frames)).astype(float)
        return codes[:, 1:], codes[:, 0]

    def expected(self, frames: np.ndarray) -> np.ndarray:
        codes = torch.from_numpy(self.codes(self.scale(frames)))
        with torch.no_grad():
            decoded = [self.decode(part[:, 0], part[:, 1:]) for part in codes.split(100)]
        return self.scale.invert(torch.cat(decoded).reshape(frames.shape).numpy())


class AtomAI(Peer):
    """Its rVAE, without translation as in Oxley et al."""

    def train(self, frames: np.ndarray, options: Options) -> None:
        import atomai

        self.transform = atomai.utils.transform_coordinates
        self.model = atomai.models.rVAE(
            frames.shape[1:], options.latent_dim, translation=False, seed=options.seed
        )
        led: dict[str, Any] = {}
        if options.capacity is not None:
            steps = options.epochs * (len(frames) // options.batch_size)
            nats, weight = options.capacity
            led = {"capacity": [nats, steps // 2, weight]}
        with tempfile.TemporaryDirectory() as folder:  # where it saves itself after every epoch
            self.model.fit(
                frames,
                training_cycles=options.epochs,
                batch_size=options.batch_size,
                rotation_prior=options.rotation_prior,
                optimizer=lambda p: torch.optim.Adam(p, lr=options.learning_rate),
                filename=str(Path(folder) / "model"),
                **led,
            )

    def codes(self, frames: np.ndarray) -> np.ndarray:
        mean: np.ndarray = self.model.encode(frames)[0]
        return mean

    def decode(self, angle: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        grid = self.model.x_coord.expand(len(z), *self.model.x_coord.shape)
        decoded: torch.Tensor = self.model.decoder_net(self.transform(grid, angle), z)
        return decoded


class PyroVED(Peer):
    """Its iVAE with invariance to rotation."""

    def train(self, frames: np.ndarray, options: Options) -> None:
        import pyroved

        self.transform = pyroved.utils.transform_coordinates
        sampler: dict[str, Any] = {}
        if options.noise is not None:
            size = options.noise * float(self.scale.factor)
            sampler = {"sampler_d": "gaussian", "sigmoid_d": False, "decoder_sig": size}
        self.model = pyroved.models.iVAE(
            frames.shape[1:], options.latent_dim, ["r"], seed=options.seed, **sampler
        )
        loader = pyroved.utils.init_dataloader(
            torch.from_numpy(frames), batch_size=options.batch_size
        )
        trainer = pyroved.trainers.SVItrainer(
            self.model, lr=options.learning_rate, seed=options.seed
        )
        for epoch in range(options.epochs):
            rise = (epoch + 1) / (options.warm_up * options.epochs) if options.warm_up else 1.0
            trainer.step(loader, scale_factor=min(rise, 1.0))
            trainer.print_statistics()

    def codes(self, frames: np.ndarray) -> np.ndarray:
        mean: np.ndarray = self.model.encode(torch.from_numpy(frames))[0].numpy()
        return mean

    def decode(self, angle: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        grid = self.model.grid.expand(len(z), *self.model.grid.shape)
        decoded: torch.Tensor = self.model.decoder(self.transform(grid, angle), z)
        return decoded


PEERS = {"atomai": AtomAI, "pyroved": PyroVED}


def fit(train: np.ndarray, options: dict[str, Any]) -> Peer:
    options.pop("geometry", None)  # they see pixels
    chosen = Options(**options)
    return PEERS[chosen.peer](train, chosen)


if __name__ == "__main__":
    torch.set_num_threads(1)
    worker.run(fit, sys.argv[1], sys.argv[2])
