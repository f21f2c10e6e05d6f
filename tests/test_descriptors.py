# SPDX-License-Identifier: GPL-3.0-or-later
"""Symmetry descriptors of whole scans, from any array and on both hosts."""

import pickle

import dask.array as da
import hyperspy_scans
import numpy as np
import py4DSTEM
import pytest

from py4dstem_rrvae import Frames, describe, synthetic
from py4dstem_rrvae.adapters import hyperspy_signals as signals
from py4dstem_rrvae.adapters import py4dstem
from py4dstem_rrvae.scan.binning import Binner
from py4dstem_rrvae.symmetry.descriptors import Scorer, sharp_bins

CENTER = (15.5, 15.5)
ORDER = {n: n - 2 for n in range(2, 13)}


@pytest.fixture(scope="module")
def lobes():
    return synthetic.lobes(60, size=32, counts=2e4)


@pytest.fixture(scope="module")
def scores(lobes):
    return describe(lobes.frames.reshape(6, 10, 32, 32), center=CENTER, progress=False)


def test_scores_tell_the_number_of_lobes(lobes, scores):
    assert scores.rotation.shape == (6, 10, 11)
    rotation = scores.rotation.reshape(60, 11)
    for fold in np.unique(lobes.fold):
        own = rotation[lobes.fold == fold]
        assert (own[:, ORDER[fold]] > 0.9).all()
        for other in (2, 3, 6):
            if fold % other:
                assert (own[:, ORDER[other]] < 0.5).all()


def test_lobes_are_mirror_symmetric_about_their_turn(lobes, scores):
    assert (scores.mirror > 0.9).all()
    step = np.pi / lobes.fold
    off = scores.mirror_axis.ravel() - lobes.angle
    off = np.mod(off + step / 2, step) - step / 2
    assert np.median(np.abs(off)) < np.radians(3)


@pytest.mark.parametrize("kind", ["dask", "single", "numpy"])
def test_any_way_in_gives_the_same(kind, lobes, scores):
    patterns = lobes.frames.reshape(6, 10, 32, 32)
    if kind == "dask":
        patterns = da.from_array(patterns, chunks=(2, 4, 10, 32))
    found = describe(
        patterns if kind != "single" else patterns[2, 3], center=CENTER, progress=False
    )
    want = scores.rotation if kind != "single" else scores.rotation[2, 3]
    np.testing.assert_allclose(found.rotation, want, atol=1e-5)


def test_an_unknown_centre_is_found(lobes, scores):
    found = describe(lobes.frames, progress=False)
    assert np.abs(found.rotation - scores.rotation.reshape(60, 11)).mean() < 0.05


def test_a_wandering_beam_has_bins_of_its_own(lobes, scores):
    shift = np.random.default_rng(0).integers(-2, 3, (60, 2))
    moved = np.stack([np.roll(f, s, (0, 1)) for f, s in zip(lobes.frames, shift, strict=True)])
    found = describe(moved, center=CENTER + shift, progress=False)
    apart = np.abs(found.rotation - scores.rotation.reshape(60, 11))
    assert np.median(apart) < 0.02
    with pytest.warns(UserWarning, match=r"stands 1\.[234]\d pixels"):
        ignored = describe(moved, center=CENTER, progress=False)
    assert np.abs(ignored.rotation - scores.rotation.reshape(60, 11)).mean() > 3 * apart.mean()


def test_scores_of_few_counts_are_not_lower(lobes, scores):
    few = synthetic.lobes(600, size=32, counts=500)
    found = describe(few.frames, center=CENTER, progress=False)
    own = found.rotation[few.fold == 6][:, ORDER[6]]
    assert np.nanmean(own) == pytest.approx(1, abs=0.05)


def test_noise_alone_has_no_symmetry():
    noise = np.random.default_rng(0).poisson(3.0, (50, 32, 32))
    found = describe(noise, center=CENTER, progress=False)
    assert np.isnan(found.rotation).all(axis=-1).mean() > 0.95
    np.testing.assert_array_equal(np.isnan(found.mirror), np.isnan(found.rotation[..., 0]))


def test_data_that_are_no_counts_keep_their_noise(lobes):
    scaled = describe(lobes.frames * 0.5 + 0.25, center=CENTER, progress=False)
    assert np.isfinite(scaled.rotation).all()


def test_the_scorer_pickles(lobes, scores):
    scorer = Scorer(Binner.of(Frames(lobes.frames, CENTER), sharp_bins), "angular", 1.0)
    rows = pickle.loads(pickle.dumps(scorer))(lobes.frames, np.arange(60))
    np.testing.assert_allclose(rows[:, :11], scores.rotation.reshape(60, 11), atol=1e-5)


def test_maps_say_what_they_are(scores):
    maps = scores.maps()
    assert list(maps) == [f"rotation_{n}" for n in range(2, 13)] + ["mirror_score", "mirror_axis"]
    np.testing.assert_array_equal(maps["rotation_6"].values, scores.rotation[..., 4])
    assert (maps["mirror_axis"].units, maps["mirror_axis"].period) == ("rad", np.pi)
    assert {m.units for n, m in maps.items() if n != "mirror_axis"} == {"dimensionless"}


def test_bad_input_gets_one_sentence(lobes):
    with pytest.raises(ValueError, match=r"kind must be one of .*'angular', 'pearson'"):
        describe(lobes.frames, center=CENTER, kind="round", progress=False)
    with pytest.raises(ValueError, match='background must be "none" or "mean"; got None'):
        describe(lobes.frames, center=CENTER, background=None, progress=False)
    with pytest.raises(ValueError, match="center must lie on the detector"):
        describe(lobes.frames, center=(50, 3), progress=False)


def test_what_is_fixed_to_the_detector_can_be_left_out(lobes, scores):
    """A bright edge on one side of the detector makes every pattern lopsided."""
    lopsided = np.zeros((32, 32))
    lopsided[4:9, 10:22] = 200
    spoilt = lobes.frames + np.random.default_rng(1).poisson(lopsided, lobes.frames.shape)
    want = scores.rotation.reshape(60, 11)
    raw = describe(spoilt, center=CENTER, progress=False).rotation
    cured = describe(spoilt, center=CENTER, background="mean", progress=False).rotation
    assert np.abs(raw - want).mean() > 3 * np.abs(cured - want).mean()
    assert np.abs(cured - want).mean() < 0.1
    # The mean's noise stays in the pattern, and is taken out of the scores.
    own = cured[lobes.fold == 6][:, ORDER[6]]
    assert own.mean() == pytest.approx(1, abs=0.05)


# On the hosts


def test_data_cubes_get_slices(lobes, scores, tmp_path):
    cube = py4dstem.datacube(
        lobes.frames.reshape(6, 10, 32, 32), scan_step=0.3, q_per_pixel=0.05, center=CENTER
    )
    cube.calibration.set_QR_rotflip_degrees((0.0, False))
    maps = cube.rrvae.symmetry()
    np.testing.assert_allclose(maps["rotation_3"].data, scores.rotation[..., 1], atol=1e-4)
    np.testing.assert_allclose(maps["mirror_axis"].data, scores.mirror_axis, atol=1e-4)
    assert maps["mirror_axis"].calibration is cube.calibration
    about = maps["mirror_axis"].metadata["gen_params"]
    assert (about["cyclic"], about["period"]) == (True, pytest.approx(np.pi))
    cube.rrvae.fit(max_epochs=1, progress=False, random_state=0)
    py4DSTEM.save(tmp_path / "cube.h5", cube)
    again = py4DSTEM.read(tmp_path / "cube.h5")
    np.testing.assert_array_equal(again.tree("rrvae/mirror_axis").data, maps["mirror_axis"].data)
    again.rrvae.plot()


def test_signals_get_maps_in_their_convention():
    turns = hyperspy_scans.turns()
    signal = hyperspy_scans.scan(hyperspy_scans.counts_of(turns))
    maps = signal.rrvae.symmetry(show_progressbar=False)
    axis = maps["mirror_axis"]
    assert type(axis) is signals.LatentMap2D
    assert [a.name for a in axis.axes_manager.signal_axes] == ["x", "y"]
    off = np.mod(axis.data - turns + np.pi / 2, np.pi) - np.pi / 2
    assert np.degrees(np.abs(off)).max() < 5
    assert (maps["mirror_score"].data > 0.95).all()
    assert (maps["rotation_2"].data < 0.5).all()
    assert axis.metadata.RRVAE.period == "3.141593"
    assert axis.metadata.RRVAE.kind == "angular"
    lazy = signal.as_lazy().rrvae.symmetry(show_progressbar=False)
    np.testing.assert_allclose(lazy["rotation_6"].data, maps["rotation_6"].data, atol=1e-5)
    axis.arrows(every=2)
