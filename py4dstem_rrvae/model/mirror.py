# SPDX-License-Identifier: GPL-3.0-or-later
"""The model to which a pattern and its mirror image are one: turns and mirrors, O(2).

``x = background + turn(mirror^h(decoder(z)), theta) + noise`` with a hand h of 0 or 1, as likely
beforehand. Background, mask and noise belong to the detector, which no mirror turns over.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import angle
from .rrvae import PolarRRVAE


class MirrorRRVAE(PolarRRVAE):
    """`PolarRRVAE` that takes a pattern and its mirror image for one.

    What it infers: `handedness` is the probability that the pattern is the mirror image of the
    decoded one. Which of two twins is the mirror image is a convention of the trained model. Where
    the decoded pattern is its own mirror image, as far as noise lets one tell, the hands fit alike
    and it is 0.5. The angle is that of the mirror image where `handedness` is above 0.5, else that
    of the decoded pattern. Parameters as `PolarRRVAE`.
    """

    both_hands = True

    def _log_evidence(self, x: Tensor, harmonics: Tensor) -> Tensor:
        """Log-likelihood of either hand, less its normalisation, (2, B); the mirrored one last."""
        return super()._log_marginal(x, torch.stack([harmonics, harmonics.conj()]))

    def _log_marginal(self, x: Tensor, harmonics: Tensor) -> Tensor:
        return self._log_evidence(x, harmonics).logsumexp(dim=0) - math.log(2)

    def _choose_hand(self, x: Tensor, harmonics: Tensor) -> tuple[Tensor, Tensor | None]:
        plain, mirrored = self._log_evidence(x, harmonics)
        handedness = torch.sigmoid(mirrored - plain)
        same = angle.achiral(harmonics / self.noise_variance.sqrt()[:, None])
        handedness = torch.where(same, torch.full_like(handedness, 0.5), handedness)
        return angle.mirrored_where(handedness > 0.5, harmonics), handedness
