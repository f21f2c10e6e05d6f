# SPDX-License-Identifier: GPL-3.0-or-later
"""The six published cases, small: each shows what it was made to show."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import cases
from benchmarks.site_distances import distances
from py4dstem_rrvae import RRVAE, simulate
from py4dstem_rrvae.simulate import CASES, PUBLISHED, Scan, intensities, noise_free, recorded
from py4dstem_rrvae.simulate.sites import at_sites, sites

MEASURED = [name for name in PUBLISHED if name.startswith("measured")]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def scans(cache):
    return {name: recorded(name, reduced=True, cache=cache) for name in PUBLISHED}


def signal_at(scan, kind):
    """Mean dark field within 0.3 A of a kind of site."""
    at = at_sites(scan)
    return cases.dark_field(scan)[(at.kind == kind) & (at.distance < 0.3)].mean()


@pytest.mark.slow
def test_all_six_have_their_names_and_their_truth(scans):
    for name, scan in scans.items():
        assert scan.case == name
        assert scan.patterns.dtype == np.uint16
        assert len(scan.symbols) == len(scan.positions)
        assert scan.patterns.sum((2, 3)).mean() == pytest.approx(scan.electrons, rel=0.02)


def test_small_scans_cover_the_same_field():
    for name in PUBLISHED:
        whole, small = CASES[name].scan, simulate.small(name).scan
        fields = np.multiply(whole.shape, whole.step), np.multiply(small.shape, small.step)
        np.testing.assert_allclose(*fields, rtol=0.1)
        assert math.prod(small.shape) < math.prod(whole.shape) / 3


@pytest.mark.slow
def test_second_call_reads_the_file_of_the_first(cache, scans, monkeypatch):
    monkeypatch.setitem(simulate.recorded.__globals__, "intensities", None)
    again = recorded("zns", reduced=True, cache=cache)
    np.testing.assert_array_equal(again.patterns, scans["zns"].patterns)


@pytest.mark.slow
def test_noise_free_patterns_are_what_counts_are_drawn_from(cache, scans):
    counted, clean = scans["zns"], noise_free("zns", reduced=True, cache=cache)
    assert clean.electrons is None
    expected = counted.electrons * clean.patterns.astype(float)
    # Squares of Poisson deviations have the mean of the counts.
    squared = (counted.patterns - expected) ** 2
    assert squared.mean() == pytest.approx(expected.mean(), rel=0.02)


@pytest.mark.slow
def test_the_dose_is_drawn_anew(cache, scans):
    case = simulate.small("graphene_coherent")
    case = replace(case, scan=Scan((1, 2), 0.5))
    before = set(cache.iterdir())
    first, second = (recorded(case, electrons=n, cache=cache) for n in (1e3, 2e3))
    assert len(set(cache.iterdir()) - before) == 1
    assert first.patterns.sum() < 0.6 * second.patterns.sum()


@pytest.mark.slow
def test_graphene_s_atoms_are_each_other_turned_by_half_a_turn():
    """No latent that is blind to turns can tell graphene's sublattices apart."""
    case = CASES["graphene_coherent"]
    bond = 2.464 / math.sqrt(3)
    first, second = (
        intensities(case, scan=Scan((1, 1), 0.2, (x, 0.0))).patterns[0, 0].astype(float)
        for x in (0.0, bond)
    )
    # The beam stands on pixel 39; the turn about it maps pixels 1 to 77 onto themselves.
    inner, back = first[1:, 1:], second[1:, 1:][::-1, ::-1]
    detail = np.abs(inner - inner[::-1, ::-1]).max()
    assert np.abs(inner - back).max() < 0.02 * detail


@pytest.mark.slow
def test_detector_of_graphene_is_as_unequal_as_published(scans):
    assert scans["graphene_coherent"].q_ratio == pytest.approx(12 * 4.268 / (20 * 2.464), rel=1e-3)
    # 1 / (12 x 4.268 A), as published.
    assert scans["graphene_coherent"].q_per_pixel == pytest.approx(1 / 51.216, rel=1e-3)


@pytest.mark.slow
def test_source_size_takes_most_of_the_deflection(scans):
    lengths = [
        np.percentile(np.hypot(*np.moveaxis(cases.center_of_mass(scans[name]), -1, 0)), 95)
        for name in ("graphene_coherent", "graphene_incoherent")
    ]
    assert lengths[1] < 0.6 * lengths[0]


@pytest.mark.slow
def test_zinc_scatters_more_than_sulphur_and_both_more_than_the_tunnels(scans):
    zinc, sulphur, hollow = (signal_at(scans["zns"], kind) for kind in ("Zn", "S", "hollow"))
    assert zinc > 1.3 * sulphur
    assert sulphur > 1.3 * hollow


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.slow
def test_measured_scans_are_off_centre_and_wander(scans, name):
    scan = scans[name]
    index = np.stack(np.indices(scan.patterns.shape[2:]))
    total = scan.patterns.sum((2, 3))
    raw = np.einsum("abrc,krc->abk", scan.patterns, index) / total[..., None]
    # The wandering is as large as that of COM itself; a plane finds it.
    assert np.ptp(scan.centers, axis=(0, 1)).max() > 0.5
    assert np.hypot(*(np.array(scan.center) - 31.5)) > 2
    np.testing.assert_allclose(cases.origins(scan, raw), scan.centers, atol=0.15)
    # The disc fills about 200 of 256 pixels.
    mean = scan.patterns.mean((0, 1))
    assert 2 * math.sqrt((mean > mean.max() / 2).sum() / math.pi) == pytest.approx(50, abs=1)


@pytest.mark.slow
def test_silicon_is_bright_and_the_vacancy_dark(scans):
    silicon, vacancy = scans["measured_silicon"], scans["measured_vacancy"]
    assert signal_at(silicon, "Si") > 1.3 * signal_at(silicon, "C")
    assert signal_at(vacancy, "vacancy") < 0.8 * signal_at(vacancy, "C")


@pytest.mark.slow
def test_center_of_mass_is_py4dstem_s(scans):
    from py4DSTEM.process.utils import get_CoM

    scan = scans["graphene_coherent"]
    theirs = np.array([[get_CoM(p) for p in row] for row in scan.patterns.astype(float)])
    weight = scan.patterns.sum((2, 3))
    theirs -= (theirs * weight[..., None]).sum((0, 1)) / weight.sum()
    np.testing.assert_allclose(cases.center_of_mass(scan), theirs @ scan.matrix, atol=1e-9)
    mean = get_CoM(scan.patterns.mean((0, 1)))
    index = np.indices(scan.patterns.shape[2:])
    np.testing.assert_allclose(
        mean, (scan.patterns.mean((0, 1)) * index).sum((1, 2)) / (scan.patterns.mean((0, 1)).sum())
    )


@pytest.mark.slow
def test_binning_keeps_electrons_and_the_beam_s_place(scans):
    for name in ("graphene_coherent", "measured_silicon"):
        scan = scans[name]
        small = cases.binned(scan, 2)
        assert small.patterns.sum() == scan.patterns.sum()
        first, second = cases.center_of_mass(scan), cases.center_of_mass(small)
        np.testing.assert_allclose(first, second, atol=1e-3)


@pytest.mark.slow
def test_thinning_keeps_the_sites_of_the_positions_that_stay(scans):
    scan = scans["measured_vacancy"]
    few = cases.thinned(scan, 3)
    np.testing.assert_array_equal(few.patterns, scan.patterns[::3, ::3])
    np.testing.assert_array_equal(at_sites(few).kind, at_sites(scan).kind[::3, ::3])
    np.testing.assert_allclose(at_sites(few).distance, at_sites(scan).distance[::3, ::3])


@pytest.mark.slow
def test_scores_know_right_from_wrong(scans):
    scan = scans["measured_pristine"]
    at = at_sites(scan)
    rng = np.random.default_rng(0)
    kinds, truth = np.unique(at.kind, return_inverse=True)
    truth = truth.reshape(at.kind.shape)
    right = cases.separation(truth[..., None].astype(float), at)
    wrong = cases.separation(rng.normal(size=(*at.kind.shape, 2)), at)
    assert right["sites told"] == 1.0 and right["silhouette at the sites"] == 1.0
    assert wrong["sites told"] == pytest.approx(1 / len(kinds), abs=0.08)
    assert wrong["sublattice told"] == pytest.approx(0.5, abs=0.2)
    assert right["ARI at the sites"] == 1.0 and abs(wrong["ARI at the sites"]) < 0.1
    assert right["sites told, within 0.3 A"] == 1.0
    assert wrong["sites told, within 0.3 A"] == pytest.approx(1 / len(kinds), abs=0.15)
    # What tells the sites at the sites alone, such as a sharp dark field, tells them there.
    close = at.distance < cases.AT_SITE
    sharp = np.where(close, truth, rng.permutation(truth.ravel()).reshape(truth.shape))
    there = cases.separation(sharp[..., None].astype(float), at)
    assert there["sites told, within 0.3 A"] == 1.0 > there["sites told"] + 0.2


@pytest.mark.slow
def test_turn_errors_know_right_from_wrong(scans):
    """Any angle that turns with the pattern will do, such as one with a twist in each cell."""
    scan = scans["measured_pristine"]
    at = at_sites(scan)
    one = np.ones(at.kind.shape, dtype=int)
    rng = np.random.default_rng(0)
    twisted = at.azimuth + 0.7 + 0.5 * at.distance
    right = cases.turn_errors(twisted % (2 * np.pi), one, at)
    assert np.nanmedian(right) < 3
    wrong = cases.turn_errors(rng.uniform(0, 2 * np.pi, one.shape), one, at)
    assert np.nanmedian(wrong) == pytest.approx(90, abs=15)
    still = cases.turn_errors(np.zeros(one.shape), one, at)
    assert np.nanmedian(still) > 20
    # Of an angle that is known modulo half a turn, half a turn is no error.
    flipped = (twisted + np.pi * rng.integers(0, 2, one.shape)) % (2 * np.pi)
    assert np.nanmedian(cases.turn_errors(flipped % np.pi, 2 * one, at)) < 3
    assert np.nanmean(cases.turn_errors(flipped, one, at)) > 45
    assert np.isnan(cases.turn_errors(twisted, 0 * one, at)).all()


@pytest.mark.slow
def test_sublattices_are_told_by_the_true_orientation(scans):
    scan = scans["measured_pristine"]
    at = at_sites(scan, sites(scan))
    own, lattice = cases.sublattices(at)
    assert cases.told(cases.direction(at.orientation), lattice, own) == 1.0


def test_the_place_in_the_scan_tells_no_sites():
    row, col = np.mgrid[:24, :24]
    label = np.where((row // 3 + col // 3) % 2 == 0, "atom", "hollow")
    everywhere = np.ones(label.shape, dtype=bool)
    place = np.stack([row, col], axis=-1).astype(float)
    assert cases.told(place, label, everywhere) < 0.65
    assert cases.told((label == "atom")[..., None].astype(float), label, everywhere) == 1.0
    # A kind in one quarter alone has no equals elsewhere.
    label[:4, :4] = "defect"
    assert cases.told((label == "atom")[..., None].astype(float), label, everywhere) == 1.0
    assert cases.told(place, np.full(label.shape, "atom"), everywhere) is None


@pytest.mark.slow
def test_the_benchmark_writes_its_figures_and_tables(cache, scans, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(cases.MODELS, "default", lambda **options: RRVAE(max_epochs=100, **options))
    cases.main(["zns", "--small", "--cache", str(cache), "--out", str(tmp_path), "--bin", "2"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "cases.md",
        "cases.json",
        "cases_zns.png",
        "cases_zns_manifold_default.png",
    }
    rows = {row["by"]: row for row in json.loads((tmp_path / "cases.json").read_text())["zns"]}
    assert 0.3 < rows["default, seed 0"]["sites told"] <= 1
    assert rows["COM magnitude"]["sites told"] > 0.3
    assert "| default, seed 0 |" in capsys.readouterr().out


def test_unknown_names_are_refused(capsys):
    with pytest.raises(SystemExit):
        cases.main(["graphite"])
    assert "names must be out of graphene_coherent" in capsys.readouterr().err


def test_distances_of_patterns_do_not_count_their_turn():
    rows, cols = np.indices((48, 48)) - 23.5
    radius, turn = np.hypot(rows, cols), np.arctan2(cols, rows)

    def lobed(angle, lobes):
        return 20 * np.exp(-((radius - 12) ** 2) / 18) * (1 + 0.5 * np.cos(lobes * (turn - angle)))

    patterns = np.array([lobed(0, 3), lobed(0.7, 3), lobed(0, 2), 4 * lobed(0, 3)])
    apart = distances(patterns, (23.5, 23.5), 0.1 * np.eye(2))
    counts = patterns[0].sum()
    assert apart[0, 1] < 0.02 * apart[0, 2]
    # Of four times the counts: twice the square roots, whose distance is their length.
    assert apart[0, 3] == pytest.approx(2 * np.sqrt(counts), rel=0.01)
    np.testing.assert_array_equal(apart, apart.T)
