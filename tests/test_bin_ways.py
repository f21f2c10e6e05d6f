# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ways into the bins cost the angle, as `python -m benchmarks.polar` prints it."""

import numpy as np
import pytest

from benchmarks import polar
from benchmarks.scores import angle_error_over_bound
from py4dstem_rrvae import synthetic
from py4dstem_rrvae.detector import bin_operator


@pytest.mark.slow
def test_parts_of_pixels_pay_and_splines_cost_the_angle_nothing():
    parts = " ".join(map(str, bin_operator.SPLITS))
    truth = synthetic.lobes(200, size=polar.SIZE, counts=5000)
    cost = {
        name: np.mean(angle_error_over_bound(truth, polar.angles(truth, way)))
        for name, way in polar.WAYS.items()
    }
    best = f"parts {parts}"
    assert cost[f"summed, degree 2, {best}"] < 0.75
    assert cost[f"summed, degree 2, {best}"] < 1.1 * cost[f"summed, degree 0, {best}"]
    assert cost["summed, degree 2, parts 1 1 1 1"] > 3 * cost[f"summed, degree 2, {best}"]
