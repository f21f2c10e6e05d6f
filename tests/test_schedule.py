# SPDX-License-Identifier: GPL-3.0-or-later
"""How an estimator trains where nothing else is asked for."""

import pytest

from py4dstem_rrvae import RRVAE
from py4dstem_rrvae.training.defaults import schedule_of


@pytest.mark.parametrize("n", [50, 640, 3482])
def test_steps_are_a_thousand_whatever_the_sample(n):
    schedule = schedule_of(RRVAE().get_params(), n)
    steps = -(-n // schedule.batch_size)
    assert 1000 <= steps * schedule.max_epochs < 1000 + steps


@pytest.mark.parametrize(("n", "noise"), [(20, 1.0), (300, 1.0), (1200, 0.25), (30_000, 0.0)])
def test_the_more_patterns_the_less_noise_is_added(n, noise):
    assert schedule_of(RRVAE().get_params(), n).added_noise == pytest.approx(noise)


@pytest.mark.parametrize(
    "estimator",
    [RRVAE(intensity="linear"), RRVAE(architecture="coordinate"), RRVAE.published()],
    ids=["unknown noise", "coordinate", "published"],
)
def test_no_noise_is_added_where_it_is_unknown_or_not_as_published(estimator):
    assert schedule_of(estimator.get_params(), 100).added_noise == 0


def test_options_come_before_defaults():
    estimator = RRVAE(max_epochs=7, batch_size=20, learning_rate=0.5, beta=2.0, schedule="constant")
    schedule = schedule_of(estimator.get_params(), 100)
    assert (schedule.max_epochs, schedule.batch_size) == (7, 20)
    assert (schedule.learning_rate, schedule.beta) == (0.5, 2.0)
    assert schedule.rate == "constant"
