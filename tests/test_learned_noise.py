# SPDX-License-Identifier: GPL-3.0-or-later
"""What a decoder learned from noise is found on other patterns and taken out of the angle."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.detector.transform import BinTransform
from py4dstem_rrvae.model import evidence


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["counts", "sqrt"])
def test_learned_noise_makes_the_turns_of_other_patterns_most_likely(kind):
    draw = {"size": 32, "counts": 300, "orders": (1, 2, 3)}
    train, other = (synthetic.folds(600, random_state=seed, **draw).frames for seed in (0, 1))
    estimator = RRVAE(intensity=kind, max_epochs=20, random_state=0, progress=False, device="cpu")
    fitted = estimator.fit(train).fitted_
    x = fitted.intensity(BinTransform(fitted.detector, fitted.grid, mean=fitted.mean)(other))
    model = fitted.model

    def likely(noise):
        model.learned_noise.fill_(noise)
        with torch.no_grad():
            return model.turn_evidence(x, model.decode(model.encode(x)[0])).mean().item()

    found = model.learned_noise.item()
    assert 0 < found < 1
    assert likely(found) > max(likely(0.0), likely(4 * found))


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


@pytest.mark.slow
def test_angles_at_few_counts_are_better_without_it():
    draw = {"size": 32, "counts": 100, "orders": (1, 2, 3)}
    options = {"background": "mean", "max_epochs": 20, "progress": False, "device": "cpu"}
    train = synthetic.folds(600, **draw).frames
    truth = synthetic.folds(2000, random_state=1, **draw)

    def error(model):
        codes = model.encode(truth.frames)
        ratio = truth.angle_error(np.where(codes.fold > 0, codes.angle, 0.0)) / truth.bound
        return np.nanmedian(ratio[truth.fold == 1])

    def without_and_with(seed):
        estimator = RRVAE(random_state=seed, **options).fit(train)
        noisy = copy.deepcopy(estimator)
        noisy.fitted_.model.learned_noise.zero_()
        return error(estimator), error(noisy)

    errors = np.array([without_and_with(seed) for seed in range(3)])
    assert np.median(errors[:, 0]) < 0.8
    assert np.median(errors[:, 0] / errors[:, 1]) < 0.9


def test_another_scan_measures_its_own(trained, unseen):
    other = copy.deepcopy(trained)
    model = copy.deepcopy(trained.fitted_.model)
    model.learned_noise.fill_(0.9)
    other.fitted_ = replace(trained.fitted_, model=model)
    codes = [e.encode(unseen.frames, background="refit") for e in (trained, other)]
    np.testing.assert_allclose(codes[0].angle_std, codes[1].angle_std, rtol=0.02)
