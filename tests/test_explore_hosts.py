# SPDX-License-Identifier: GPL-3.0-or-later
"""Exploring py4DSTEM data cubes and HyperSpy signals, with the widgets, but without a browser."""

import subprocess
import sys

import h5py
import hyperspy_scans
import numpy as np
import py4DSTEM
import pytest
from exploring import click, codes_of, drag
from hyperspy_fixtures import data, learned, signal  # noqa: F401, fixtures
from py4dstem_scans import ENERGY, QUICK, data_cube

from py4dstem_rrvae.adapters import hyperspy
from py4dstem_rrvae.explore import Explorer, State
from py4dstem_rrvae.scan.blocks import CLOSED

FEW = (8, 10)


@pytest.fixture
def lobed(few, quick):
    """A data cube of which both latents tell something, and its maps."""
    cube = py4DSTEM.DataCube(few.reshape(*FEW, 16, 16), name="lobes")
    cube.calibration.set_R_pixel_size(0.37)
    cube.calibration.set_R_pixel_units("A")
    cube.rrvae.encode(quick, background="stored")
    assert not any(quick.history_.collapsed)
    return cube


def shown(explorer):
    return explorer._text.value


def test_a_data_cube_is_clicked(lobed):
    explorer = lobed.rrvae.explore()
    view = explorer.view
    assert explorer.position == (4, 5)
    click(view, view.map.ax, 6, 1)
    assert explorer.position == (1, 6)
    np.testing.assert_array_equal(explorer.state.measured, lobed.data[1, 6])
    assert explorer.state.decoded.sum() == pytest.approx(lobed.data[1, 6].sum(), rel=0.1)
    assert "row 1, column 6" in shown(explorer)
    assert "0.37, 2.22 A" in shown(explorer)
    for name, digits in (("angle", 1), ("angle_std", 1)):
        degrees = np.degrees(lobed.tree(f"rrvae/{name}").data[1, 6])
        assert f"{degrees:.{digits}f}°" in shown(explorer)
    explorer.close()


def test_the_box_gives_the_host_s_virtual_images(lobed):
    explorer = lobed.rrvae.explore()
    view, plane = explorer.view, explorer.state.plane
    explorer._drag.value = "box"
    (_, right), (bottom, top) = plane.limits
    drag(view, view.plane.ax, (np.median(plane.x), bottom + 0.05), (right, top))
    assert explorer.mask.shape == lobed.Rshape == FEW
    assert 30 < explorer.mask.sum() < 50
    np.testing.assert_array_equal(explorer.selection, np.argwhere(explorer.mask))
    assert lobed.data[explorer.mask].mean(0).shape == lobed.Qshape
    assert f"{explorer.mask.sum()} of 80" in shown(explorer)
    explorer.clear()
    assert "in the box" not in shown(explorer)
    explorer.select(*plane.limits[0], *plane.limits[1])
    assert explorer.mask.all()


def test_the_choices_reach_the_figure(lobed):
    lobed.calibration.set_Q_pixel_size(0.05)
    lobed.calibration.set_Q_pixel_units("A^-1")
    lobed.calibration.set_QR_rotflip_degrees((0.0, False))
    with pytest.warns(UserWarning, match="made with another calibration"):
        lobed.rrvae.compare(energy=ENERGY)
    lobed.rrvae.anomaly()
    explorer = lobed.rrvae.explore()
    options = explorer._map.options
    assert {"COM magnitude", "DPC phase", "fold", "error", "anomaly"} <= set(options)
    assert explorer._map.value.startswith("z1")
    explorer._map.value = "DPC phase"
    assert explorer.view.map.ax.get_title() == "DPC phase"
    explorer._intensity.value = "less the mean"
    assert explorer.view.figure.axes[2].images[0].get_cmap().name == "RdBu_r"
    explorer.decode_at(0, 0)
    assert "z1 = 0.00, z2 = 0.00" in shown(explorer)
    explorer.go_to(0, 0)
    assert "decoded at" not in shown(explorer)


def test_a_cube_read_again_decodes_with_a_model_s_file(cube, tmp_path):
    cube.rrvae.fit(**QUICK)
    cube.rrvae.model.save(tmp_path / "a.rrvae")
    py4DSTEM.save(tmp_path / "scan.h5", cube)
    again = py4DSTEM.read(tmp_path / "scan.h5")
    alone = again.rrvae.explore()
    assert alone.state.decoded is None
    assert "less the mean" not in alone._intensity.options
    explorer = again.rrvae.explore(model=tmp_path / "a.rrvae")
    expected = cube.rrvae.explore().state.decoded
    np.testing.assert_array_equal(explorer.state.decoded, expected)


def test_maps_of_another_scan_than_the_one_trained_on_follow_its_dose(cube):
    cube.rrvae.fit(**QUICK)
    other = data_cube(2 * cube.data)
    other.rrvae.encode(cube.rrvae.model)
    assert other.rrvae.explore().state.rescale
    assert not cube.rrvae.explore().state.rescale


def test_cubes_that_cannot_be_explored(cube, patterns, tmp_path):
    with pytest.raises(ValueError, match="no latent maps to explore: call fit or encode first"):
        cube.rrvae.explore()
    cube.rrvae.fit(**QUICK)
    with pytest.raises(TypeError, match="model must be an RRVAE; got int"):
        cube.rrvae.explore(model=3)
    with pytest.raises(ValueError, match="latents must be one or two numbers from 1 to 2"):
        cube.rrvae.explore(latents=(3,))
    cube.data = cube.data[:4]
    with pytest.raises(ValueError, match=r"the maps must fit the datacube's scan of \(4, 8\)"):
        cube.rrvae.explore()
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        cube.data = file.create_dataset("data", data=patterns)
        explorer = cube.rrvae.explore(latents=(1, 2))
    with pytest.raises(ValueError, match=CLOSED):
        cube.rrvae.explore()
    click(explorer.view, explorer.view.map.ax, 1, 1)
    assert CLOSED in shown(explorer)
    assert "role='alert'" in shown(explorer)
    assert explorer.position == (3, 4)
    # What needs no pattern still works.
    explorer.select(-9, 9, -9, 9)
    assert explorer.mask.any() and CLOSED not in shown(explorer)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_signal_is_clicked(lazy, data, learned):
    signal = hyperspy_scans.scan(data)
    signal = signal.as_lazy() if lazy else signal
    maps = signal.rrvae.encode(learned.model, background="stored")
    explorer = signal.rrvae.explore()
    view = explorer.view
    click(view, view.map.ax, 6, 1)
    np.testing.assert_array_equal(explorer.state.measured, data[1, 6])
    # y is in nm from -2.5 by 0.31, x in um from 1.25 by 0.47.
    assert f"{(-2.5 + 0.31) * 1e-3:.4g}, {1.25 + 6 * 0.47:.4g} um" in shown(explorer)
    # The text has the host's angle, the model gets its own.
    angle = np.degrees(np.asarray(maps["angle"].data)[1, 6])
    assert f"{angle:.1f}° ± " in shown(explorer)
    own = learned.model.encode(hyperspy.frames(hyperspy_scans.scan(data)))
    np.testing.assert_allclose(explorer.state.codes.angle, own.angle, atol=1e-9)
    residual = explorer.state.measured - explorer.state.decoded
    assert np.abs(residual).mean() < 0.2 * explorer.state.measured.mean()


def test_one_latent_is_drawn_against_the_error(signal, learned):
    explorer = signal.rrvae.explore(maps=learned, model=learned.model, latents=(1,))
    assert explorer.state.plane.names == ("z1", "error")
    assert explorer.view.map.ax.get_aspect() == pytest.approx(0.31e-3 / 0.47)


def test_all_latents_off_is_told(signal, learned, monkeypatch):
    for map_ in learned.values():
        monkeypatch.setattr(map_.metadata.RRVAE, "collapsed", ["z1"])
    explorer = signal.rrvae.explore(maps=learned)
    assert explorer._drag.disabled
    with pytest.raises(ValueError, match="all latents are switched off"):
        explorer.select(0, 1, 0, 1)


def test_a_series_is_explored_scan_by_scan():
    counts = hyperspy_scans.counts_of(hyperspy_scans.turns((3, 4, 5)))
    signal = hyperspy_scans.scan(counts)
    maps = signal.rrvae.fit(**QUICK)
    with pytest.raises(ValueError, match=r"index must be one of the scans .*, \(3,\); got \(\)"):
        signal.rrvae.explore()
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        signal.rrvae.explore(index=(3,))
    explorer = signal.rrvae.explore(index=(2,))
    explorer.go_to(1, 3)
    np.testing.assert_array_equal(explorer.state.measured, counts[2, 1, 3])
    np.testing.assert_array_equal(explorer.state.maps["z1"].values, maps["z1"].data[2])


def test_signals_that_cannot_be_explored(signal, learned, data):
    with pytest.raises(ValueError, match="no latent maps to judge by: call fit or encode first"):
        signal.rrvae.explore()
    smaller = hyperspy_scans.scan(data[:4])
    with pytest.raises(ValueError, match=r"those of this scan of \(4, 8\) positions; they are of"):
        smaller.rrvae.explore(maps=learned)
    with pytest.raises(ValueError, match="the maps must be those of fit or encode; fold is miss"):
        signal.rrvae.explore(maps={n: m for n, m in learned.items() if n != "fold"})
    line = hyperspy_scans.scan(data[2])
    line.rrvae.encode(learned.model)
    with pytest.raises(ValueError, match=r"of scans of rows and columns; got a line"):
        line.rrvae.explore()


@pytest.mark.parametrize("missing", ["ipywidgets", "ipympl", "matplotlib"])
def test_widgets_that_are_missing_are_named(missing, monkeypatch, few):
    for name in [n for n in sys.modules if n.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError) as raised:
        Explorer(few.reshape(8, 10, 16, 16), codes_of(np.zeros((8, 10, 2))))
    assert str(raised.value) == (
        'maps to touch need ipywidgets and ipympl: pip install "py4dstem_rrvae[explore]"'
    )


@pytest.mark.slow
def test_everybody_s_figures_stay_where_they_were():
    code = (
        "import matplotlib; matplotlib.use('svg'); import matplotlib.pyplot as plt, numpy as np\n"
        "from py4dstem_rrvae import Codes\n"
        "from py4dstem_rrvae.explore import Explorer\n"
        "flat = np.zeros((3, 4)); z = np.random.rand(3, 4, 2)\n"
        "Explorer(np.ones((3, 4, 8, 8)), Codes(z, z, flat, flat, flat.astype(int), flat))\n"
        "print(matplotlib.get_backend(), plt.get_fignums())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "svg []\n"


def test_arrays_need_no_host(few, quick):
    frames = few.reshape(8, 10, 16, 16)
    explorer = Explorer(frames, quick.encode(frames), model=quick)
    assert isinstance(explorer.state, State)
    assert "application/vnd.jupyter.widget-view+json" in explorer._repr_mimebundle_()
    assert "repeats" in explorer._map.value or quick.history_.collapsed[0]
