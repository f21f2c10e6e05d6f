# SPDX-License-Identifier: GPL-3.0-or-later
"""One thread, so that runs repeat to the last bit; and one small trained model for all."""

import pytest
import torch

from py4dstem_rrvae import RRVAE, synthetic

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def lobes():
    """Patterns to train on."""
    return synthetic.lobes(1000, size=32, counts=3000)


@pytest.fixture(scope="session")
def unseen():
    """A second draw, to score on."""
    return synthetic.lobes(300, size=32, counts=3000, random_state=1)


@pytest.fixture(scope="session")
def trained(lobes):
    """Fitted estimator; tests must leave it as it is."""
    return RRVAE(max_epochs=25, random_state=0, progress=False, device="cpu").fit(lobes.frames)
