# SPDX-License-Identifier: GPL-3.0-or-later
"""The models there are, by name, and the bins that each works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from ..detector.bins import Grid, PolarGrid, SquareGrid
from .base import LatentModel
from .coordinate import CoordinateRRVAE, NoiseKind
from .mirror import MirrorRRVAE
from .rrvae import PolarRRVAE

Architecture = Literal["polar", "coordinate"]


@dataclass(frozen=True)
class Recipe:
    """What a model is made of; see `RRVAE` for the meaning of each."""

    latent_dim: int
    architecture: Architecture = "polar"
    mirror: bool = False
    angle_prior: float = 0.1
    noise: NoiseKind = "learned"
    intensity: str = "counts"
    fold_threshold: float = 0.002

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Recipe:
        """From the parameters of an `RRVAE`, which has more of them."""
        return cls(**{field.name: parameters[field.name] for field in fields(cls)})

    @property
    def grid(self) -> type[Grid]:
        """Kind of bins that the model works on."""
        return PolarGrid if self.architecture == "polar" else SquareGrid

    def build(
        self, weight: Tensor, dof: Tensor, seed: int = 0, electrons: Tensor | None = None
    ) -> LatentModel:
        """A new model.

        Parameters
        ----------
        weight : Tensor, shape (R, A)
            Share that is seen of each bin; the model is made on its device.
        dof : Tensor, shape (R,)
            Independent numbers in each ring.
        seed
            Of its layers.
        electrons : Tensor, shape (R,), or None
            Mean per bin of each ring, where they are known: the noise follows from them.
        """
        args = self.latent_dim, weight.cpu(), dof.cpu()
        model: LatentModel
        # torch initialises layers from the global generator, which is the user's.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.architecture == "coordinate":
                model = CoordinateRRVAE(*args, self.angle_prior, self.noise)
            else:
                kind = MirrorRRVAE if self.mirror else PolarRRVAE
                model = kind(*args, self.intensity == "counts")
                model.least_breaking = self.fold_threshold
        if electrons is not None:
            model.know_counts(electrons.cpu())
        return model.to(weight.device)
