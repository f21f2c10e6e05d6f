# SPDX-License-Identifier: GPL-3.0-or-later
"""The same codes on a graphics processor as on the processor."""

import numpy as np
import pytest
import torch

from py4dstem_rrvae import RRVAE, synthetic

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs an NVIDIA GPU: torch.cuda.is_available() is False"
)


@pytest.fixture(scope="module")
def unseen():
    return synthetic.lobes(300, size=32, counts=3000, random_state=1)


def assert_same(codes, other, fold):
    np.testing.assert_allclose(codes.z, other.z, atol=1e-3)
    np.testing.assert_allclose(codes.error, other.error, atol=1e-3)
    assert np.mean(codes.fold == other.fold) > 0.99
    turn = np.angle(np.exp(1j * fold * (codes.angle - other.angle))) / fold
    assert np.abs(turn).max() < 1e-3


def test_codes_on_cuda_are_those_on_the_processor(trained, unseen):
    want = trained.encode(unseen.frames)
    trained.set_params(device="cuda")
    try:
        found = trained.encode(unseen.frames)
    finally:
        trained.set_params(device="cpu")
    assert_same(found, want, unseen.fold)


def test_a_model_trained_on_cuda_works_on_the_processor(lobes, unseen, tmp_path):
    estimator = RRVAE(max_epochs=25, random_state=0, progress=False, device="cuda")
    want = estimator.fit(lobes.frames).encode(unseen.frames)
    estimator.save(tmp_path / "model.rrvae")
    loaded = RRVAE.load(tmp_path / "model.rrvae").set_params(device="cpu")
    assert_same(loaded.encode(unseen.frames), want, unseen.fold)
    assert np.median(unseen.angle_error(want.angle) / unseen.bound) <= 1.2


def test_same_seed_gives_the_same_model_on_cuda(unseen):
    one, same = (
        RRVAE(max_epochs=3, random_state=0, progress=False, device="cuda")
        .fit(unseen.frames)
        .fitted_.model.state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
