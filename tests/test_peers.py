# SPDX-License-Identifier: GPL-3.0-or-later
"""Against AtomAI and pyroVED themselves, where their environment is there."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.compare import collect, jobs, work
from py4dstem_rrvae.model.coordinate import CoordinateRRVAE

PYTHON = os.environ.get("PEERS_PYTHON")
ROOT = Path(__file__).parent.parent
FLIP = torch.tensor([1.0, -1.0])  # AtomAI's columns run from 1 to -1
NAMES = {
    "encoder.layers.0": "encoder.dense.0",
    "encoder.layers.2": "encoder.dense.2",
    "encoder.mean": "encoder.fc11",
    "encoder.log_std": "encoder.fc12",
    "decoder.position": "decoder.coord_latent.fc_coord",
    "decoder.latent": "decoder.coord_latent.fc_latent",
    "decoder.layers.1": "decoder.fc_decoder.0",
    "decoder.layers.3": "decoder.fc_decoder.2",
    "decoder.layers.5": "decoder.out",
}
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not PYTHON, reason="PEERS_PYTHON is not set; see benchmarks/peers"),
]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Input, weights and output of AtomAI's rVAE, see `benchmarks.peers.dump`."""
    target = tmp_path_factory.mktemp("atomai") / "dump.npz"
    command = [PYTHON, "-m", "benchmarks.peers.dump", str(target)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=env, check=True, capture_output=True)
    return {name: torch.from_numpy(array) for name, array in np.load(target).items()}


@pytest.fixture(scope="module")
def ours(theirs):
    """The published model with AtomAI's weights, on data it takes as they are."""
    n = theirs["x"].shape[-1]
    prior = theirs["angle_prior"].item()
    model = CoordinateRRVAE(2, torch.ones(n, n), torch.full((n,), float(n)), prior, "unit")
    state = model.state_dict()
    own = [name for name in state if name.startswith(("encoder.", "decoder."))]
    for name in own:
        layer, _, kind = name.rpartition(".")
        weight = theirs[f"{NAMES[layer]}.{kind}"]
        state[name] = weight * FLIP if name == "decoder.position.weight" else weight
    assert len(own) == sum(name.startswith(("encoder.", "decoder.")) for name in theirs)
    model.load_state_dict(state)
    return model.eval()


def test_encoders_agree(ours, theirs):
    mean, log_std = ours._posterior(theirs["x"])
    torch.testing.assert_close(mean, theirs["mean"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(log_std, theirs["log_std"], rtol=1e-5, atol=1e-6)


def test_decoders_agree(ours, theirs):
    sample = theirs["mean"] + theirs["log_std"].exp() * theirs["noise"]
    decoded = ours.decode(sample[:, 1:], sample[:, 0])
    assert theirs["decoded"].std() > 0.02
    torch.testing.assert_close(decoded, theirs["decoded"], rtol=1e-4, atol=1e-5)
    other_sense = ours.decode(sample[:, 1:], -sample[:, 0])
    assert (other_sense - theirs["decoded"]).abs().max() > 1e-3


def test_losses_agree(ours, theirs):
    x, noise = theirs["x"], theirs["noise"]
    log_likelihood, kl = ours.elbo_terms(x, noise)
    torch.testing.assert_close(kl.sum(dim=1), theirs["kl"], rtol=1e-4, atol=1e-5)
    # AtomAI leaves the constant of a unit Gaussian out of its likelihood.
    normalisation = 0.5 * x[0].numel() * np.log(2 * np.pi)
    want = -theirs["squared"] - theirs["kl_angle"]
    torch.testing.assert_close(log_likelihood + normalisation, want, rtol=1e-4, atol=1e-4)
    elbo = (log_likelihood - kl.sum(dim=1)).mean() + normalisation
    torch.testing.assert_close(elbo, theirs["elbo"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["atomai", "pyroved", "atomai-best", "pyroved-best"])
def test_peers_run_in_the_comparison(method, tmp_path):
    queue = jobs([method], ["lobes-24-5000"], 1, 300, 1)
    work(queue, tmp_path, PYTHON)
    (entry,) = collect(queue, tmp_path)
    assert entry["seeds"] == 1 and entry["shown"] == 300
    assert len(entry["angle"]) == 3 and entry["reconstruction"] > 0.5
