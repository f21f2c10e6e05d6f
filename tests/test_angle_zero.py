# SPDX-License-Identifier: GPL-3.0-or-later
"""The zero of the angle: the direction of the centre of mass of what turns."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from py4dstem_rrvae.detector.bins import PolarGrid
from py4dstem_rrvae.detector.intensity import Intensity
from py4dstem_rrvae.model.inference import Inference
from py4dstem_rrvae.training.angle_zero import angle_offset

GRID = PolarGrid(8.0, 8, 64)
LINEAR = Intensity("linear", torch.ones(()))


@dataclass
class Oracle:
    """Knows how its patterns are turned; its zero is off by `zero`."""

    turns: torch.Tensor
    zero: float = 0.0
    weight = torch.ones(GRID.shape)

    def infer(self, _):
        one = torch.ones(len(self.turns))
        turns = self.turns - self.zero
        return Inference(one[:, None], one[:, None], turns, one, one.long(), one, one)


def patterns(turns, fixed):
    """A spot that turns, on a ring that does not, beside one that is fixed to the detector."""
    phi = torch.arange(64) * (2 * np.pi / 64)
    x = torch.ones(len(turns), *GRID.shape)
    x[:, 5] += 5 * torch.exp(4 * torch.cos(phi - turns[:, None]) - 4)
    x[:, 6, 16] += fixed
    return x


def zero_of(model, x):
    return angle_offset(model, x, [model.infer(x)], LINEAR, GRID)


@pytest.mark.parametrize("fixed", [0.0, 200.0])
@pytest.mark.parametrize("zero", [0.0, 2.0])
def test_what_does_not_turn_does_not_draw_the_zero(fixed, zero):
    # Turns of a quarter of the circle: of all of it, what is fixed would cancel by itself.
    turns = torch.linspace(-np.pi / 4, np.pi / 4, 41)
    found = zero_of(Oracle(turns, zero), patterns(turns, fixed))
    assert found == pytest.approx(zero, abs=0.02)


def test_without_a_direction_there_is_no_zero_to_find():
    class Round(Oracle):
        def infer(self, x):
            seen = super().infer(x)
            seen.fold.zero_()
            return seen

    turns = torch.zeros(5)
    assert zero_of(Round(turns), patterns(turns, 0)) == 0
