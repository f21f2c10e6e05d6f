# SPDX-License-Identifier: GPL-3.0-or-later
"""What a decoder learned from noise is found on other patterns and taken out of the angle."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.core import evidence


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def promise_and_gain(noise, n=4000):
    """Of templates (n, 6, 15) with a signal in order 3 and so much noise in each order, in nats."""
    truth = torch.zeros(n, 6, 15, dtype=torch.complex128)
    truth[:, :, 3] = 3.0
    # Real and imaginary parts on 6 rings.
    added = torch.complex(normal(n, 6, 15, seed=1), normal(n, 6, 15, seed=2)) * (noise / 12) ** 0.5
    template = truth + added
    pattern = torch.fft.irfft(truth, n=32, norm="ortho") + normal(n, 6, 32)
    residual = pattern - torch.fft.irfft(template, n=32, norm="ortho")
    weight, theta = torch.ones(6, 32).double(), torch.zeros(n).double()
    gain = evidence.gain_by_order(residual, template, theta, weight)
    return (template * template.conj()).real.sum(dim=1), gain


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_learned_noise_is_what_orders_promise_and_do_not_keep(noise):
    found = evidence.learned_noise(*promise_and_gain(noise)).item()
    # Noise promises its size and costs it instead. Of the weaker half, 0.7 of the average.
    assert found == pytest.approx(2 * 0.7 * noise, rel=0.1, abs=0.02)


def test_learned_noise_has_a_limit():
    assert evidence.learned_noise(*promise_and_gain(8.0)).item() == evidence.MOST_LEARNED_NOISE


def test_orders_keep_the_share_of_their_promise():
    harmonics = torch.zeros(1, 2, 4, dtype=torch.complex128)
    harmonics[0, :, 0] = 0.1
    harmonics[0, :, 1] = torch.tensor([1j, 2.0])
    harmonics[0, 0, 2] = 0.3
    variance = torch.tensor([1.0, 4.0]).double()
    got = harmonics * evidence.kept_share(harmonics, variance, torch.tensor(0.5))
    # Order 1 promises 1 / 1 + 4 / 4 nats, order 2 only 0.09; order 0 has no angle.
    np.testing.assert_allclose(got[..., 0], harmonics[..., 0])
    np.testing.assert_allclose(got[..., 1], 0.75 * harmonics[..., 1])
    assert (got[..., 2:] == 0).all()
    all_of_it = evidence.kept_share(harmonics, variance, torch.tensor(0.0))
    assert (all_of_it == 1).all()
    half = harmonics * evidence.kept_share(harmonics, variance, torch.tensor(0.5), 0.5)
    np.testing.assert_allclose(half[..., 1], math.sqrt(0.75) * harmonics[..., 1])


def test_training_sees_the_decoder_as_it_is(trained):
    model = copy.deepcopy(trained.fitted_.model)
    z = torch.zeros(3, model.latent_dim)
    with torch.no_grad():
        seen, trained_on = model.decode(z), model.train().decode(z)
    assert model.learned_noise > 0
    assert (seen.abs() <= trained_on.abs() + 1e-6).all()
    assert not torch.allclose(seen, trained_on, rtol=1e-3)


@pytest.mark.xfail(
    strict=True,
    reason="with counting noise by bin the correction gains 8 % where it gained 30 %; the angle is "
    "0.86 of the bound, 0.73 with square roots before",
)
def test_angles_at_few_counts_are_better_without_it():
    draw = {"size": 32, "counts": 100, "orders": (1, 2, 3)}
    options = {"background": "mean", "max_epochs": 20, "progress": False, "device": "cpu"}
    estimator = RRVAE(random_state=0, **options).fit(synthetic.folds(600, **draw).frames)
    noisy = copy.deepcopy(estimator)
    noisy.fitted_.model.learned_noise.zero_()
    truth = synthetic.folds(2000, random_state=1, **draw)

    def ratio(model):
        codes = model.encode(truth.frames)
        error = truth.angle_error(np.where(codes.fold > 0, codes.angle, 0.0)) / truth.bound
        return np.nanmedian(error[truth.fold == 1])

    assert ratio(estimator) < 0.85 * ratio(noisy)


def test_another_scan_measures_its_own(trained, unseen):
    other = copy.deepcopy(trained)
    model = copy.deepcopy(trained.fitted_.model)
    model.learned_noise.fill_(0.9)
    other.fitted_ = replace(trained.fitted_, model=model)
    codes = [e.encode(unseen.frames, background="refit") for e in (trained, other)]
    np.testing.assert_allclose(codes[0].angle_std, codes[1].angle_std, rtol=0.02)
