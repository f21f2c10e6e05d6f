# SPDX-License-Identifier: GPL-3.0-or-later
"""One thread, so that runs repeat to the last bit; and small trained models for all."""

import os
import pickle
import time

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers and what they start share the processors: threads would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from estimators import LEARNED, QUICK, OneSided
from hypothesis import HealthCheck, settings

from py4dstem_rrvae import RRVAE, synthetic

torch.set_num_threads(1)

# The same examples every time, so that a failure is no accident; "long" looks for new ones.
settings.register_profile(
    "same",
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("long", settings.get_profile("same"), max_examples=500, derandomize=False)
settings.load_profile("same")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """``made_once(name, make)``: what `make` returns, made by one of pytest-xdist's workers.

    The others wait for it and read it.
    """

    def made(name, make):
        if "PYTEST_XDIST_WORKER" not in os.environ:
            return make()
        folder = tmp_path_factory.getbasetemp().parent  # of this run, of all its workers
        path, claim = folder / f"{name}.pickle", folder / f"{name}.claim"
        try:
            claim.touch(exist_ok=False)
        except FileExistsError:
            deadline = time.monotonic() + 600  # the worker may have been killed
            while claim.exists() and not path.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            return pickle.loads(path.read_bytes()) if path.exists() else make()
        try:
            part = path.with_suffix(".part")
            part.write_bytes(pickle.dumps(thing := make()))
            part.replace(path)
        except BaseException:
            claim.unlink()  # each that waits finds out for itself
            raise
        return thing

    return made


@pytest.fixture(scope="session")
def lobes():
    """Patterns to train on."""
    return synthetic.lobes(1000, size=32, counts=3000)


@pytest.fixture(scope="session")
def unseen():
    """A second draw, to score on."""
    return synthetic.lobes(300, size=32, counts=3000, random_state=1)


@pytest.fixture(scope="session")
def trained(lobes, made_once):
    """Fitted estimator; tests must leave it as it is."""
    estimator = RRVAE(random_state=0, progress=False, device="cpu")
    return made_once("trained", lambda: estimator.fit(lobes.frames))


@pytest.fixture(scope="session")
def codes(trained, unseen):
    """Codes of the second draw."""
    return trained.encode(unseen.frames)


@pytest.fixture(scope="session")
def few():
    """Enough to learn something."""
    return synthetic.lobes(80, size=16, counts=2000).frames


@pytest.fixture(scope="session")
def quick(few):
    """Trained a little; tests must leave it as it is."""
    return RRVAE(**QUICK).fit(few)


@pytest.fixture(scope="session")
def one_sided(made_once):
    """Patterns whose centre of mass has a truth."""
    return made_once("one_sided", _one_sided)


def _one_sided():
    def limb(radius, angle, height, _):
        ring = np.exp(-0.5 * ((radius - 0.5) / 0.15) ** 2)
        return ring * np.exp(height * np.cos(angle)) + 0.02

    angle, height = np.random.default_rng(0).uniform((0, 0.5), (2 * np.pi, 2), (600, 2)).T
    expected = synthetic._expected(limb, 24, 2000.0, angle, height, height)
    frames = np.random.default_rng(1).poisson(expected)
    estimator = RRVAE(**LEARNED | {"latent_dim": 1, "background": "auto"}).fit(frames)
    return OneSided(expected, frames, angle, estimator, estimator.encode(frames))


@pytest.fixture(scope="session")
def patterns():
    """Counts of a small scan; writing to them raises."""
    import py4dstem_scans as scans  # the host takes seconds, which other tests need not wait

    return scans.lopsided_scan()


@pytest.fixture
def cube(patterns):
    """A fresh calibrated data cube of them."""
    import py4dstem_scans as scans

    return scans.data_cube(patterns)
