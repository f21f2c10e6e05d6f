# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared: our models, baselines without learning or without rotation, and peers.

``python -m benchmarks.methods IN.npz OUT.npz`` runs one of ours or a baseline, see
`benchmarks.worker`; `options` are its name and a seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import NMF, PCA

from py4dstem_rrvae import RRVAE, Frames, describe
from py4dstem_rrvae.training.loop import HELD_OUT

from . import scores, worker
from .invariants import Bispectrum, ComDarkField, Geometry, Zernike, strongest_turn
from .plain import Plain

Array = NDArray[np.float64]


class Ours:
    """`RRVAE`, with its defaults or as published."""

    def __init__(self, train: np.ndarray, model: RRVAE, geometry: Geometry) -> None:
        self.geometry = geometry
        self.model = model.fit(self._frames(train))
        history = self.model.history_
        n = round((1 - HELD_OUT) * len(train))
        self.shown = len(history.train_loss) * n

    def _frames(self, patterns: np.ndarray) -> np.ndarray | Frames:
        return patterns if self.geometry is None else Frames(patterns, **self.geometry)

    def encode(self, frames: np.ndarray) -> tuple[Array, Array]:
        codes = self.model.encode(self._frames(frames))
        return codes.z, codes.angle

    def expected(self, frames: np.ndarray) -> Array | None:
        if self.geometry is not None and np.ndim(self.geometry["center"]) > 1:
            return None  # patterns are made about one centre
        return self.model.reconstruct(self.model.encode(self._frames(frames)))


class Components:
    """PCA or NMF of all pixels' square roots, whose noise is white."""

    def __init__(self, train: np.ndarray, components: PCA | NMF) -> None:
        self.components = components.fit(self._rows(train))
        self.shown = len(train)

    @staticmethod
    def _rows(frames: np.ndarray) -> Array:
        return 2 * np.sqrt(frames.reshape(len(frames), -1) + 0.375)

    def encode(self, frames: np.ndarray) -> tuple[Array, None]:
        return self.components.transform(self._rows(frames)), None

    def expected(self, frames: np.ndarray) -> Array:
        rows = self.components.inverse_transform(self.encode(frames)[0])
        counts: Array = np.maximum(rows / 2, 0) ** 2 - 0.375
        return counts.reshape(frames.shape)


class Spectra:
    """PCA of the moduli of each ring's angular harmonics; angle from the strongest harmonic."""

    def __init__(self, train: np.ndarray, n_components: int) -> None:
        moduli = np.abs(self._coefficients(train)).reshape(len(train), -1)
        self.components = PCA(n_components, random_state=0).fit(moduli)
        self.shown = len(train)

    @staticmethod
    def _coefficients(frames: np.ndarray) -> NDArray[np.complex128]:
        return scores.angular_coefficients(frames)

    def encode(self, frames: np.ndarray) -> tuple[Array, Array]:
        coefficients = self._coefficients(frames)
        z = self.components.transform(np.abs(coefficients).reshape(len(frames), -1))
        return z, strongest_turn(coefficients)

    def expected(self, frames: np.ndarray) -> None:  # noqa: ARG002, moduli make no pattern
        return None


class SymmetryScores:
    """2- to 12-fold scores and the mirror score; nothing is learned."""

    shown = 0

    def encode(self, frames: np.ndarray) -> tuple[Array, None]:
        found = describe(frames, device="cpu", progress=False)
        # Undefined where noise leaves nothing to compare.
        return np.nan_to_num(np.column_stack([found.rotation, found.mirror])), None

    def expected(self, frames: np.ndarray) -> None:  # noqa: ARG002, scores make no pattern
        return None


def _rrvae(train: np.ndarray, seed: int, geometry: Geometry, **options: Any) -> Ours:
    model = RRVAE(random_state=seed, progress=False, device="cpu", **options)
    return Ours(train, model, geometry)


def _published(train: np.ndarray, seed: int, geometry: Geometry, **options: Any) -> Ours:
    model = RRVAE.published(random_state=seed, progress=False, device="cpu", **options)
    return Ours(train, model, geometry)


def _pca(train: np.ndarray, seed: int, components: int) -> Components:
    return Components(train, PCA(components, random_state=seed))


def _nmf(train: np.ndarray, seed: int, components: int) -> Components:
    return Components(train, NMF(components, init="nndsvda", max_iter=500, random_state=seed))


def _symmetry(train: np.ndarray, seed: int) -> SymmetryScores:  # noqa: ARG001, nothing to learn
    return SymmetryScores()


def _spectra(train: np.ndarray, seed: int, components: int) -> Spectra:  # noqa: ARG001
    return Spectra(train, components)


def _bispectrum(
    train: np.ndarray,
    seed: int,  # noqa: ARG001
    geometry: Geometry,
    components: int,
) -> Bispectrum:
    return Bispectrum(train, components, geometry)


def _zernike(train: np.ndarray, seed: int, geometry: Geometry) -> Zernike:  # noqa: ARG001
    return Zernike(train, 2, geometry)


def _com_dark(train: np.ndarray, seed: int, geometry: dict[str, Any]) -> ComDarkField:  # noqa: ARG001
    return ComDarkField(train, geometry)


def _plain(train: np.ndarray, seed: int, latent_dim: int) -> Plain:
    return Plain(train, latent_dim, seed)


@dataclass(frozen=True)
class Method:
    """A row of the comparison.

    Attributes
    ----------
    label
        How tables call it.
    fit
        Trains it from patterns, a seed, and `max_epochs` where it is `slow`; None for a peer.
    peer
        `peers.run.Options` of a peer, less epochs and seed.
    seeded
        Whether another seed gives another result.
    slow
        Whether it is trained for as many epochs as the peers.
    placed
        Whether it takes the geometry of the patterns, where a problem tells it.
    disc
        Whether it needs patterns with a bright disc, which scans alone have.
    """

    label: str
    fit: Callable[..., worker.Fitted] | None = None
    peer: dict[str, Any] = field(default_factory=dict)
    seeded: bool = True
    slow: bool = False
    placed: bool = False
    disc: bool = False

    @property
    def budgeted(self) -> bool:
        """Whether it is told for how many epochs to train."""
        return self.slow or bool(self.peer)


ATOMAI: dict[str, Any] = {"peer": "atomai", "batch_size": 32, "learning_rate": 1e-4}
PYROVED: dict[str, Any] = {"peer": "pyroved", "batch_size": 100, "learning_rate": 1e-3}
# What both can be given from outside: square roots of counts less the mean pattern as in the
# published work, and a rate and batches that learn faster.
BEST: dict[str, Any] = {"intensity": "standard", "batch_size": 32, "learning_rate": 1e-3}

METHODS: dict[str, Method] = {
    "rrvae": Method("RRVAE, default", _rrvae, placed=True),
    "coordinate": Method(
        "RRVAE, coordinate", partial(_rrvae, architecture="coordinate"), slow=True, placed=True
    ),
    "published": Method("RRVAE.published()", _published, slow=True, placed=True),
    "atomai": Method("AtomAI rVAE, defaults", peer=ATOMAI),
    "atomai-best": Method("AtomAI rVAE, best effort", peer=ATOMAI | BEST),
    "pyroved": Method("pyroVED iVAE, defaults", peer=PYROVED),
    "pyroved-best": Method("pyroVED iVAE, best effort", peer=PYROVED | BEST | {"noise": 2.0}),
    "plain-2": Method("VAE without rotation, 2 latents", partial(_plain, latent_dim=2)),
    "plain-8": Method("VAE without rotation, 8 latents", partial(_plain, latent_dim=8)),
    "pca-2": Method("PCA, 2 components", partial(_pca, components=2), seeded=False),
    "pca-20": Method("PCA, 20 components", partial(_pca, components=20), seeded=False),
    "nmf-2": Method("NMF, 2 components", partial(_nmf, components=2), seeded=False),
    "nmf-20": Method("NMF, 20 components", partial(_nmf, components=20), seeded=False),
    "spectra": Method("polar FFT moduli, PCA 2", partial(_spectra, components=2), seeded=False),
    "spectra-10": Method(
        "polar FFT moduli, PCA 10", partial(_spectra, components=10), seeded=False
    ),
    "bispectrum": Method(
        "bispectrum, PCA 2", partial(_bispectrum, components=2), seeded=False, placed=True
    ),
    "bispectrum-10": Method(
        "bispectrum, PCA 10", partial(_bispectrum, components=10), seeded=False, placed=True
    ),
    "zernike": Method("Zernike moduli, PCA 2", _zernike, seeded=False, placed=True),
    "symmetry": Method("2- to 12-fold and mirror scores", _symmetry, seeded=False),
    "com-dark": Method("COM + dark field", _com_dark, seeded=False, placed=True, disc=True),
}


def fit(train: np.ndarray, options: dict[str, Any]) -> worker.Fitted:
    method = METHODS[options["method"]]
    assert method.fit is not None
    more = {"max_epochs": options["epochs"]} if method.slow else {}
    if method.placed:
        more["geometry"] = options.get("geometry")
    return method.fit(train, options["seed"], **more)


if __name__ == "__main__":
    torch.set_num_threads(1)
    worker.run(fit, sys.argv[1], sys.argv[2])
