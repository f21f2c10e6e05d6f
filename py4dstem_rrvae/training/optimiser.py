# SPDX-License-Identifier: GPL-3.0-or-later
"""Adam, and the pace at which it is led through a training.

Torch's function, not its class: that one, and torch's pace, which wants the class, import torch's
compiler first, which takes as long as a third of a training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.optim.adam import adam

# Share of the steps over which the learning rate rises.
RISE = 0.3


class Adam:
    """Adam (Kingma and Ba, 2015).

    Parameters
    ----------
    parameters
        What to train.
    beta2
        For squared gradients (its second beta).
    """

    def __init__(self, parameters: Sequence[Tensor], beta2: float) -> None:
        self.parameters, self.beta2 = [*parameters], beta2
        first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
        largest: list[Tensor] = []
        self.state = first, second, largest, [torch.zeros((), device=p.device) for p in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: float, momentum: float) -> None:
        """Move the parameters by their gradients, with a first beta of `momentum`."""
        plain = partial(adam, eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False, fused=True)
        plain(self.parameters, [*gradients], *self.state, lr=rate, beta1=momentum, beta2=self.beta2)


def one_cycle(step: int, total: int) -> tuple[float, float]:
    """Share of the largest learning rate, and momentum, in a step of the one-cycle schedule.

    From 1/25 up and down to 4e-6 in cosines, the momentum from 0.95 down to 0.85 and up
    (Smith and Topin, 2019, with torch's values).
    """
    top = RISE * total - 1
    low, way = 1 / 25, step / top
    if step > top:
        low, way = 4e-6, (total - 1 - step) / (total - 1 - top)
    height = (1 - math.cos(math.pi * way)) / 2
    return low + (1 - low) * height, 0.95 - 0.1 * height
