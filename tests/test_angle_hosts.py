# SPDX-License-Identifier: GPL-3.0-or-later
"""Angles without jumps on both hosts: the numbers, the axes, the files, what replaces what."""

import hyperspy.api as hs
import hyperspy_scans
import numpy as np
import py4DSTEM
import pytest
from py4dstem_scans import LEARNED, SCAN, data_cube

from py4dstem_rrvae import RRVAE, smooth_angle, unwrap_angle
from py4dstem_rrvae.adapters import hyperspy_signals as signals
from py4dstem_rrvae.adapters import py4dstem
from py4dstem_rrvae.maps.angle import smoothed_map, unwrapped_map
from py4dstem_rrvae.maps.latent import LatentMap, period_of

RAMP = 0.1 * np.arange(48).reshape(6, 8)


def titles(figure):
    return {ax.get_title() for ax in figure.axes}


@pytest.fixture(scope="module")
def of_cube(patterns):
    return RRVAE(latent_dim=1, **LEARNED).fit(py4dstem.frames(data_cube(patterns)))


@pytest.fixture(scope="module")
def of_signal():
    return hyperspy_scans.learned().model


@pytest.fixture
def fitted(cube, of_cube):
    cube.rrvae.encode(of_cube, background="stored")
    return cube


def of(cube, name):
    return np.asarray(cube.tree(f"rrvae/{name}").data)


def test_a_data_cube_gets_both_beside_the_angle(fitted):
    smooth, turned = fitted.rrvae.smooth_angle(1.5), fitted.rrvae.unwrap_angle()
    for map_, name in ((smooth, "angle_smoothed"), (turned, "angle_unwrapped")):
        assert type(map_) is py4DSTEM.RealSlice
        assert map_ is fitted.tree(f"rrvae/{name}")
        assert map_.calibration is fitted.calibration
        assert map_.data.shape == SCAN
        assert map_.units == map_.metadata["gen_params"]["units"] == "rad"
    angle, fold = of(fitted, "angle"), of(fitted, "fold")
    assert (fold > 0).mean() > 0.9
    std = np.where(fold > 0, of(fitted, "angle_std"), 1.0)
    np.testing.assert_allclose(smooth.data, smooth_angle(angle, fold, 1.5, std))
    np.testing.assert_allclose(turned.data, unwrap_angle(angle, fold))
    assert fitted.tree("rrvae").metadata["smoothed_angle_params"]["sigma"] == 1.5
    drawn = titles(fitted.rrvae.plot())
    assert {"unwrapped angle"} <= drawn
    assert any(title.startswith("smoothed angle") for title in drawn)


def test_they_survive_the_file_and_can_be_made_from_it(fitted, tmp_path):
    smooth = fitted.rrvae.smooth_angle()
    py4DSTEM.save(tmp_path / "scan.h5", fitted)
    held = py4DSTEM.read(tmp_path / "scan.h5")
    np.testing.assert_array_equal(held.tree("rrvae/angle_smoothed").data, smooth.data)
    np.testing.assert_array_equal(held.rrvae.smooth_angle().data, smooth.data)
    assert np.isfinite(held.rrvae.unwrap_angle().data).any()


def test_new_maps_remove_them_and_new_widths_replace_one(fitted):
    first, turned = fitted.rrvae.smooth_angle(1.0), fitted.rrvae.unwrap_angle()
    second = fitted.rrvae.smooth_angle(2.0)
    assert not np.array_equal(first.data, second.data)
    assert fitted.tree("rrvae/angle_smoothed") is second
    assert fitted.tree("rrvae/angle_unwrapped") is turned
    fitted.rrvae.encode(fitted.rrvae.model)
    assert not {"angle_smoothed", "angle_unwrapped"} & set(fitted.tree("rrvae").treekeys)


def test_a_mask_is_kept_to(fitted):
    mask = np.ones(SCAN, dtype=bool)
    mask[2] = False
    found = fitted.rrvae.unwrap_angle(mask).data
    assert np.isnan(found[2]).all() and np.isfinite(found).any()
    with pytest.raises(ValueError, match=r"mask must have shape \(6, 8\); got \(2, 2\)"):
        fitted.rrvae.unwrap_angle(np.ones((2, 2)))


def test_hosts_without_latent_maps(cube):
    for call in (cube.rrvae.smooth_angle, cube.rrvae.unwrap_angle):
        with pytest.raises(ValueError, match="no map of the angle: call fit or encode first"):
            call()
    signal = scan()
    for call in (signal.rrvae.smooth_angle, signal.rrvae.unwrap_angle):
        with pytest.raises(ValueError, match="no latent maps to judge by: call fit or encode"):
            call()


def scan(shape=hyperspy_scans.SCAN):
    return hyperspy_scans.scan(hyperspy_scans.counts_of(hyperspy_scans.turns(shape)))


@pytest.mark.parametrize("lazy", [False, True])
def test_a_signal_gives_both_on_its_axes(lazy, of_signal, tmp_path):
    signal = scan().as_lazy() if lazy else scan()
    maps = signal.rrvae.encode(of_signal, background="stored")
    smooth, turned = signal.rrvae.smooth_angle(1.0), signal.rrvae.unwrap_angle()
    angle, fold, std = (np.asarray(maps[n].data) for n in ("angle", "fold", "angle_std"))
    std = np.where(fold > 0, std, 1.0)
    np.testing.assert_allclose(np.asarray(smooth.data), smooth_angle(angle, fold, 1.0, std))
    np.testing.assert_allclose(np.asarray(turned.data), unwrap_angle(angle, fold))
    known = [hyperspy_scans.calibration(a) for a in maps["angle"].axes_manager.signal_axes]
    for map_, cyclic in ((smooth, True), (turned, False)):
        assert isinstance(map_, signals.LazyLatentMap2D if lazy else signals.LatentMap2D)
        assert [hyperspy_scans.calibration(a) for a in map_.axes_manager.signal_axes] == known
        assert map_.metadata.RRVAE.cyclic is cyclic
    assert smooth.metadata.RRVAE.sigma == 1.0
    assert {"unwrapped angle"} <= titles(signal.rrvae.plot())
    smooth.save(tmp_path / "smooth.hspy")
    kept = hs.load(tmp_path / "smooth.hspy")
    np.testing.assert_array_equal(kept.data, np.asarray(smooth.data))
    assert kept.arrows(every=2).kwargs["offsets"].shape[1] == 2


def test_a_mask_may_be_a_signal(of_signal):
    signal = scan()
    maps = signal.rrvae.encode(of_signal, background="stored")
    mask = maps["z1"].deepcopy()
    mask.data = np.ones(mask.data.shape, dtype=bool)
    mask.data[:, 3] = False
    assert np.isnan(signal.rrvae.unwrap_angle(mask).data[:, 3]).all()


def plain(angle, fold):
    std = np.full(np.shape(angle), 0.1)
    return {
        "angle": LatentMap("angle", angle, "rad", period_of(fold), ""),
        "angle_std": LatentMap("angle_std", std, "rad", None, ""),
        "fold": LatentMap("fold", fold, "dimensionless", None, ""),
    }


def test_scans_of_a_series_are_not_mixed():
    angle = np.stack([np.full((6, 8), 0.2), np.full((6, 8), 0.6)])
    maps = plain(angle, np.full((2, 6, 8), 6))
    np.testing.assert_allclose(smoothed_map(maps, 2.0).values, angle, atol=1e-9)
    ramps = np.stack([RAMP, RAMP + 0.3])
    found = unwrapped_map(plain(np.mod(ramps, np.pi / 3), np.full(ramps.shape, 6))).values
    np.testing.assert_allclose(np.diff(found, axis=-1), 0.1, atol=1e-9)


def test_a_line_is_smoothed_and_not_unwrapped():
    line = np.full(9, 0.4)
    maps = plain(line, np.full(9, 3))
    np.testing.assert_allclose(smoothed_map(maps, 1.0).values, line, atol=1e-9)
    with pytest.raises(ValueError, match=r"shape \(rows, cols\); got \(9,\)"):
        unwrapped_map(maps)
