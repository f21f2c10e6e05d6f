# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison with baselines and peers: its parts at small size, and its queue."""

import json
import sys

import numpy as np
import pytest
import torch

from benchmarks import cases, scores
from benchmarks.compare import Job, collect, jobs, markdown, onto, work
from benchmarks.invariants import Bispectrum, ComDarkField, Zernike, radial_polynomial
from benchmarks.latent_planes import draw
from benchmarks.methods import Spectra, SymmetryScores, fit
from benchmarks.peers.run import Scale
from benchmarks.plain import Plain
from benchmarks.problems import PROBLEMS
from benchmarks.scans import SCANS, scan
from py4dstem_rrvae import RRVAE
from py4dstem_rrvae.training.loop import History

SMALL = "lobes-24-5000"


@pytest.fixture(scope="module")
def problem():
    return PROBLEMS[SMALL](300)


@pytest.fixture(scope="module")
def plain(problem):
    return Plain(problem.train, 2, 0, epochs=4)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name.endswith("24-5000") else pytest.mark.slow)
        for name in PROBLEMS
        if name not in SCANS
    ],
)
def test_the_truth_has_perfect_figures(name):
    problem = PROBLEMS[name](300)
    truth = problem.truth
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
    want = -0.5 * (model.weight * ((x - still) / sigma).square()).sum(dim=(1, 2))
    torch.testing.assert_close(model._log_marginal(x, harmonics), want, rtol=1e-4, atol=1e-2)
    turned = model.polar(harmonics, torch.ones(5)) - model.polar(harmonics, torch.zeros(5))
    assert turned.abs().max() > 0.01
    assert plain.expected(problem.fresh).shape == problem.expected.shape


def test_the_noise_of_the_plain_vae_falls_as_it_learns(problem):
    """Left where it starts, it would leave the latents nothing to tell."""
    noise = Plain(problem.train, 2, 0, epochs=15).history.noise
    assert noise[-1] < 0.85 * noise[0]


def test_the_plain_vae_sees_the_turn(plain, problem):
    z, none = plain.encode(problem.fresh)
    assert none is None
    assert scores.leak(z, problem.truth) > 0.2


def test_hand_made_invariants(problem):
    spectra = Spectra(problem.train, 10)
    z, found = spectra.encode(problem.fresh)
    assert scores.accuracy(z, problem.truth.label) > 0.98
    assert max(scores.angle_error_over_bound(problem.truth, found)) < 1.2
    z, _ = SymmetryScores().encode(problem.fresh)
    assert z.shape == (300, 12) and np.isfinite(z).all()
    assert scores.accuracy(z, problem.truth.label) > 0.98
    assert scores.leak(z, problem.truth) < 0.1


def test_angular_power_spectra_cannot_tell_twisted_rings_apart():
    problem = PROBLEMS["twisted_rings-24-5000"](600)
    z, _ = Spectra(problem.train, 10).encode(problem.fresh)
    assert scores.accuracy(z, problem.truth.label) < 0.5


@pytest.fixture(scope="module")
def twisted():
    return PROBLEMS["twisted_rings-24-5000"](600)


@pytest.mark.parametrize("method", [Bispectrum, Zernike])
def test_invariants_do_not_see_a_quarter_turn(method, twisted):
    """From rows to columns, so that the middle of the pixels and all bins map onto themselves."""
    fitted = method(twisted.train, 2, None)
    z, angle = fitted.encode(twisted.fresh)
    again, turned = fitted.encode(np.rot90(twisted.fresh, axes=(1, 2)))
    assert np.abs(again - z).max() < 1e-4 * np.ptp(z)
    # A third of a turn is the period.
    period = 2 * np.pi / 3
    error = (turned - angle - np.pi / 2 + period / 2) % period - period / 2
    assert np.median(np.abs(error)) < 1e-4
    # Moduli are those of the mirror image too, the bispectrum's are not.
    mirrored = np.abs(fitted.encode(np.swapaxes(twisted.fresh, 1, 2))[0] - z).max() / np.ptp(z)
    assert mirrored < 1e-4 if method is Zernike else mirrored > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["twisted_rings-24-5000", "twisted_rings-48-200"])
def test_the_bispectrum_tells_twisted_rings_apart(name):
    """They share all moduli; a bispectrum holds the relative phases too."""
    problem = PROBLEMS[name](600)
    z, _ = Bispectrum(problem.train, 2, None).encode(problem.fresh)
    assert z.shape == (600, 2)
    assert scores.ari(z, problem.truth.label) > 0.9
    assert scores.leak(z, problem.truth) < 0.1
    moduli, _ = Spectra(problem.train, 2).encode(problem.fresh)
    assert scores.ari(moduli, problem.truth.label) < 0.1


def test_the_deformation_comes_with_more_components_of_the_bispectrum(twisted):
    z, _ = Bispectrum(twisted.train, 10, None).encode(twisted.fresh)
    assert scores.deformation(z, twisted.truth) > 0.7


def test_zernike_moduli_tell_lobes_and_no_handedness(problem, twisted):
    z, found = Zernike(problem.train, 2, None).encode(problem.fresh)
    assert z.shape == (300, 2)
    assert scores.ari(z, problem.truth.label) > 0.9
    assert max(scores.angle_error_over_bound(problem.truth, found)) < 1.2
    # Twists of 40 and of 80 degrees are mirror images.
    z, _ = Zernike(twisted.train, 2, None).encode(twisted.fresh)
    even = twisted.truth.label == 0
    assert scores.accuracy(z, even.astype(int)) > 0.98
    assert scores.accuracy(z[~even], twisted.truth.label[~even]) < 0.65


def test_radial_polynomials_are_zernike_s():
    r = np.linspace(0, 1, 7)
    np.testing.assert_allclose(radial_polynomial(4, 2, r), 4 * r**4 - 3 * r**2, atol=1e-12)
    np.testing.assert_allclose(radial_polynomial(3, 1, r), 3 * r**3 - 2 * r, atol=1e-12)
    np.testing.assert_allclose(radial_polynomial(2, 0, r), 2 * r**2 - 1, atol=1e-12)


def test_invariants_know_where_the_beam_stands(twisted):
    """Patterns whose window was moved by a pixel are the same about their own centres."""
    frames = np.pad(twisted.fresh, ((0, 0), (2, 2), (2, 2)))
    away = np.stack([np.roll(f, (i % 3 - 1, 0), (0, 1)) for i, f in enumerate(frames)])
    middle = np.full((600, 2), 13.5)
    moved = middle + np.column_stack([np.arange(600) % 3 - 1, np.zeros(600)])
    for method in (Bispectrum, Zernike):
        still, follows = (
            method(f, 2, {"center": c.tolist(), "matrix": np.eye(2).tolist()})
            for f, c in ((frames, middle + 1e-3), (away, moved))
        )
        first, second = still.encode(frames)[0], follows.encode(away)[0]
        assert all(
            abs(np.corrcoef(a, b)[0, 1]) > 0.99 for a, b in zip(first.T, second.T, strict=True)
        )


@pytest.mark.parametrize("intensity", ["unit", "standard"])
def test_scales_of_the_peers_invert(intensity, problem):
    scale = Scale(problem.train, intensity)
    scaled = scale(problem.fresh)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scale.invert(scaled), problem.fresh, atol=1e-3)
    if intensity == "unit":
        assert scale(problem.train).max() == 1 and scaled.min() == 0
    else:
        assert scaled.std() == pytest.approx(1, abs=0.05)


@pytest.fixture(scope="module")
def wandering(tmp_path_factory):
    return scan(0, "measured_silicon", n_bin=2, reduced=True, cache=tmp_path_factory.mktemp("scan"))


@pytest.mark.slow
def test_windows_of_a_scan_lie_about_the_beam(wandering):
    n, size, _ = wandering.train.shape
    assert n == wandering.at.kind.size and size % 2 == 1
    assert np.abs(wandering.center - (size - 1) / 2).max() <= 0.5 + 1e-9
    index = np.arange(size)
    for patterns in (wandering.train, wandering.expected):
        weight = patterns / patterns.sum(axis=(1, 2), keepdims=True)
        com = np.stack([weight.sum(2) @ index, weight.sum(1) @ index], axis=1)
        assert np.abs((com - wandering.center).mean(axis=0)).max() < 0.1


@pytest.mark.slow
def test_two_draws_of_a_scan_differ_by_noise_alone(wandering):
    deviation = wandering.fresh - wandering.expected
    assert (deviation**2).mean() == pytest.approx(wandering.expected.mean(), rel=0.05)
    other = wandering.train - wandering.expected
    assert abs(np.mean(deviation * other)) < 0.02 * wandering.expected.mean()


@pytest.mark.slow
def test_figures_of_a_scan_know_the_truth_from_nothing(wandering):
    at, n = wandering.at, len(wandering.train)
    names = np.unique(at.kind)
    truth = np.searchsorted(names, at.kind.ravel())[:, None] + np.zeros((n, 2))
    good = wandering.figures(truth, -at.azimuth.ravel(), wandering.expected)
    assert good["accuracy"] > 0.99 and good["ari"] == 1
    assert good["turn"] < 1 and good["reconstruction"] == 0
    chance = np.random.default_rng(0)
    bad = wandering.figures(
        chance.normal(size=(n, 2)), chance.uniform(0, 2 * np.pi, n), np.full(n, np.nan)
    )
    assert bad["accuracy"] < 0.5 and abs(bad["ari"]) < 0.1
    assert bad["turn"] > 45 and "reconstruction" not in bad


@pytest.mark.slow
def test_a_scan_is_told_to_ours_with_its_geometry(wandering, monkeypatch):
    seen = []
    monkeypatch.setattr(RRVAE, "fit", lambda self, frames: seen.append(frames) or self)
    monkeypatch.setattr(RRVAE, "history_", History(train_loss=[0.0]), raising=False)
    geometry = json.loads(json.dumps(wandering.geometry))
    fit(wandering.train, {"method": "rrvae", "seed": 0, "geometry": geometry})
    np.testing.assert_allclose(seen[0].center, wandering.center)
    np.testing.assert_allclose(seen[0].matrix, wandering.matrix)


@pytest.mark.slow
def test_com_and_dark_field_of_a_scan(wandering):
    """COM is that of the cases; dark field reaches less far, in the corners of the windows."""
    method = ComDarkField(wandering.train, wandering.geometry)
    z, angle = method.encode(wandering.fresh)
    assert z.shape == (wandering.at.kind.size, 2) and (z > 0).all() and (z[:, 1] < 0.5).all()
    found = wandering.figures(z, angle, np.full(len(z), np.nan))
    assert found["turn"] < 45
    dark = z[:, 1].reshape(wandering.at.kind.shape)
    close = wandering.at.distance < 0.3
    silicon, carbon = (dark[close & (wandering.at.kind == kind)].mean() for kind in ("Si", "C"))
    assert silicon > 1.1 * carbon
    # 50 of the 64 pixels that the camera had before two by two were summed.
    assert 2 * method.radius / wandering.matrix[0, 0] == pytest.approx(25, abs=0.7)
    chance = np.random.default_rng(0).permuted(z, axis=0)
    assert (
        found["accuracy"]
        > 1.3 * wandering.figures(chance, angle, np.full(len(z), np.nan))["accuracy"]
    )


def test_com_and_dark_field_run_on_scans_alone():
    names = {job.problem for job in jobs(["com-dark"], PROBLEMS, 1, 300, 2)}
    assert names == set(SCANS)
    assert collect(jobs(["com-dark"], [SMALL], 1, 300, 2), None) == []


@pytest.mark.slow
def test_both_tables_of_scans_have_one_ari(wandering):
    z = np.random.default_rng(0).normal(size=(*wandering.at.kind.shape, 2))
    z[..., 0] += 3 * (wandering.at.kind == "C")
    flat, nothing = z.reshape(-1, 2), np.full(wandering.at.kind.size, np.nan)
    row = cases.separation(z, wandering.at)
    found = wandering.figures(flat, nothing, nothing)
    assert row["ARI at the sites"] == found["ari"]
    assert row["sites told"] == found["accuracy"]


def test_rows_are_put_into_a_page(tmp_path):
    rest = {"seeds": 1, "epochs": 0, "patterns": 300, "encode_s": 1, "encoded": 1, "shown": 0}
    rest |= {"fit_s": 0, "peak_mib": 1}
    old, new, other, none = (
        {"problem": SMALL, "method": m, "ari": ari} | rest | {"seeds": seeds}
        for m, ari, seeds in (
            ("spectra", 0, 1),
            ("spectra", 1, 1),
            ("pca-2", 0, 1),
            ("nmf-2", 0, 0),
        )
    )
    page = tmp_path / "page.md"
    page.write_text("Before\n\n## Tables\n\nold\n\nThe same figures, after\n")
    page.with_suffix(".json").write_text(json.dumps([old]))
    onto(page, [new, other, none])
    assert json.loads(page.with_suffix(".json").read_text()) == [other, new]
    tables = markdown([other, new])
    assert page.read_text() == f"Before\n\n## Tables\n\n{tables}\nThe same figures, after\n"


def test_tables_of_scans_have_their_own_columns():
    entry = {"problem": "zns", "method": "pca-2", "seeds": 0, "epochs": 0, "patterns": 2000}
    title, _, head = markdown([entry]).splitlines()[:3]
    assert title == "### Scan: zns"
    assert "turn error, degrees" in head and "deformation" not in head
