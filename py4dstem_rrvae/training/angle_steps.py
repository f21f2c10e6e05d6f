# SPDX-License-Identifier: GPL-3.0-or-later
"""Angles that differ by turns which the patterns nearly keep.

A crystal that bends leans its pattern in another direction from place to place. Where the pattern
nearly has a symmetry, the angle then takes one of few values, and its map looks like one of grains.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..model.inference import Inference

# Symmetries that a crystal's pattern may nearly have.
CRYSTAL = (2, 3, 4, 6)
# Angles agree modulo a turn where the length of the mean of their unit vectors is at least this.
AGREE = 0.95
# A turn nearly keeps the patterns where their median reliability is below this.
NEARLY = 0.3
# Share of the patterns that have another than the most frequent of the angles.
OTHERS = 0.1


def angle_steps(parts: Sequence[Inference]) -> tuple[int, float] | None:
    """Symmetry by whose turns angles differ, of patterns that nearly have it; else None.

    Its fold (the angles are multiples of ``2 pi / fold`` apart), and the median reliability of the
    patterns that have an angle.
    """
    folds, theta, reliability = (
        torch.cat([getattr(part, name) for part in parts]).cpu()
        for name in ("fold", "angle", "reliability")
    )
    defined = folds > 0
    if not bool(defined.any()) or reliability[defined].median() > NEARLY:
        return None
    doubtful = defined & (reliability <= NEARLY)
    theta, folds = theta[doubtful], folds[doubtful]
    for fold in CRYSTAL:
        mean = torch.exp(1j * fold * theta).mean()
        # Of patterns that have the symmetry, it leaves no choice.
        broken = (fold % folds == 0) & (folds < fold)
        if mean.abs() < AGREE or not bool(broken.any()):
            continue
        turns = (theta[broken] * fold - torch.angle(mean)) / (2 * torch.pi)
        _, counts = turns.round().remainder(fold).unique(return_counts=True)
        if counts.max() < (1 - OTHERS) * counts.sum():
            return fold, float(reliability[defined].median())
    return None
