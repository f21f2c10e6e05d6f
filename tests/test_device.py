# SPDX-License-Identifier: GPL-3.0-or-later
"""What a graphics processor asks of the model, held on a machine without one.

Tensors on torch's meta device have a shape and no values: an operation that mixes them with tensors
elsewhere fails, and so does one that waits for a value.
"""

import numpy as np
import pytest
import torch

from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.training.defaults import schedule_of
from py4dstem_rrvae.training.loop import _Loop

BESIDE_THE_BEAM = np.ones((24, 24), dtype=bool)
BESIDE_THE_BEAM[:4, 10:14] = False
MODELS = [
    pytest.param({}, id="polar"),
    pytest.param({"mask": BESIDE_THE_BEAM}, id="masked"),
    pytest.param({"mirror": True}, id="mirror"),
    pytest.param({"architecture": "coordinate"}, id="coordinate"),
]


@pytest.fixture(params=MODELS)
def elsewhere(request):
    """A model and patterns without values, and how it would be trained."""
    estimator = RRVAE(device="cpu", progress=False, **request.param)
    prepared = estimator._prepare(synthetic.lobes(128, size=24).frames, 0)
    x = prepared.stabilised
    transform = prepared.binner.transform
    model = estimator._recipe.build(transform.weight, transform.dof)
    model.initialise(x, "auto")
    return model.to("meta"), x.to("meta"), schedule_of(estimator.get_params(), len(x))


def test_a_training_step_stays_on_its_device_and_waits_for_nothing(elsewhere):
    model, x, schedule = elsewhere
    loop = _Loop(model, schedule, len(x), torch.Generator().manual_seed(0))
    loss = loop.step(x[:64])
    assert loss.is_meta
    assert all(p.is_meta for p in loop.optimiser.parameters)


def test_codes_stay_on_their_device_and_wait_for_nothing(elsewhere):
    model, x, _ = elsewhere
    codes = model.eval().infer(x)
    assert codes.z.shape == (len(x), 2)
    for one in (codes.z, codes.z_std, codes.angle, codes.angle_std, codes.fold, codes.error):
        assert one.is_meta


def test_a_step_that_waits_is_found(elsewhere, monkeypatch):
    model, x, schedule = elsewhere
    loop = _Loop(model, schedule, len(x), torch.Generator().manual_seed(0))
    whole = model.elbo_terms
    monkeypatch.setattr(model, "elbo_terms", lambda x, noise: whole(x * float(x.mean()), noise))
    with pytest.raises((RuntimeError, NotImplementedError)):
        loop.step(x[:64])
