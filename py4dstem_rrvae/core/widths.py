# SPDX-License-Identifier: GPL-3.0-or-later
"""Widths of normal distributions from squares that were drawn from them."""

from __future__ import annotations

import torch
from torch import Tensor

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
    center, scale = features.mean(dim=0).double(), features.std(dim=0).double()
    # A feature that hardly varies here must not decide where it does.
    scale = scale.clamp(min=LEAST_SCALE * scale.square().mean().sqrt().item()).clamp(min=1e-12)
    inputs = (features - center) / scale
    squares = squares.double().clamp(min=LEAST_SQUARE)
    mean = squares.mean(dim=0)
    relative = squares / mean
    weight = torch.zeros(inputs.shape[1], squares.shape[1], dtype=torch.float64)
    weight = weight.to(features.device).requires_grad_()
    bias = torch.zeros_like(mean, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        log_variance = inputs @ weight + bias
        misfit = (log_variance + relative * torch.exp(-log_variance)).mean(dim=0).sum()
        value: Tensor = misfit + RIDGE * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    weight, bias = weight.detach() / scale[:, None], bias.detach() + mean.log()
    return weight.T.to(features), (bias - center @ weight).to(features)
