# SPDX-License-Identifier: GPL-3.0-or-later
"""Model sizes on one sample: the likelihood, the reading, the elbow."""

import math

import numpy as np
import pytest
import torch

from py4dstem_rrvae import Frames, latent_dims, synthetic
from py4dstem_rrvae.model.base import LatentModel
from py4dstem_rrvae.plot import latent_dims_figure
from py4dstem_rrvae.selection import LatentDim, enough, log_likelihoods

TRAIN = {"random_state": 0, "progress": False, "device": "cpu", "background": "mean"}
QUICK = TRAIN | {"max_epochs": 2, "batch_size": 32}


@pytest.fixture(scope="module")
def compared():
    """Sizes of a set with two independent deformations; leave them as they are."""
    frames = synthetic.two_deformations(700, size=20, counts=5000)[0].frames
    return latent_dims(frames, (1, 2, 3), **TRAIN | {"max_epochs": 16, "batch_size": 32})


@pytest.mark.slow
def test_two_deformations_take_two_latents(compared):
    assert enough(compared).latent_dim == 2
    rise, error = compared[1].gain(compared[0])
    assert rise > 5 * error
    beyond, _ = compared[2].gain(compared[1])
    assert beyond < 0.1 * rise


@pytest.mark.slow
def test_what_is_reported(compared):
    for dim, one in enumerate(compared, 1):
        assert (one.latent_dim, len(one.kl), len(one.collapsed)) == (dim, dim, dim)
        assert one.log_likelihoods.shape == (105,)
        assert one.log_likelihood == one.log_likelihoods.mean()
        assert one.standard_error == pytest.approx(one.log_likelihoods.std(ddof=1) / 105**0.5)
        assert all(kl == 0 for kl, gone in zip(one.kl, one.collapsed, strict=True) if gone)
        assert list(one.kl) == sorted(one.kl, reverse=True)


class Linear(LatentModel):
    """x = a z + noise, whose likelihood is known, with an encoder that is too wide."""

    slope, width = 2.0, 1.5

    def encode(self, x):
        mean = x * self.slope / (self.slope**2 + 1)
        return mean, torch.full_like(x, math.log(self.width / (self.slope**2 + 1)))

    def elbo_terms(self, x, noise):
        mean, log_variance = self.encode(x)
        z = mean + (0.5 * log_variance).exp() * noise
        return torch.distributions.Normal(self.slope * z, 1.0).log_prob(x)[:, 0], None


@pytest.mark.slow
def test_the_likelihood_is_the_marginal_one():
    x = torch.linspace(-4, 4, 9, dtype=torch.float64)[:, None]
    model = Linear(1, torch.ones(1, 1), torch.ones(1), torch.ones(()))
    found = log_likelihoods(model, x, torch.Generator().manual_seed(0), samples=4000)
    exact = torch.distributions.Normal(0.0, math.sqrt(model.slope**2 + 1)).log_prob(x)[:, 0]
    torch.testing.assert_close(found, exact, atol=0.03, rtol=0)


def test_the_patterns_are_read_as_often_for_three_sizes_as_for_one(monkeypatch):
    frames = Frames(synthetic.lobes(100, size=16).frames, center=(7.5, 7.5))
    reads = []
    walk = Frames.walk
    monkeypatch.setattr(Frames, "walk", lambda self, *a: reads.append(1) or walk(self, *a))
    latent_dims(frames, (1, 2, 3), **QUICK)
    assert len(reads) == 1


def test_the_same_seed_gives_the_same_numbers():
    frames = synthetic.lobes(100, size=16).frames
    first, second = (latent_dims(frames, (1,), **QUICK)[0] for _ in range(2))
    np.testing.assert_array_equal(first.log_likelihoods, second.log_likelihoods)


def result(dim, mean, live=None):
    pattern = np.random.default_rng(0).normal(0, 50, 200)
    noise = np.random.default_rng(dim).normal(0, 0.5, 200)
    live = dim if live is None else live
    gone = tuple(k >= live for k in range(dim))
    return LatentDim(dim, pattern + noise + mean, tuple(float(not g) for g in gone), gone)


def test_enough_is_the_smallest_that_none_beats():
    assert enough([result(1, 0), result(2, 10), result(3, 10.05), result(4, 9)]).latent_dim == 2
    assert enough([result(1, 0), result(2, 10), result(3, 20)]).latent_dim == 3
    assert enough([result(2, 10), result(1, 0)]).latent_dim == 2
    assert enough([result(1, 0), result(2, 9, live=1)]).latent_dim == 1


@pytest.mark.slow
def test_the_figure_shows_every_size_and_latent(compared):
    figure = latent_dims_figure(compared, title="two")
    rise, worth = figure.axes
    np.testing.assert_array_equal(rise.lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(rise.lines[0].get_ydata()[1], compared[1].gain(compared[0])[0])
    assert len(worth.lines) == 6
    assert [line.get_markerfacecolor() for line in worth.lines].count("none") == sum(
        len(one.collapsed) - one.live for one in compared
    )
    with pytest.raises(ValueError, match="at least one model"):
        latent_dims_figure([])


def test_two_deformations_are_independent_and_of_one_class():
    drawn, second = synthetic.two_deformations(500, size=16)
    assert abs(np.corrcoef(drawn.deformation, second)[0, 1]) < 0.15
    assert set(drawn.fold) == {3}
    assert drawn.frames.shape == (500, 16, 16)
    middle = drawn.frames[:, 6:10, 6:10].sum(axis=(1, 2))
    assert np.corrcoef(middle, second)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("dims", "options", "error", "message"),
    [
        ((), {}, ValueError, r"rising numbers of latents; got \[\]"),
        ((2, 1), {}, ValueError, "rising numbers of latents"),
        ((0, 1), {}, ValueError, "latent_dim must be a whole number of at least 1; got 0"),
        ((1,), {"latent_dim": 2}, TypeError, "dims instead of latent_dim"),
        ((1,), {"epochs": 2}, TypeError, "epochs"),
    ],
)
def test_refusals(dims, options, error, message):
    with pytest.raises(error, match=message):
        latent_dims(synthetic.lobes(80, size=16).frames, dims, **options)


def test_too_few_patterns():
    with pytest.raises(ValueError, match="at least 64 patterns; got 20"):
        latent_dims(synthetic.lobes(20, size=16).frames)


def test_nothing_is_enough_of_nothing():
    with pytest.raises(ValueError, match="at least one result; got none"):
        enough([])
