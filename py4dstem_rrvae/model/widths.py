# SPDX-License-Identifier: GPL-3.0-or-later
"""Widths of normal distributions from squares that were drawn from them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from ..threads import one_thread

FloatArray = NDArray[np.float64]

# Keeps the layer near one width for all where there are few squares.
RIDGE = 1e-2
LEAST_SQUARE = 1e-12
# Of the features' root-mean-square standard deviation.
LEAST_SCALE = 0.1
STEPS = 50


def log_variance_layer(features: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Linear layer of log-variances under which squared normal deviations are most probable.

    Parameters
    ----------
    features : Tensor, shape (n, F)
    squares : Tensor, shape (n, d)
        Squared deviations.

    Returns
    -------
    weight : Tensor, shape (d, F)
    bias : Tensor, shape (d,)
    """
    # In main memory: Apple's devices have no doubles.
    inputs = features.cpu().double()
    center, scale = inputs.mean(dim=0), inputs.std(dim=0)
    # A feature that hardly varies here must not decide where it does.
    scale = scale.clamp(min=LEAST_SCALE * scale.square().mean().sqrt().item()).clamp(min=1e-12)
    inputs = torch.cat([(inputs - center) / scale, inputs.new_ones(len(inputs), 1)], dim=1)
    squares = squares.cpu().double().clamp(min=LEAST_SQUARE)
    mean = squares.mean(dim=0)
    layer = torch.stack([_log_variances(inputs, column) for column in (squares / mean).T], dim=1)
    weight = layer[:-1] / scale[:, None]
    bias = layer[-1] + mean.log() - center @ weight
    weight, bias = weight.T.to(features.dtype), bias.to(features.dtype)
    return weight.to(features.device), bias.to(features.device)


def _log_variances(inputs: Tensor, squares: Tensor) -> Tensor:
    """Weights (F + 1,), of which the last, the bias, has no ridge."""

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        layer = torch.from_numpy(weights)
        log_variance = inputs @ layer
        misfit = squares * torch.exp(-log_variance)
        ridge = RIDGE * layer
        ridge[-1] = 0
        slope = (1 - misfit) @ inputs / len(inputs) + 2 * ridge
        return ((log_variance + misfit).mean() + ridge @ layer).item(), slope.numpy()

    start, options = np.zeros(inputs.shape[1]), {"maxiter": STEPS}
    with one_thread():  # a second one takes longer to wake than such products last
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    return torch.from_numpy(found.x)
