# SPDX-License-Identifier: GPL-3.0-or-later
"""On a device of its own, and without doubles there, everything is as on the processor."""

import pickle

import numpy as np
import pytest
import torch
from elsewhere import Away, elsewhere
from estimators import NAMES

from py4dstem_rrvae import RRVAE, Frames, describe, latent_dims, synthetic
from py4dstem_rrvae.detector.bin_operator import as_floats
from py4dstem_rrvae.scan.encoding import Encoder
from py4dstem_rrvae.training import calibration

OPTIONS = {"max_epochs": 1, "batch_size": 16, "random_state": 0, "progress": False}
SCAN = synthetic.lobes(40, size=16, counts=2000)
BESIDE_THE_BEAM = np.ones((16, 16), dtype=bool)
BESIDE_THE_BEAM[:4, 6:10] = False
ORIGINS = 7.5 + np.random.default_rng(0).uniform(-0.5, 0.5, (40, 2)).round(1)
WAYS = [
    pytest.param({}, SCAN.frames, id="polar"),
    pytest.param({"architecture": "coordinate"}, SCAN.frames[:24], id="coordinate"),
    pytest.param({"mirror": True}, SCAN.frames, id="mirror", marks=pytest.mark.slow),
    pytest.param({"mask": BESIDE_THE_BEAM}, SCAN.frames, id="masked", marks=pytest.mark.slow),
    pytest.param({"intensity": "log"}, SCAN.frames, id="log", marks=pytest.mark.slow),
    pytest.param({}, Frames(SCAN.frames, center=ORIGINS), id="wandering", marks=pytest.mark.slow),
]
# A few steps learn nothing.
pytestmark = pytest.mark.filterwarnings("ignore:all latents are switched off")


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "WANTED", 16)
        patch.setattr(calibration, "DRAWS", 2)
        patch.setattr(calibration, "FEWEST", 8)
        yield


def assert_same(found, want, atol=1e-4):
    for name in NAMES:
        one, other = getattr(found, name), getattr(want, name)
        np.testing.assert_allclose(one, other, atol=atol, rtol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("options", "frames"), WAYS)
def test_maps_are_those_of_the_processor(options, frames):
    options = OPTIONS | options
    want = RRVAE(**options, device="cpu").fit(frames)
    with elsewhere():
        found = RRVAE(**options, device="meta").fit(frames)
        assert_same(found.encode(frames), want.encode(frames))
        again = found.encode(frames, background="refit")
    assert_same(again, want.encode(frames, background="refit"))


@pytest.fixture(scope="module")
def away():
    with elsewhere():
        return RRVAE(**OPTIONS, device="meta").fit(SCAN.frames)


@pytest.fixture(scope="module")
def here():
    return RRVAE(**OPTIONS, device="cpu").fit(SCAN.frames)


def test_what_was_trained_there_is_kept_in_main_memory(away, here, tmp_path):
    away.save(tmp_path / "model.rrvae")
    for kept in (pickle.loads(pickle.dumps(away)), RRVAE.load(tmp_path / "model.rrvae")):
        kept.set_params(device="cpu")
        assert_same(kept.encode(SCAN.frames), here.encode(SCAN.frames))


def test_an_encoder_there_pickles_for_a_machine_without(away):
    with elsewhere():
        binner = away._stored_binner(Frames(SCAN.frames, center=(7.5, 7.5)), away.fitted_)
        fitted = away.fitted_
        encoder = Encoder(fitted.model, binner, fitted.intensity, fitted.angle_offset)
        assert isinstance(encoder.intensity.scale, Away)
        stored = pickle.dumps(encoder)
        assert len(pickle.loads(stored)(SCAN.frames, np.arange(40))) == 40


def test_expected_patterns(away, here):
    codes = here.encode(SCAN.frames)
    with elsewhere():
        found = away.reconstruct(codes)
    np.testing.assert_allclose(found, here.reconstruct(codes), atol=1e-3)


@pytest.mark.parametrize("kind", ["angular", "pearson"])
@pytest.mark.parametrize("background", ["none", "mean"])
def test_symmetry_scores(kind, background):
    options = {"kind": kind, "background": background, "progress": False}
    want = describe(SCAN.frames, device="cpu", **options)
    with elsewhere():
        found = describe(SCAN.frames, device="meta", **options)
    np.testing.assert_allclose(found.rotation, want.rotation, atol=1e-4)
    np.testing.assert_allclose(found.mirror, want.mirror, atol=1e-4)


@pytest.mark.slow
def test_sizes_of_models():
    with elsewhere():
        (found,) = latent_dims(np.tile(SCAN.frames, (2, 1, 1)), (1,), **OPTIONS, device="meta")
    (want,) = latent_dims(np.tile(SCAN.frames, (2, 1, 1)), (1,), **OPTIONS, device="cpu")
    np.testing.assert_allclose(found.log_likelihoods, want.log_likelihoods, rtol=1e-4)


def test_too_little_memory_offers_the_processor(here):
    estimator = RRVAE(**OPTIONS, device="meta")
    wanted = r'too little memory free for this; device="cpu" takes main memory instead \(CUDA out'
    with elsewhere(memory=20_000):
        with pytest.raises(MemoryError, match=wanted):
            estimator.fit(SCAN.frames)
        assert not hasattr(estimator, "fitted_")
        with pytest.raises(MemoryError, match=wanted):
            pickle.loads(pickle.dumps(here)).set_params(device="meta").encode(SCAN.frames)
        with pytest.raises(MemoryError, match=wanted):
            describe(SCAN.frames, device="meta", progress=False)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", ">u2", "i2", "u4", "i8", "f4", ">f8", "?"])
def test_counts_of_any_kind_arrive_as_they_are(dtype):
    largest = 1 if dtype == "?" else 3e4 if np.dtype(dtype).itemsize > 1 else 100
    frames = np.random.default_rng(0).uniform(0, largest, (3, 8, 8)).astype(dtype)
    if frames.dtype == np.uint16:
        frames[0, 0] = 2**16 - 1
    with elsewhere():
        found = as_floats(frames, torch.device("meta"))
        assert isinstance(found, Away) and found.dtype == torch.float32
        np.testing.assert_array_equal(found.cpu().numpy(), frames.astype(np.float32))


def test_doubles_are_refused_there():
    with elsewhere():
        there = torch.ones(3, device="meta")
        assert there.sum().item() == 3
        with pytest.raises(TypeError, match=r"this device has no torch\.float64"):
            there.double()
        with pytest.raises(TypeError, match=r"has no torch\.complex128"):
            torch.zeros(2, dtype=torch.complex128, device="meta")


def test_two_places_do_not_mix():
    with elsewhere(), pytest.raises(RuntimeError, match="tensors of two devices"):
        torch.ones(3, device="meta") + torch.ones(3)


def test_tensors_there_are_neither_pickled_nor_taken_for_arrays():
    with elsewhere():
        there = torch.ones(3, device="meta")
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(there)
        with pytest.raises(TypeError, match="copied to main memory first"):
            np.asarray(there)
