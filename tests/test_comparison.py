# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison with baselines and peers: its parts at small size, and its queue."""

import json
import sys

import numpy as np
import pytest
import torch

from benchmarks import scores
from benchmarks.compare import Job, collect, jobs, markdown, work
from benchmarks.latent_planes import draw
from benchmarks.methods import Spectra, SymmetryScores
from benchmarks.peers.run import Scale
from benchmarks.plain import Plain
from benchmarks.problems import PROBLEMS

SMALL = "lobes-24-5000"


@pytest.fixture(scope="module")
def problem():
    return PROBLEMS[SMALL](300)


@pytest.fixture(scope="module")
def plain(problem):
    return Plain(problem.train, 2, 0, epochs=4)


def test_two_methods_are_run_scored_and_tabulated(tmp_path):
    queue = jobs(["spectra-10", "plain-2"], [SMALL], 1, 300, 2)
    work(queue, tmp_path, None)
    spectra, plain = collect(queue, tmp_path)
    assert spectra["accuracy"] > 0.98
    assert spectra["leak"] < 0.05 < plain["leak"]
    assert max(spectra["angle"]) < 1.2
    assert "angle" not in plain and "reconstruction" not in spectra
    assert plain["shown"] > 2 * 250 > spectra["shown"] == 300
    assert 100 < plain["peak_mib"] < 4000
    lines = markdown([spectra, plain]).splitlines()
    assert lines[0] == "### Lobes, 24 x 24 pixels, 5000 counts"
    assert lines[4].startswith("| polar FFT moduli, PCA 10 | 1 | ")
    assert len({line.count("|") for line in lines[2:]}) == 1
    figure = draw(tmp_path, SMALL, ("plain-2", "pca-2", "spectra-10"))
    drawn = [ax.collections[0].get_offsets() for ax in figure.axes[:4]]
    stored = np.load(tmp_path / SMALL / "plain-2-0.npz")
    assert len(figure.axes) == 5  # two methods, one of them not run, and a colour bar
    np.testing.assert_allclose(drawn[0], stored["z"])
    assert np.isnan(stored["angle"]).all()


def test_an_interrupted_queue_goes_on_where_it_was(tmp_path, capsys):
    queue = jobs(["pca-2", "symmetry"], [SMALL], 2, 300, 2)
    assert len(queue) == 2  # neither depends on the seed
    work(queue[:1], tmp_path, None)
    first, second = (job.path(tmp_path) for job in queue)
    written = first.stat().st_mtime_ns
    second.with_suffix(".part").write_text("cut off")
    capsys.readouterr()
    work(queue, tmp_path, None)
    assert first.stat().st_mtime_ns == written
    assert capsys.readouterr().err == f"2/2 {SMALL} symmetry 0\n"
    assert json.loads(second.read_text())["figures"]["accuracy"] > 0.9
    other = Job.of("pca-2", SMALL, 0, 299, 2)
    assert other.read(tmp_path) is None and queue[0].read(tmp_path) is not None


def test_what_fails_is_told_of_and_stops_nothing(tmp_path, capsys):
    queue = jobs(["atomai", "symmetry"], [SMALL], 1, 300, 2)
    work(queue, tmp_path, sys.executable)
    told = capsys.readouterr().err
    assert "method='atomai'" in told and "No module named 'atomai'" in told
    atomai, symmetry = collect(queue, tmp_path)
    assert (atomai["seeds"], symmetry["seeds"]) == (0, 1)
    assert "| AtomAI rVAE, defaults, 2 epochs | not run | - |" in markdown([atomai])


def test_a_peer_needs_its_python(tmp_path):
    with pytest.raises(ValueError, match="atomai needs the peers' Python"):
        Job.of("atomai", SMALL, 0, 300, 2).run(tmp_path, None)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_truth_has_perfect_figures(name):
    problem = PROBLEMS[name](300)
    truth = problem.fresh
    assert problem.train.shape == problem.expected.shape
    z = np.column_stack([truth.label, 0.1 * truth.deformation])
    found = problem.figures(z, -truth.angle, problem.expected)
    assert found["accuracy"] == found["ari"] == 1
    assert found["deformation"] > 0.98 and found["leak"] < 0.05
    assert max(found["angle"]) < 0.01
    assert found["reconstruction"] == 0
    raw = problem.figures(z, np.full(300, np.nan), truth.frames.astype(float))
    assert raw["reconstruction"] == pytest.approx(1) and "angle" not in raw
    # Poisson noise: the counts scatter by their expectation.
    noise = np.square(truth.frames - problem.expected).sum() / problem.expected.sum()
    assert noise == pytest.approx(1, abs=0.05)


def test_collapsed_latents_are_scored(problem):
    found = problem.figures(np.zeros((300, 2)), np.full(300, np.nan), np.full(300, np.nan))
    assert found["accuracy"] < 0.5 and found["deformation"] < 0.1
    assert found["ari"] == pytest.approx(0, abs=0.02) and found["leak"] == 0


def test_the_plain_vae_knows_one_turn_only(plain, problem):
    """Its likelihood is that of white noise about the decoded pattern as it lies."""
    model = plain.model
    x = torch.randn(5, *model.weight.shape)
    harmonics = model.decode(torch.randn(5, 2))
    still = model.polar(harmonics, torch.zeros(5)) + model.background
    sigma = model.noise_variance.sqrt()[:, None]
    want = -0.5 * ((x - still) / sigma).square().sum(dim=(1, 2))
    torch.testing.assert_close(model._log_marginal(x, harmonics), want, rtol=1e-4, atol=1e-2)
    turned = model.polar(harmonics, torch.ones(5)) - model.polar(harmonics, torch.zeros(5))
    assert turned.abs().max() > 0.01
    assert plain.expected(problem.fresh.frames).shape == problem.expected.shape


def test_the_plain_vae_sees_the_turn(plain, problem):
    z, none = plain.encode(problem.fresh.frames)
    assert none is None
    assert scores.leak(z, problem.fresh) > 0.2


def test_hand_made_invariants(problem):
    spectra = Spectra(problem.train, 10)
    z, found = spectra.encode(problem.fresh.frames)
    assert scores.accuracy(z, problem.fresh.label) > 0.98
    assert max(scores.angle_error_over_bound(problem.fresh, found)) < 1.2
    z, _ = SymmetryScores().encode(problem.fresh.frames)
    assert z.shape == (300, 12) and np.isfinite(z).all()
    assert scores.accuracy(z, problem.fresh.label) > 0.98
    assert scores.leak(z, problem.fresh) < 0.1


def test_angular_power_spectra_cannot_tell_twisted_rings_apart():
    problem = PROBLEMS["twisted_rings-24-5000"](600)
    z, _ = Spectra(problem.train, 10).encode(problem.fresh.frames)
    assert scores.accuracy(z, problem.fresh.label) < 0.5


@pytest.mark.parametrize("intensity", ["unit", "standard"])
def test_scales_of_the_peers_invert(intensity, problem):
    scale = Scale(problem.train, intensity)
    scaled = scale(problem.fresh.frames)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scale.invert(scaled), problem.fresh.frames, atol=1e-3)
    if intensity == "unit":
        assert scale(problem.train).max() == 1 and scaled.min() == 0
    else:
        assert scaled.std() == pytest.approx(1, abs=0.05)
