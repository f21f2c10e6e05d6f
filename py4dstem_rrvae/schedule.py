# SPDX-License-Identifier: GPL-3.0-or-later
"""How an estimator trains, where nothing else is asked for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from .core.intensity import COUNTED
from .core.training import Schedule

if TYPE_CHECKING:
    from .estimator import RRVAE

# Steps of training. With 900 at a rate of 7e-3 one of eight trainings on 200 counts loses the
# second latent, with 700 at 1e-2 one of eight on graphene.
STEPS, LEARNING_RATE = {"polar": 1000, "coordinate": 1200}, {"polar": 8e-3, "coordinate": 1e-3}
# Adam's, for squared gradients: a shorter one than its usual 0.999 bears the higher rate of fewer
# steps (2,475 at 5e-3 before: repeatability of graphene's latents 0.8, 0.65; now 0.8, 0.85). The
# coordinate model loses a latent with it.
MEMORY = {"polar": 0.99, "coordinate": 0.999}
# At least, of the published model.
COORDINATE_EPOCHS = 45
# Fewer patterns than these get noise as strong as their own added in every step; the more there are
# above, the less, as 1/n. 336 positions of incoherent graphene are learned by heart otherwise (best
# epoch 38 to 101 of 200, with it 170 to 192), and 5 trainings of 10 lose the second latent (none
# with it, and the sites form cleaner clusters: median ARI 0.87 for 0.28). Falling as 1/sqrt(n), it
# cost the angles of a polycrystal of three grains (n = 1,360) a tenth.
FEW = 300


def schedule_of(estimator: RRVAE, n: int) -> Schedule:
    """How the estimator trains on n patterns."""
    kind = estimator.architecture
    epochs = math.ceil(STEPS[kind] / -(-n // estimator.batch_size))
    if kind == "coordinate":
        epochs = max(epochs, COORDINATE_EPOCHS)
    schedule = Schedule(
        estimator.max_epochs or epochs,
        estimator.batch_size,
        estimator.learning_rate or LEARNING_RATE[kind],
        estimator.beta,
        memory=MEMORY[kind],
    )
    if estimator.schedule == "constant":
        schedule = replace(schedule, rate="constant")
    # Of other scales the noise is not known before training.
    if kind == "polar" and estimator.intensity in COUNTED:
        schedule = replace(schedule, added_noise=min(1.0, FEW / n))
    return schedule
