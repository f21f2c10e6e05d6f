# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts crop, swap and calibrate in place: earlier maps are then refused, not drawn."""

import h5py
import hyperspy.api as hs
import numpy as np
import py4DSTEM
import pytest

import py4dstem_rrvae  # noqa: F401, registers .rrvae
from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.adapters import _fingerprint, _hyperspy_axes
from py4dstem_rrvae.adapters import hyperspy as adapter

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


@pytest.mark.parametrize(
    ("change", "other"),
    [
        (lambda s: setattr(s, "data", s.data[::-1]), True),
        (lambda s: s.crop(2, 4, 20), True),
        (lambda s: s.map(np.fliplr, inplace=True, show_progressbar=False), True),
        (lambda s: s.change_dtype("float32"), True),
        (lambda s: s.rechunk(nav_chunks=(5, 5)), False),
        (lambda s: s.compute(show_progressbar=False), False),
    ],
    ids=range(6),
)
def test_lazy_patterns_are_known_by_the_name_dask_gave_them(change, other):
    made = signal().as_lazy()
    before = _fingerprint.of(made.data)
    change(made)
    assert _fingerprint.differ(before, _fingerprint.of(made.data)) == other


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


@pytest.mark.parametrize(
    ("scale", "units"),
    [
        (0.01, "\u00b5m"),
        (0.01, "$\\mu$m"),
        (1e-5, "mm"),
        (100, "\u212b"),
        (100, "$\\AA$"),
        (10, " nm"),
    ],
)
def test_lengths_are_known_however_they_are_spelled(scale, units):
    made = signal()
    x, y = made.axes_manager.navigation_axes
    x.scale, x.units, y.scale, y.units = 5.0, "nm", scale, units
    assert _hyperspy_axes.pixel((x, y)) == (5.0, 2.0)


@pytest.mark.parametrize(("scale", "offset"), [(0.0, 0.0), (np.nan, 0.0), (1.0, np.inf)])
def test_scan_axes_without_a_scale_are_refused(scale, offset):
    made = signal()
    axis = made.axes_manager.navigation_axes[0]
    axis.scale, axis.offset = scale, offset
    with pytest.raises(ValueError, match="scan's axes must have a scale and an offset"):
        made.rrvae.fit(**OPTIONS)


def test_beam_shifts_in_other_words_and_masked():
    made = signal()
    for axis in made.axes_manager.signal_axes:
        axis.scale, axis.units = 0.05, "$A^{-1}$"
    shift = hs.signals.BaseSignal(np.full((10, 10, 2), 0.5)).transpose(signal_axes=1)
    for units, scale in (("1/\u00c5", 0.05), ("1/nm", 0.5), ("px", 1.0)):
        told = shift * scale
        told.units = [units, units]
        np.testing.assert_allclose(adapter._center(told, made), 11.5)
    with pytest.raises(ValueError, match="two components, x and y; got data of shape"):
        adapter._center(shift.isig[0], made)
    shift.data = np.ma.masked_array(shift.data, mask=np.arange(200).reshape(10, 10, 2) == 7)
    with pytest.raises(ValueError, match="center must be known; 1 of 100"):
        made.rrvae.fit(center=shift, **OPTIONS)


def test_a_decomposition_takes_a_beam_shift():
    made = signal()
    shift = hs.signals.BaseSignal(np.full((10, 10, 2), 0.5)).transpose(signal_axes=1)
    model = made.rrvae.decomposition(center=shift, **OPTIONS)
    np.testing.assert_allclose(model.fitted_.detector.center, 11.5)


@pytest.mark.parametrize("kind", ["masked", "NaN", "lazy NaN"])
@pytest.mark.parametrize("host", ["cube", "signal"])
def test_pixels_under_a_mask_take_no_part_in_comparisons(host, kind):
    kept = np.ones((24, 24), bool)
    kept[5, 6] = False
    # What is hidden there is no count.
    data = np.where(kept, FRAMES, np.nan).astype(np.float32)
    hidden = np.broadcast_to(~kept, data.shape)
    if kind == "masked":
        data = np.ma.masked_array(np.nan_to_num(data, nan=6e4), mask=hidden)
    mask = None if kind == "masked" else kept
    if host == "cube":
        made, known, options = cube(FRAMES), cube(FRAMES), {"energy": 60e3}
        for one in (made, known):
            one.calibration.set_Q_pixel_units("A^-1")
            one.calibration.set_QR_rotation(0.0)
    else:
        made, known, options = signal(), signal(), {}
    made.data = data
    made = made.as_lazy() if kind == "lazy NaN" and host == "signal" else made
    found, right = (
        made.rrvae.compare(mask=mask, **options),
        known.rrvae.compare(mask=kept, **options),
    )
    np.testing.assert_allclose(found["com_x"].data, right["com_x"].data, atol=1e-5)


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
