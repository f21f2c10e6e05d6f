# SPDX-License-Identifier: GPL-3.0-or-later
"""The HyperSpy adapter: maps on the scan's axes, conventions, pyxem's COM, the user's data."""

import hyperspy.api as hs
import hyperspy_scans as scans
import numpy as np
import pytest
import pyxem.signals
from hyperspy.axes import DataAxis
from hyperspy.signals import BaseSignal, Signal2D
from hyperspy_fixtures import data, learned, signal  # noqa: F401, fixtures
from hyperspy_scans import CENTER, DETECTOR, LEARNED, NAMES, QUICK, SCAN, calibration

from py4dstem_rrvae import RRVAE, Frames, datasets
from py4dstem_rrvae.adapters import _hyperspy_axes
from py4dstem_rrvae.adapters import hyperspy_signals as signals

KINDS = [
    Signal2D,
    pyxem.signals.Diffraction2D,
    pyxem.signals.ElectronDiffraction2D,
]


# What comes back


@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_registered_signals_on_the_scan_s_axes(kind, data):
    signal = scans.scan(data, kind)
    maps = signal.rrvae.fit(**QUICK)
    assert list(maps) == NAMES
    navigation = [calibration(axis) for axis in signal.axes_manager.navigation_axes]
    assert [axis[1] for axis in navigation] == [8, 6]
    for name, map_ in maps.items():
        assert type(map_) is signals.LatentMap2D
        assert map_.metadata.Signal.signal_type == "rrvae_latent_map"
        assert [calibration(axis) for axis in map_.axes_manager.signal_axes] == navigation
        assert map_.axes_manager.navigation_dimension == 0
        assert map_.data.shape == SCAN
        assert map_.metadata.General.title == f"{name} of scan"
    assert type(signal) is kind


def test_values_are_the_model_s(signal, data):
    maps = signal.rrvae.fit(**QUICK)
    frames = Frames(data, center=CENTER, matrix=scans.Q_SIZE * np.eye(2), q_units="A^-1")
    codes = RRVAE(**QUICK).fit(frames).encode(frames)
    for k in (0, 1):
        np.testing.assert_array_equal(maps[f"z{k + 1}"].data, codes.z[..., k])
        np.testing.assert_array_equal(maps[f"z{k + 1}_std"].data, codes.z_std[..., k])
    for name in ("angle_std", "fold", "error"):
        np.testing.assert_array_equal(maps[name].data, getattr(codes, name))


def test_metadata_tell_what_a_map_is_and_how_it_was_made(signal):
    maps = signal.rrvae.fit(latent_dim=1, mask=np.ones(DETECTOR, bool), **QUICK)
    about = maps["angle"].metadata.RRVAE
    assert (about.map, about.units, about.cyclic, about.period) == (
        "angle",
        "rad",
        True,
        "2 pi / fold",
    )
    assert maps["angle"].metadata.Signal.quantity == "angle (rad)"
    assert maps["z1"].metadata.Signal.quantity == "z1"
    assert (maps["z1"].metadata.RRVAE.cyclic, maps["z1"].metadata.RRVAE.period) == (False, "")
    assert about.convention == "from x (columns) towards y (rows)"
    assert (about.package, about.version, about.background) == ("py4dstem_rrvae", "0.1.0", "stored")
    assert (about.center, about.model.latent_dim, about.model.random_state) == ("axes", 1, 0)
    assert about.training_center == pytest.approx(CENTER)
    assert list(about.collapsed) == [
        f"z{k + 1}" for k, c in enumerate(maps.model.history_.collapsed) if c
    ]


@pytest.mark.parametrize("lazy", [False, True])
def test_a_series_navigates_and_a_line_is_a_line(lazy, learned):
    shape = (3, 4, 5)
    data = scans.counts_of(scans.turns(shape))
    series, line = scans.scan(data), scans.scan(data[0, 0])
    if lazy:
        series, line = series.as_lazy(), line.as_lazy()
    maps = series.rrvae.encode(learned.model, background="stored")
    (time,) = maps["z1"].axes_manager.navigation_axes
    assert calibration(time) == ("t", 3, 2.0, 7.0, "s")
    assert [a.name for a in maps["z1"].axes_manager.signal_axes] == ["x", "y"]
    assert maps["z1"].axes_manager.signal_shape == (5, 4)
    profile = line.rrvae.encode(learned.model, background="stored")["error"]
    assert isinstance(profile, signals.LazyLatentMap1D if lazy else signals.LatentMap1D)
    (x,) = profile.axes_manager.signal_axes
    assert calibration(x) == ("x", 5, 0.47, 1.25, "um")
    profile.compute() if lazy else None
    maps["error"].compute() if lazy else None
    np.testing.assert_allclose(profile.data, maps["error"].data[0, 0], rtol=1e-5)


def test_a_single_position_can_be_encoded(learned, data):
    one = scans.scan(data[2:3, 4:5])
    maps = one.rrvae.encode(learned.model, background="stored")
    assert maps["angle"].data.shape == (1, 1)
    np.testing.assert_allclose(maps["angle"].data[0, 0], learned["angle"].data[2, 4], rtol=1e-5)
    with pytest.raises(ValueError, match="fit needs at least 8 patterns; got 1"):
        one.rrvae.fit(**QUICK)
    with pytest.raises(ValueError, match='background="refit" needs at least 8 patterns; got 1'):
        one.rrvae.encode(learned.model)


def test_non_uniform_scan_axes_are_carried(data, learned):
    places = np.array([0.0, 0.5, 2.0, 2.5, 7.0, 8.0])
    signal = scans.scan(data)
    signal.axes_manager["y"].convert_to_non_uniform_axis()
    signal.axes_manager["y"].axis = places
    map_ = signal.rrvae.encode(learned.model, background="stored")["z1"]
    assert isinstance(map_.axes_manager["y"], DataAxis)
    np.testing.assert_array_equal(map_.axes_manager["y"].axis, places)
    assert map_.axes_manager["y"].units == "nm"
    assert calibration(map_.axes_manager["x"]) == calibration(signal.axes_manager["x"])


def test_axes_in_an_unusual_order_are_sorted_out(data, learned):
    turned = data.transpose(2, 0, 3, 1)
    names = ("ky", "y", "kx", "x")
    axes = [
        {
            "name": n,
            "size": size,
            "navigate": n in "xy",
            **dict(zip(("scale", "offset", "units"), scans.AXES[n], strict=True)),
        }
        for n, size in zip(names, turned.shape, strict=True)
    ]
    signal = BaseSignal(turned, axes=axes)
    maps = signal.rrvae.encode(learned.model, background="stored")
    np.testing.assert_allclose(maps["angle"].data, learned["angle"].data, rtol=1e-5)


def test_a_map_is_a_navigator(signal, learned):
    signal.plot(navigator=learned["z1"])
    assert signal._plot.navigator_data_function is not None
    hs.plot.plot_images([learned["z1"], learned["angle"]])


# Convention


def test_ten_degrees_more_move_com_and_angle_by_ten_degrees(learned, signal):
    turned = scans.scan(scans.counts_of(scans.turns() + np.radians(10), seed=3))
    moved = turned.rrvae.encode(learned.model, background="stored")["angle"].data
    com, moved_com = (
        np.arctan2(maps["com_y"].data, maps["com_x"].data)
        for maps in (signal.rrvae.compare(), turned.rrvae.compare())
    )
    angle = learned["angle"].data
    assert (learned["fold"].data == 1).all()
    assert scans.off_by(com, scans.turns()) < 1.5
    assert scans.off_by(angle, scans.turns()) < 3
    # The gauge is that of COM, so the two agree without an offset too.
    assert np.degrees(np.abs(np.angle(np.exp(1j * (angle - com)))).max()) < 5
    assert np.degrees(np.angle(np.exp(1j * (moved_com - com)).mean())) == pytest.approx(10, abs=0.5)
    assert np.degrees(np.angle(np.exp(1j * (moved - angle)).mean())) == pytest.approx(10, abs=1)


def test_angle_lies_within_its_period(learned):
    period = 2 * np.pi / learned["fold"].data
    assert (learned["angle"].data >= 0).all()
    assert (learned["angle"].data < period).all()


def test_com_is_the_beam_shift_s_negative_in_units_of_q(signal):
    comparison = signal.rrvae.compare()
    shift = comparison["beam_shift"]
    assert type(shift) is pyxem.signals.BeamShift
    own = scans.scan(signal.data, pyxem.signals.Diffraction2D)
    np.testing.assert_allclose(
        shift.data, own.get_direct_beam_position(method="center_of_mass").data, rtol=1e-6
    )
    index = np.indices(DETECTOR)
    for name, axis, number in (("com_y", index[0], 1), ("com_x", index[1], 0)):
        com = (signal.data * axis).sum((2, 3)) / signal.data.sum((2, 3))
        want = (com - com.mean()) * scans.Q_SIZE
        np.testing.assert_allclose(comparison[name].data, want, atol=1e-7)
        assert comparison[name].metadata.RRVAE.units == "1/Å"
        np.testing.assert_allclose(
            shift.data[..., number], DETECTOR[::-1][number] / 2 - com, rtol=1e-5
        )
    np.testing.assert_array_equal(comparison["phase"].data, shift.phase_retrieval().data)


def test_a_mask_keeps_pixels_out_of_com(signal, data):
    mask = np.ones(DETECTOR, dtype=bool)
    mask[:, 16:] = False
    masked = scans.scan(data * mask).rrvae.compare()
    for lazy in (False, True):
        own = signal.as_lazy() if lazy else signal
        found = own.rrvae.compare(mask=mask)
        np.testing.assert_allclose(found["com_x"].data, masked["com_x"].data, atol=1e-9)
    assert not np.allclose(masked["com_x"].data, signal.rrvae.compare()["com_x"].data)


def test_a_series_and_a_line_have_no_phase(data):
    for part in (np.stack([data, data]), data[0]):
        found = scans.scan(part).rrvae.compare()
        assert list(found) == ["beam_shift", "com_x", "com_y"]
        assert found["com_x"].data.shape == part.shape[:-2]


@pytest.mark.slow
def test_pyxem_s_phase_is_the_negative_of_the_specimen_s():
    simulation = datasets.graphene("numpy")
    phase = datasets.graphene("hyperspy").rrvae.compare()["phase"].data
    rows, cols = np.indices(phase.shape)
    near = np.full(phase.shape, np.inf)
    for row, col in simulation.positions:
        near = np.minimum(near, np.hypot(rows - row, cols - col))
    on, between = phase[near < 2].mean(), phase[near > 6].mean()
    assert on < between - phase.std() / 2


# Centre and units


@pytest.mark.slow
def test_centre_by_hand_and_from_a_beam_shift(signal):
    index = np.stack(np.meshgrid(np.linspace(10, 11, 6), np.linspace(12, 13, 8), indexing="ij"), -1)
    shift = pyxem.signals.BeamShift((np.array(DETECTOR) / 2 - index)[..., ::-1])
    maps = signal.rrvae.fit(center=shift, **QUICK)
    want = signal.rrvae.fit(center=index, **QUICK)
    np.testing.assert_array_equal(maps["z1"].data, want["z1"].data)
    assert maps["z1"].metadata.RRVAE.center == "model"
    np.testing.assert_allclose(maps.model.fitted_.detector.center, (10.5, 12.5))


def test_an_unknown_centre_is_estimated_with_a_word(data):
    with pytest.warns(UserWarning, match="signal axes have no origin on the detector"):
        maps = Signal2D(data).rrvae.fit(**QUICK)
    assert maps["z1"].metadata.RRVAE.center == "estimated"
    assert maps.model.fitted_.detector.center == pytest.approx(CENTER, abs=0.3)


@pytest.mark.parametrize(
    ("units", "name", "factor"),
    [
        ("1/Å", "A^-1", 1.0),
        ("1/A", "A^-1", 1.0),
        ("A^-1", "A^-1", 1.0),
        ("$A^{-1}$", "A^-1", 1.0),
        (r"$\AA^{-1}$", "A^-1", 1.0),
        ("\N{ANGSTROM SIGN}^-1", "A^-1", 1.0),
        ("1/nm", "A^-1", 0.1),
        ("nm^-1", "A^-1", 0.1),
        ("nm$^{-1}$", "A^-1", 0.1),
        ("nm\N{MINUS SIGN}1", "A^-1", 0.1),
        ("1 / pm", "A^-1", 100.0),
        ("1/\N{MICRO SIGN}m", "A^-1", 1e-4),
        ("mrad", "mrad", 1.0),
        ("rad", "mrad", 1e3),
        ("px", "pixels", 1.0),
        ("", "pixels", 1.0),
        (None, "pixels", 1.0),
        ("deg", "deg", 1.0),
        ("1/furlong", "1/furlong", 1.0),
    ],
)
def test_units_of_q(units, name, factor):
    found, by = _hyperspy_axes.q_units(units)
    assert (found, by) == (name, pytest.approx(factor))


def test_a_model_of_py4dstem_units_serves_nanometres(data, learned):
    other = scans.scan(data)
    for name in ("kx", "ky"):
        axis = other.axes_manager[name]
        axis.scale, axis.offset, axis.units = 10 * axis.scale, 10 * axis.offset, "1/nm"
    found = other.rrvae.encode(learned.model, background="stored")
    np.testing.assert_allclose(found["angle"].data, learned["angle"].data, atol=1e-5)


def test_unequal_pixels_turn_rightly(data):
    """Rows squeezed to half: only with both scales is a turn a turn."""
    squeezed = data.reshape(*SCAN, 12, 2, 26).sum(axis=3)
    signal = scans.scan(squeezed)
    axis = signal.axes_manager["ky"]
    axis.scale, axis.offset = 2 * axis.scale, axis.offset + axis.scale / 2
    # The inscribed circle must hold the disc: the centre moves by half a pixel.
    maps = signal.rrvae.fit(latent_dim=1, **LEARNED)
    assert scans.off_by(maps["angle"].data, scans.turns()) < 4


# The user's data


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_user_s_is_changed(kind, data):
    signal = scans.scan(data.copy(), kind)
    before, axes, metadata = signal.data, repr(signal.axes_manager), repr(signal.metadata)
    signal.rrvae.fit(**QUICK)
    signal.rrvae.compare()
    signal.rrvae.plot()
    assert signal.data is before
    np.testing.assert_array_equal(before, data)
    assert (repr(signal.axes_manager), repr(signal.metadata)) == (axes, metadata)


def test_each_signal_has_an_accessor_of_its_own(signal):
    signal.rrvae.fit(**QUICK)
    model = signal.rrvae.model
    assert signal.rrvae.model is model
    for other in (signal.deepcopy(), signal.inav[:3], signal.as_lazy()):
        assert other.rrvae is not signal.rrvae
        with pytest.raises(ValueError, match=r"no model yet: call signal\.rrvae\.fit"):
            _ = other.rrvae.model
    signal.set_signal_type("electron_diffraction")
    assert signal.rrvae.model is model


def test_options_reach_the_model(signal):
    model = RRVAE(latent_dim=3, **QUICK)
    assert signal.rrvae.fit(model=model).model is model
    assert signal.rrvae.model is model
    with pytest.raises(TypeError, match=r"a model or options of RRVAE, not both; .* beta"):
        signal.rrvae.fit(model=model, beta=2.0)
    with pytest.raises(TypeError, match="latent_dims"):
        signal.rrvae.fit(latent_dims=2)
    with pytest.raises(TypeError, match="model must be an RRVAE; got int"):
        signal.rrvae.encode(3)


def test_a_saved_model_encodes(signal, learned, tmp_path):
    learned.model.save(tmp_path / "model.rrvae")
    found = signal.rrvae.encode(tmp_path / "model.rrvae", background="stored")
    np.testing.assert_array_equal(found["z1"].data, learned["z1"].data)
    assert found["z1"].metadata.RRVAE.background == "stored"


def test_progress_bars_follow_the_host_s_convention(signal, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    quiet, loud = QUICK | {"progress": True}, {}
    signal.rrvae.fit(show_progressbar=False, **quiet)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(hs.preferences.General, "show_progressbar", False)
    model = signal.rrvae.fit(**quiet, **loud).model
    assert capsys.readouterr().err == ""
    signal.rrvae.encode(model, background="stored", show_progressbar=True)
    assert "encoding: " in capsys.readouterr().err
    assert model.progress is True
