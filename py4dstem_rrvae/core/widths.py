# SPDX-License-Identifier: GPL-3.0-or-later
"""Widths of normal distributions from squares that were drawn from them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

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
    inputs = features.double().cpu().numpy()
    center, scale = inputs.mean(axis=0), inputs.std(axis=0)
    # A feature that hardly varies here must not decide where it does.
    scale = scale.clip(max(LEAST_SCALE * np.sqrt(np.square(scale).mean()), 1e-12))
    inputs = np.column_stack([(inputs - center) / scale, np.ones(len(inputs))])
    relative = squares.double().clamp(min=LEAST_SQUARE).cpu().numpy()
    mean = relative.mean(axis=0)
    layer = np.column_stack([_log_variances(inputs, column) for column in (relative / mean).T])
    weight = layer[:-1] / scale[:, None]
    bias = layer[-1] + np.log(mean) - center @ weight
    return torch.from_numpy(weight.T).to(features), torch.from_numpy(bias).to(features)


def _log_variances(inputs: FloatArray, squares: FloatArray) -> FloatArray:
    """Weights (F + 1,), of which the last, the bias, has no ridge."""

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        log_variance = inputs @ weights
        misfit = squares * np.exp(-log_variance)
        ridge = RIDGE * np.append(weights[:-1], 0)
        slope = inputs.T @ (1 - misfit) / len(inputs)
        return float((log_variance + misfit).mean() + ridge @ weights), slope + 2 * ridge

    start = np.zeros(inputs.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    weights: FloatArray = found.x
    return weights
