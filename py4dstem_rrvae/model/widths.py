# SPDX-License-Identifier: GPL-3.0-or-later
"""Widths of normal distributions from squares that were drawn from them."""

from __future__ import annotations

import torch
from torch import Tensor

# Keeps the layer near one width for all where there are few squares.
RIDGE = 2e-2
LEAST_SQUARE = 1e-12
# Of the features' root-mean-square standard deviation.
LEAST_SCALE = 0.1


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
    from sklearn.linear_model import GammaRegressor  # 0.2 s

    # In main memory: Apple's devices have no doubles.
    inputs = features.cpu().double()
    center, scale = inputs.mean(dim=0), inputs.std(dim=0)
    # A feature that hardly varies here must not decide where it does.
    scale = scale.clamp(min=LEAST_SCALE * scale.square().mean().sqrt().item()).clamp(min=1e-12)
    inputs = (inputs - center) / scale
    squares = squares.cpu().double().clamp(min=LEAST_SQUARE)
    mean = squares.mean(dim=0)
    # The square of a normal deviation is a gamma variable whose mean is the variance.
    fits = [
        GammaRegressor(alpha=RIDGE, solver="newton-cholesky").fit(inputs.numpy(), column.numpy())
        for column in (squares / mean).T
    ]
    weight = torch.stack([torch.from_numpy(fit.coef_) for fit in fits]) / scale
    bias = mean.log() - weight @ center + torch.tensor([fit.intercept_ for fit in fits])
    return weight.to(features), bias.to(features)
