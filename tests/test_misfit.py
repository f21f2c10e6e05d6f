# SPDX-License-Identifier: GPL-3.0-or-later
"""Error bars of patterns that the model cannot explain."""

import copy
import math

import numpy as np
import pytest
import torch
from estimators import COMMON

from benchmarks.misfit import TWO, speckled
from benchmarks.uncertainty import angle_deviations, coverage
from py4dstem_rrvae import RRVAE
from py4dstem_rrvae.detector.transform import BinTransform
from py4dstem_rrvae.training.calibration import waved, widen


def binned(estimator, frames):
    fitted = estimator.fitted_
    transform = BinTransform(fitted.detector, fitted.grid, mean=fitted.mean)
    return fitted.intensity(transform(frames))


def widened(estimator, x):
    """By how much `widen` makes bars of a copy of the model longer: of z, and of the angle."""
    model = copy.deepcopy(estimator.fitted_.model)
    before = model.spread.clone(), model.angle_spread.clone()
    widen(model, x)
    return (model.spread / before[0]).numpy(), (model.angle_spread / before[1]).item()


def test_waves_keep_the_strength_of_residuals_and_where_they_are():
    residual = torch.randn(5, 3, 32, generator=torch.Generator().manual_seed(0))
    waves = waved(residual)
    assert waves.shape == (2, 5, 3, 32)
    torch.testing.assert_close(waves.square().mean(dim=0), residual.square())


def test_a_pull_that_cancels_around_the_circle_shows_under_a_wave():
    phi = torch.arange(64) * (2 * math.pi / 64)
    # Half of the circle pulls one way, the other half the other way.
    score, residual = torch.sin(3 * phi), torch.sin(3 * phi) * torch.cos(phi)
    assert abs((score * residual).sum()) < 1e-4
    assert (score * waved(residual[None, None])[0, 0, 0]).sum() > 10


def test_bars_stay_where_the_model_explains_the_patterns(trained, unseen):
    z, angle = widened(trained, binned(trained, unseen.frames))
    assert (z >= 1).all() and (z < 1.12).all()
    assert 1 <= angle < 1.12


def test_bars_grow_with_what_the_model_lacks_and_never_shrink(trained, unseen):
    x = binned(trained, unseen.frames)
    rng = torch.Generator().manual_seed(0)
    # Ripples alike over a few bins, three times as strong as noise.
    ripples = torch.randn(x.shape, generator=rng)
    for axis in (1, 2):
        ripples = sum(ripples.roll(k, axis) for k in range(4)) / 2
    z, angle = widened(trained, x + 3 * trained.fitted_.model.bin_noise() * ripples)
    assert (z > 2).all()
    assert angle > 2
    generous = copy.deepcopy(trained)
    generous.fitted_.model.angle_spread.mul_(100)
    assert widened(generous, x)[1] == 1


def test_a_model_without_rings_keeps_its_bars():
    frames = np.random.default_rng(0).poisson(3.0, (60, 24, 24))
    model = RRVAE(architecture="coordinate", **COMMON | {"max_epochs": 1}).fit(frames)
    z, angle = widened(model, torch.rand(60, *model.fitted_.model.weight.shape))
    assert (z == 1).all() and angle == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folds", "twisted rings"])
@pytest.mark.parametrize(("counts", "contrast"), [(20_000, 0.1), (5_000, 0.3)])
def test_angles_of_speckled_patterns_are_covered(kind, counts, contrast, monkeypatch):
    speckle = {"counts": counts, "contrast": contrast}
    _, frames = speckled(kind, 1200, 0, **speckle)
    truth, fresh = speckled(kind, 600, 1000, **speckle)

    def covered():
        model = RRVAE(**COMMON).fit(frames)
        return coverage(angle_deviations(truth, model.encode(fresh)), TWO)

    np.testing.assert_allclose(covered(), TWO, atol=0.1)
    monkeypatch.setattr("py4dstem_rrvae.estimator.widen", lambda *_: None)
    assert (covered() < TWO - 0.2).all(), "bars of counting noise alone are far too short"
