# SPDX-License-Identifier: GPL-3.0-or-later
"""Which latents tell something, and which come first."""

from __future__ import annotations

import torch
from torch import Tensor

from ..model.base import LatentModel
from .calibration import CHUNK, MOST, Redraw
from .loop import History

# A latent is not told from noise below this correlation between noise draws, and carries nothing
# below this spread. One of 0.3 has 0.6 when four positions are averaged.
LEAST_REPEATABILITY, LEAST_SPREAD = 0.3, 0.2


@torch.no_grad()
def settle_latents(model: LatentModel, held_out: Tensor, history: History, redraw: Redraw) -> None:
    """Switch off latents that carry noise or nothing, and put the most informative first.

    Repeatability is the correlation of z between two noise draws of the same patterns: its variance
    less that of noise, over itself.

    Parameters
    ----------
    model
        Trained; changed in place.
    held_out : Tensor, shape (n, R, A)
        Patterns that were not trained on.
    history
        Gets `repeatability` and `collapsed`.
    redraw
        As of `calibrate`.
    """
    z, kl = model.latent_summary(held_out)
    moved = torch.cat([_moved(model, x, redraw) for x in held_out[:MOST].split(CHUNK)])
    variance = z.var(dim=0, unbiased=False)
    repeatability = 1 - moved.square().mean(dim=0) / 2 / variance.clamp(min=1e-12)
    carries = (variance.sqrt() >= LEAST_SPREAD) & (repeatability >= LEAST_REPEATABILITY)
    order = torch.argsort(kl * carries, descending=True, stable=True)
    model.kept.copy_(carries.to(model.kept.dtype))
    model.order_latents(order)
    history.repeatability = repeatability[order].tolist()
    history.collapsed = (~carries[order]).tolist()


def _moved(model: LatentModel, x: Tensor, redraw: Redraw) -> Tensor:
    """By how much z (n, d) differs between two draws of what ``x (n, R, A)`` is decoded to."""
    one, two = redraw(model.typical(model.infer(x)), 2)
    return model.encode(one)[0] - model.encode(two)[0]
