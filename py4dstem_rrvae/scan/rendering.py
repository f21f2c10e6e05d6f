# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes back into patterns on the detector."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..detector.intensity import COUNTED
from ..threads import torch_as_it_comes
from ..training.fitted import Fitted
from .encoding import CHUNK


@torch_as_it_comes()
def render(
    fitted: Fitted, z: NDArray[Any], theta: NDArray[Any], mirrored: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Expected patterns (n, H, W) of latents ``z (n, d)`` at the model's turns ``theta (n,)``."""
    operator = fitted.renderer
    independent = operator.dof / operator.grid.shape[1]
    gain = fitted.intensity.gain

    def frames(polar: Tensor) -> Tensor:
        # Spread evenly over each bin's pixels, a sharp disc comes out blurred.
        counts = fitted.intensity.kind in COUNTED
        return gain * operator.unfold(polar / gain) if counts else operator.render(polar)

    model = copy.deepcopy(fitted.model).to("cpu")
    inputs = torch.tensor(z).float(), torch.tensor(theta).float(), torch.tensor(mirrored)
    with torch.inference_mode():
        parts = [
            frames(fitted.intensity.expected(model.expected(*part), independent))
            for part in zip(*(p.split(CHUNK) for p in inputs), strict=True)
        ]
    rendered: NDArray[np.float64] = torch.cat(parts).double().numpy()
    return rendered
