# SPDX-License-Identifier: GPL-3.0-or-later
"""How a model is trained where nothing else is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..detector.intensity import COUNTED
from .loop import Schedule

MIN_PATTERNS = 8
# Of the detector, in polar bins: on 8 x 8 the angle is off by two to four times its bound.
MIN_PIXELS = 80
# Steps of training. Some fewer, at a rate to match, lose the second latent in one training of eight
# on patterns of 200 counts.
STEPS = {"polar": 1000, "coordinate": 1200}
LEARNING_RATE = {"polar": 8e-3, "coordinate": 1e-3}
# A shorter memory of squared gradients than Adam's usual bears the higher rate of fewer steps; the
# coordinate model loses a latent with it.
BETA2 = {"polar": 0.99, "coordinate": 0.999}
# At least, of the published model.
COORDINATE_EPOCHS = 45
# Fewer patterns than these get noise as strong as their own added in every step, or they are
# learned by heart; the more there are above, the less, as 1/n.
FEW = 300
# Less than this much is left out. So many draws of the noise are added again and again.
LEAST_ADDED, NOISES = 0.1, 512


def schedule_of(options: Mapping[str, Any], n: int) -> Schedule:
    """How n patterns are trained on, by the options of `RRVAE`."""
    kind, batch_size = options["architecture"], options["batch_size"]
    epochs = math.ceil(STEPS[kind] / math.ceil(n / batch_size))
    if kind == "coordinate":
        epochs = max(epochs, COORDINATE_EPOCHS)
    # Of other scales the noise is not known before training.
    known = kind == "polar" and options["intensity"] in COUNTED
    added = min(1.0, FEW / n)
    added = added if known and added >= LEAST_ADDED else 0.0
    rate, pace = options["learning_rate"] or LEARNING_RATE[kind], options["schedule"]
    epochs = options["max_epochs"] or epochs
    return Schedule(epochs, batch_size, rate, options["beta"], pace, BETA2[kind], added)
