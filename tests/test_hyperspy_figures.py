# SPDX-License-Identifier: GPL-3.0-or-later
"""The HyperSpy adapter: figures and arrows."""

import hyperspy.api as hs
import hyperspy_scans as scans
import numpy as np
import pytest
from hyperspy_fixtures import data, learned, signal  # noqa: F401, fixtures
from hyperspy_scans import QUICK


def test_plot_draws_com_phase_and_maps(signal):
    signal.rrvae.fit(**QUICK)
    signal.rrvae.compare()
    titles = [ax.get_title().split(" (")[0] for ax in signal.rrvae.plot().axes if ax.get_title()]
    assert titles[:3] == ["COM magnitude", "COM direction", "retrieved phase"]
    assert titles[3:5] == ["z1", "z2"]
    assert titles[-2:] == ["fold", "error"]


def test_plot_of_a_line_and_of_a_series(data, learned):
    line = scans.scan(data[0])
    line.rrvae.encode(learned.model, background="stored")
    axes = line.rrvae.plot().axes
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), learned["z1"].data[0])
    assert axes[-1].get_xlabel() == "x (um)"
    series = scans.scan(np.stack([data, data]))
    series.rrvae.encode(learned.model, background="stored")
    with pytest.raises(
        ValueError, match=r"one number per navigation axis of the maps, 1; got \(\)"
    ):
        series.rrvae.plot()
    images = [ax.images[0].get_array() for ax in series.rrvae.plot(index=(1,)).axes if ax.images]
    np.testing.assert_allclose(images[0], learned["z1"].data, rtol=1e-5)


def test_plot_needs_maps(signal):
    with pytest.raises(ValueError, match="no maps to plot: call fit, encode or compare first"):
        signal.rrvae.plot()


def test_arrows_point_along_the_angle_and_stay_in_the_file(learned, tmp_path):
    angle = learned["angle"]
    arrows = angle.arrows(every=2, color="red")
    at = arrows.kwargs["offsets"]
    assert at.shape == (3 * 4, 2)
    np.testing.assert_allclose(at[0], [0.47 * 1 + 1.25, 0.31 * 1 - 2.5])
    turn = np.arctan2(arrows.kwargs["V"], arrows.kwargs["U"])
    want = angle.data[1::2, 1::2].ravel()
    np.testing.assert_allclose(np.exp(1j * turn), np.exp(1j * want), atol=1e-6)
    other = learned["z1"].deepcopy()
    other.add_marker(arrows, permanent=True)
    other.save(tmp_path / "z1.hspy")
    kept = hs.load(tmp_path / "z1.hspy").metadata.Markers.Arrows
    np.testing.assert_allclose(kept.kwargs["offsets"], at)


def test_arrows_leave_out_undefined_angles(learned):
    angle = learned["angle"].deepcopy()
    angle.data[1, 1] = np.nan
    assert len(angle.arrows(every=2).kwargs["offsets"]) == 3 * 4 - 1
    angle.data[:] = np.nan
    with pytest.raises(ValueError, match="arrows need defined angles; all those drawn are NaN"):
        angle.arrows()
    with pytest.raises(ValueError, match="arrows need a map of angles; got 'z1 of scan'"):
        learned["z1"].arrows()
