# SPDX-License-Identifier: GPL-3.0-or-later
"""How many latents a scan carries: models of several sizes on one sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .device import within_device_memory
from .estimator import RRVAE
from .model.base import LatentModel
from .options import check_options
from .scan.preparing import Prepared
from .training.loop import split

FloatArray = NDArray[np.float64]

SAMPLES = 32
"""Draws of z for each pattern's likelihood."""
LEAST_PATTERNS = 64
LEAST_GAIN = 2.0
"""Paired standard errors that a likelihood has to rise by for another latent to count."""
LEAST_SHARE = 0.02
"""And the share of the whole rise, since training itself does not end in one place."""


@dataclass(frozen=True)
class LatentDim:
    """What a model of one size makes of patterns that it was not trained on.

    Attributes
    ----------
    latent_dim : int
        Latents of the model.
    log_likelihoods : ndarray, shape (n,)
        Of each test pattern, in nats; the same patterns for every model of a comparison.
    kl : tuple of float
        Mean KL divergence of each latent over the test patterns, in nats, most informative first; 0
        where it is switched off.
    collapsed : tuple of bool
        Per latent, whether it was switched off.
    """

    latent_dim: int
    log_likelihoods: FloatArray
    kl: tuple[float, ...]
    collapsed: tuple[bool, ...]

    @property
    def log_likelihood(self) -> float:
        """Mean over the test patterns, in nats per pattern."""
        return float(self.log_likelihoods.mean())

    @property
    def standard_error(self) -> float:
        """Of `log_likelihood` over the test patterns, in nats."""
        return _standard_error(self.log_likelihoods)

    @property
    def live(self) -> int:
        """Latents that are not switched off."""
        return sum(not gone for gone in self.collapsed)

    def gain(self, other: LatentDim) -> tuple[float, float]:
        """Rise of the likelihood over `other` and its standard error, in nats per pattern.

        The difference is taken pattern by pattern: patterns differ far more than models do.
        """
        difference = self.log_likelihoods - other.log_likelihoods
        return float(difference.mean()), _standard_error(difference)


@within_device_memory()
def latent_dims(frames: Any, dims: Sequence[int] = (1, 2, 3, 4), **options: Any) -> list[LatentDim]:
    """Train one model of each size on the same sample, and test all on the same patterns.

    The data is read once, whatever the number of sizes.

    Parameters
    ----------
    frames : array-like of shape (..., H, W) or (n, pixels), or Frames
        At least 64 patterns.
    dims
        Numbers of latents, each at least 1, rising.
    **options
        Options of `RRVAE` other than `latent_dim`.

    Returns
    -------
    list of LatentDim
        In the order of `dims`; `enough` picks one.

    Raises
    ------
    TypeError, ValueError
        If the sizes, an option or the patterns cannot be used.
    MemoryError
        If the device's memory is too small.

    Notes
    -----
    15 % of the sample is set aside for the test; training splits the rest as `RRVAE.fit` does. The
    likelihood is the importance-weighted bound on ``log p(x)`` (Burda et al., ICLR 2016) with 32
    samples of z.
    """
    estimators = _estimators(dims, options)
    prepared = estimators[-1]._prepare(frames, LEAST_PATTERNS, "latent_dims")
    rest, test = split(prepared.stabilised, torch.Generator().manual_seed(prepared.seed))
    return [_compared(each, prepared, rest, test) for each in estimators]


def enough(results: Sequence[LatentDim]) -> LatentDim:
    """The smallest model that no larger one beats.

    To beat it takes more latents that are not switched off, and a likelihood that is higher by more
    than two paired standard errors and 2 % of the rise from the worst to the best model.

    Raises
    ------
    ValueError
        If there are no results.
    """
    if not results:
        raise ValueError("enough needs at least one result; got none")
    means = [one.log_likelihood for one in results]
    least = LEAST_SHARE * (max(means) - min(means))
    ordered = sorted(results, key=lambda one: one.latent_dim)
    for k, one in enumerate(ordered):
        gains = [other.gain(one) for other in ordered[k + 1 :] if other.live > one.live]
        if all(rise <= max(LEAST_GAIN * error, least) for rise, error in gains):
            return one
    return ordered[-1]


def _estimators(dims: Sequence[int], options: dict[str, Any]) -> list[RRVAE]:
    if "latent_dim" in options:
        raise TypeError("latent_dims takes dims instead of latent_dim; got both")
    dims = list(dims)
    if not dims or any(b <= a for a, b in pairwise(dims)):
        raise ValueError(f"dims must be rising numbers of latents; got {dims}")
    estimators = [RRVAE(dim, **options) for dim in dims]
    for estimator in estimators:
        check_options(estimator.get_params())
    return estimators


def _compared(estimator: RRVAE, prepared: Prepared, rest: Tensor, test: Tensor) -> LatentDim:
    chance = torch.Generator().manual_seed(prepared.seed)
    model, history, _ = estimator._train(replace(prepared, stabilised=rest), chance)
    with torch.no_grad():
        _, kl = model.latent_summary(test)
        likelihoods = [log_likelihoods(model, x, chance) for x in test.split(256)]
    return LatentDim(
        estimator.latent_dim,
        torch.cat(likelihoods).cpu().double().numpy(),
        tuple(kl.tolist()),
        tuple(history.collapsed),
    )


@torch.no_grad()
def log_likelihoods(
    model: LatentModel, x: Tensor, generator: torch.Generator, samples: int = SAMPLES
) -> Tensor:
    """Importance-weighted bound on ``log p(x)``, shape (B,), of stabilised patterns (B, R, A)."""
    shape = len(x), model.noise_dim
    weights = [
        model.log_weight(x, torch.randn(shape, generator=generator).to(x.device))
        for _ in range(samples)
    ]
    bound: Tensor = torch.stack(weights).logsumexp(dim=0) - math.log(samples)
    return bound


def _standard_error(values: FloatArray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))
