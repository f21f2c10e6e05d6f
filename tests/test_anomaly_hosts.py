# SPDX-License-Identifier: GPL-3.0-or-later
"""Anomaly maps on both hosts: calibration, metadata, files, what replaces what."""

import hyperspy_scans
import numpy as np
import py4DSTEM
import pytest
from py4dstem_scans import ENERGY, NAMES, QUICK, SCAN

from py4dstem_rrvae import RRVAE, anomaly
from py4dstem_rrvae.adapters import hyperspy, py4dstem
from py4dstem_rrvae.adapters import hyperspy_signals as signals


def expected(source, neighbourhood):
    model = RRVAE(**QUICK).fit(source)
    collapsed = model.history_.collapsed
    return anomaly(model.encode(source), collapsed=collapsed, neighbourhood=neighbourhood)


def titles(figure):
    return {ax.get_title() for ax in figure.axes}


@pytest.mark.parametrize("neighbourhood", [0.0, 1.0])
def test_a_data_cube_gets_a_stock_map_beside_the_others(cube, neighbourhood):
    cube.rrvae.fit(**QUICK)
    map_ = cube.rrvae.anomaly(neighbourhood=neighbourhood)
    assert type(map_) is py4DSTEM.RealSlice
    assert map_ is cube.tree("rrvae/anomaly")
    assert map_.data.shape == SCAN
    assert map_.calibration is cube.calibration
    assert map_.units == map_.metadata["gen_params"]["units"] == "robust std"
    assert cube.tree("rrvae").metadata["anomaly_params"]["neighbourhood"] == neighbourhood
    np.testing.assert_array_equal(map_.data, expected(py4dstem.frames(cube), neighbourhood))
    assert "anomaly" in titles(cube.rrvae.plot())


def test_it_goes_with_the_maps_it_was_made_from_and_spares_the_comparison(cube):
    cube.rrvae.fit(**QUICK)
    cube.rrvae.compare(energy=ENERGY)
    first = cube.rrvae.anomaly()
    again = cube.rrvae.anomaly(neighbourhood=1)
    assert cube.tree("rrvae/anomaly") is again is not first
    assert {*NAMES, "com_x", "anomaly"} < set(cube.tree("rrvae").treekeys)
    cube.rrvae.fit(**QUICK)
    assert "anomaly" not in cube.tree("rrvae").treekeys
    assert "com_x" in cube.tree("rrvae").treekeys
    assert "anomaly_params" not in cube.tree("rrvae").metadata


def test_a_cube_read_again_needs_no_fit(cube, tmp_path):
    cube.rrvae.fit(**QUICK)
    map_ = cube.rrvae.anomaly()
    py4DSTEM.save(tmp_path / "scan.h5", cube)
    held = py4DSTEM.read(tmp_path / "scan.h5")
    np.testing.assert_array_equal(held.tree("rrvae/anomaly").data, map_.data)
    np.testing.assert_array_equal(held.rrvae.anomaly().data, map_.data)


def test_a_cube_without_latent_maps(cube):
    with pytest.raises(ValueError, match="no latent maps to judge by: call fit or encode first"):
        cube.rrvae.anomaly()
    cube.rrvae.compare(energy=ENERGY)
    with pytest.raises(ValueError, match="no latent maps to judge by"):
        cube.rrvae.anomaly()


def scan(shape=hyperspy_scans.SCAN):
    return hyperspy_scans.scan(hyperspy_scans.counts_of(hyperspy_scans.turns(shape)))


@pytest.mark.parametrize("lazy", [False, True])
def test_a_signal_gives_a_map_on_its_axes(lazy):
    signal = scan().as_lazy() if lazy else scan()
    maps = signal.rrvae.fit(**QUICK)
    map_ = signal.rrvae.anomaly(neighbourhood=1)
    assert isinstance(map_, signals.LazyLatentMap2D if lazy else signals.LatentMap2D)
    found, known = (
        [hyperspy_scans.calibration(a) for a in m.axes_manager.signal_axes]
        for m in (map_, maps["z1"])
    )
    assert found == known
    about = map_.metadata.RRVAE
    assert (about.map, about.units, about.neighbourhood) == ("anomaly", "robust std", 1)
    assert map_.metadata.Signal.quantity == "anomaly (robust std)"
    assert "anomaly" in titles(signal.rrvae.plot())
    source = hyperspy_scans.scan(np.asarray(signal.data))

    np.testing.assert_allclose(np.asarray(map_.data), expected(hyperspy.frames(source), 1))


def test_a_signal_fitted_again_has_none_yet():
    signal = scan()
    with pytest.raises(ValueError, match="no latent maps to judge by: call fit or encode first"):
        signal.rrvae.anomaly()
    signal.rrvae.fit(**QUICK)
    signal.rrvae.anomaly()
    signal.rrvae.fit(**QUICK)
    assert "anomaly" not in titles(signal.rrvae.plot())


def test_a_series_keeps_its_navigation_axis():
    signal = scan((3, 4, 5))
    signal.rrvae.fit(**QUICK)
    map_ = signal.rrvae.anomaly(neighbourhood=1)
    assert map_.axes_manager.navigation_shape == (3,)
    assert "anomaly" in titles(signal.rrvae.plot(index=(1,)))
