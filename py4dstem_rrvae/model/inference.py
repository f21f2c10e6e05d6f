# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model says of patterns."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Inference(NamedTuple):
    """What the model says of B patterns; d latents.

    Attributes
    ----------
    z, z_std : Tensor, shape (B, d)
        Mean of the approximate posterior, and by how much noise, or what the model lacks, moves it:
        the posterior's standard deviation times `LatentModel.spread`.
    angle, angle_std : Tensor, shape (B,)
        Turn in radians and its standard deviation (`angle.posterior`, times `angle_spread`).
    fold : Tensor of int64, shape (B,)
        Rotational order, of the decoded pattern as far as the data bear it out (`angle.fold`).
    error : Tensor, shape (B,)
        Root-mean-square residual at the best turn, in units of the model's noise.
    reliability : Tensor, shape (B,)
        Of the angle (`angle.reliability`).
    handedness : Tensor, shape (B,), or None
        Probability that the pattern is the mirror image of the decoded one (`mirror.MirrorRRVAE`);
        None from a model that knows no mirror.
    """

    z: Tensor
    z_std: Tensor
    angle: Tensor
    angle_std: Tensor
    fold: Tensor
    error: Tensor
    reliability: Tensor
    handedness: Tensor | None = None

    @property
    def mirrored(self) -> Tensor:
        """Whether `angle` is that of the mirror image, (B,)."""
        hand = torch.zeros_like(self.error) if self.handedness is None else self.handedness
        return hand > 0.5
