# SPDX-License-Identifier: GPL-3.0-or-later
"""What the defaults must reach on synthetic truth; trained on one draw, scored on a second."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from benchmarks.scores import accuracy, ari, deformation
from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.detector.bins import Detector, PolarGrid
from py4dstem_rrvae.detector.transform import BinTransform

pytestmark = pytest.mark.slow


def trained_on(frames):
    return RRVAE(random_state=0, progress=False, device="cpu").fit(frames)


def encoded(draw, **options):
    """Truth and codes of a second draw."""
    truth = draw(random_state=1, **options)
    return truth, trained_on(draw(**options).frames).encode(truth.frames)


@pytest.fixture(scope="module")
def bright():
    return encoded(synthetic.lobes, counts=5000.0)


@pytest.fixture(scope="module")
def twisted():
    return encoded(synthetic.twisted_rings)


def test_classes_of_lobes(bright):
    truth, codes = bright
    assert accuracy(codes.z, truth.label) >= 0.995
    assert ari(codes.z, truth.label) >= 0.99
    assert np.mean(codes.fold == truth.fold) >= 0.995


@pytest.mark.parametrize("fold", [2, 3, 6])
def test_angle_of_lobes_against_the_cramer_rao_bound(fold, bright):
    truth, codes = bright
    own = truth.fold == fold
    assert np.median((truth.angle_error(codes.angle) / truth.bound)[own]) <= 1.5


def test_deformation_of_lobes(bright):
    truth, codes = bright
    assert deformation(codes.z, truth) >= 0.95


def test_classes_of_lobes_at_two_hundred_counts():
    truth, codes = encoded(synthetic.lobes, counts=200.0)
    assert ari(codes.z, truth.label) >= 0.99


def test_classes_of_twisted_rings(twisted):
    truth, codes = twisted
    assert accuracy(codes.z, truth.label) >= 0.995
    assert ari(codes.z, truth.label) >= 0.99


def test_angular_spectra_cannot_tell_twisted_rings_apart(twisted):
    truth, _ = twisted
    transform = BinTransform(Detector((48, 48), (23.5, 23.5), np.eye(2)), PolarGrid(24.0, 20, 64))
    polar = np.sqrt(transform(truth.frames).numpy() + 0.375)
    spectra = np.abs(np.fft.rfft(polar)).reshape(len(polar), -1)
    components = PCA(10, random_state=0).fit_transform(spectra)
    assert accuracy(components, truth.label) < 0.45
    assert ari(components, truth.label) < 0.05


@pytest.mark.parametrize(("seed", "grains"), [(0, 3), (1, 10)])
def test_phases_and_angles_of_a_polycrystal(seed, grains):
    truth = synthetic.polycrystal(random_state=seed, grains=grains)
    codes = trained_on(truth.frames).encode(truth.frames)
    inside, phase = truth.inside, truth.phase[truth.inside]
    assert ari(codes.z[inside], phase, 2) >= 0.99
    for one in np.unique(phase):
        own = inside & (truth.phase == one)
        period = 2 * np.pi / truth.fold[own]
        error = synthetic.error_modulo(codes.angle[own] - truth.angle[own], period)
        assert np.degrees(np.median(error)) <= 0.5


def test_noise_alone_carries_nothing():
    noise = np.random.default_rng(0).poisson(2.0, (40, 40, 48, 48))
    model = trained_on(noise)
    assert model.history_.collapsed == [True, True]
    codes = model.encode(np.ones((3, 48, 48)))
    assert codes.z.shape == (3, 2)
    assert (codes.fold == 0).all() and np.isnan(codes.angle).all()
