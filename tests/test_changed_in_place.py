# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts crop, swap and calibrate in place: earlier maps are then refused, not drawn."""

import h5py
import hyperspy.api as hs
import numpy as np
import py4DSTEM
import pytest

import py4dstem_rrvae  # noqa: F401, registers .rrvae
from py4dstem_rrvae import RRVAE, synthetic

FRAMES = synthetic.lobes(100, size=24).frames.reshape(10, 10, 24, 24)
OPTIONS = {"random_state": 0, "progress": False, "device": "cpu", "max_epochs": 2}


def cube(data=FRAMES):
    made = py4DSTEM.DataCube(data.copy())
    made.calibration.set_origin((11.5, 11.5))
    made.calibration.set_R_pixel_units("A")
    return made


def signal():
    made = hs.signals.Signal2D(FRAMES.copy())
    for axis in made.axes_manager.navigation_axes:
        axis.scale, axis.units = 0.5, "nm"
    return made


@pytest.mark.parametrize("change", ["swap_Rxy", "swap_Qxy"])
def test_maps_of_a_cube_that_was_swapped_are_refused(change):
    made = cube()
    made.rrvae.fit(**OPTIONS)
    made.rrvae.plot()
    getattr(made, change)()
    for use in (made.rrvae.plot, made.rrvae.anomaly):
        with pytest.raises(ValueError, match="changed since its maps were made"):
            use()
    made.rrvae.fit(**OPTIONS)
    made.rrvae.plot()


def test_maps_of_a_cube_belong_to_it_after_it_was_read_again(tmp_path):
    made = cube()
    made.rrvae.fit(**OPTIONS)
    py4DSTEM.save(str(tmp_path / "a.h5"), made, mode="o")
    again = py4DSTEM.read(str(tmp_path / "a.h5"))
    again.rrvae.plot()
    again.data[:] = again.data[::-1].copy()
    with pytest.raises(ValueError, match="changed"):
        again.rrvae.plot()


@pytest.mark.slow
def test_maps_of_a_signal_that_was_cropped_or_swapped_are_refused():
    for change in (
        lambda s: s.crop(0, 2, 8),
        lambda s: setattr(s, "data", s.data.swapaxes(0, 1).copy()),
        lambda s: setattr(s.axes_manager[0], "scale", 7.0),
    ):
        made = signal()
        made.rrvae.fit(center=(11.5, 11.5), **OPTIONS)
        made.rrvae.plot()
        change(made)
        for use in (made.rrvae.plot, made.rrvae.smooth_angle, made.rrvae.anomaly):
            with pytest.raises(ValueError, match="changed since its maps were made"):
                use()


def test_a_closed_file_is_named_as_such(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("d", data=FRAMES)
        on_file = py4DSTEM.DataCube(data)
    for use in (lambda: RRVAE(**OPTIONS).fit(data), lambda: on_file.rrvae.fit(**OPTIONS)):
        with pytest.raises(ValueError, match="is closed: open it again"):
            use()
    signal().save(tmp_path / "a.hspy")
    lazy = hs.load(tmp_path / "a.hspy", lazy=True)
    lazy.close_file()
    with pytest.raises(ValueError, match="is closed: open it again"):
        lazy.rrvae.fit(center=(11.5, 11.5), **OPTIONS)


def test_roi_is_asked_for_on_both_hosts():
    roi = np.ones((10, 10), bool)
    roi[:, 0] = False
    maps = cube().rrvae.fit(roi=roi, **OPTIONS)
    assert maps["z1"].data.shape == (10, 10)
    for given in (roi, hs.signals.Signal2D(roi).T):
        found = signal().rrvae.fit(roi=given, center=(11.5, 11.5), **OPTIONS)
        np.testing.assert_allclose(found["z1"].data, maps["z1"].data, atol=1e-4)


def test_axes_in_other_units_of_length_are_drawn_in_proportion():
    made = signal()
    x, y = made.axes_manager.navigation_axes
    x.scale, x.units, y.scale, y.units = 5.0, "nm", 0.01, "um"
    made.rrvae.fit(center=(11.5, 11.5), **OPTIONS)
    assert made.rrvae.plot().axes[0].get_aspect() == pytest.approx(2)


def test_beam_shifts_are_taken_in_their_own_units():
    made = signal()
    made.set_signal_type("electron_diffraction")
    for axis in made.axes_manager.signal_axes:
        axis.scale, axis.units = 0.05, "$A^{-1}$"
    shift = made.get_direct_beam_position(method="center_of_mass")
    calibrated = shift.deepcopy()
    calibrated = calibrated.pixels_to_calibrated_units() or calibrated
    one, other = (made.rrvae.fit(center=s, **OPTIONS).model for s in (shift, calibrated))
    np.testing.assert_allclose(one.fitted_.detector.center, other.fitted_.detector.center)
    calibrated.units = ["mrad", "mrad"]
    with pytest.raises(ValueError, match="beam shift must be in pixels"):
        made.rrvae.fit(center=calibrated, **OPTIONS)


def test_integers_are_decomposed_and_stay_integers():
    made = signal()
    made.rrvae.decomposition(center=(11.5, 11.5), **OPTIONS)
    assert made.data.dtype == FRAMES.dtype
    assert made.learning_results.loadings.shape == (100, 2)


def test_a_model_is_not_saved_onto_a_folder(tmp_path):
    model = RRVAE(**OPTIONS).fit(FRAMES)
    with pytest.raises(ValueError, match="is a folder"):
        model.save(tmp_path)
