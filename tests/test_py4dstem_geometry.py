# SPDX-License-Identifier: GPL-3.0-or-later
"""The py4DSTEM adapter: conventions, calibrations, and the host's COM and DPC."""

import numpy as np
import py4DSTEM
import pytest
from emdfile import PointListArray
from py4dstem_scans import (
    CENTER,
    DETECTOR,
    ENERGY,
    LEARNED,
    QUICK,
    SCAN,
    balanced_turns,
    calibrate,
    counts_of,
    off_by,
)

from py4dstem_rrvae.adapters import py4dstem

# Convention


@pytest.mark.slow
def test_ten_degrees_more_move_com_and_angle_by_ten_degrees(cube):
    turns = balanced_turns()
    cube.rrvae.fit(latent_dim=1, **LEARNED)
    turned = calibrate(py4DSTEM.DataCube(counts_of(turns + np.radians(10), seed=3)))
    for each in (cube, turned):
        each.rrvae.encode(cube.rrvae.model, background="stored")
        each.rrvae.compare(energy=ENERGY)
    com, moved_com = (
        np.arctan2(c.tree("rrvae/com_y").data, c.tree("rrvae/com_x").data) for c in (cube, turned)
    )
    angle, moved = (c.tree("rrvae/angle").data for c in (cube, turned))
    assert (cube.tree("rrvae/fold").data == 1).all()
    assert off_by(com, turns) < 1.5
    assert off_by(angle, turns) < 3
    # The gauge is that of COM, so the two agree without an offset too.
    assert np.degrees(np.abs(np.angle(np.exp(1j * (angle - com)))).max()) < 5
    assert np.degrees(np.angle(np.exp(1j * (moved_com - com)).mean())) == pytest.approx(10, abs=0.5)
    assert np.degrees(np.angle(np.exp(1j * (moved - angle)).mean())) == pytest.approx(10, abs=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rotation", "flip"),
    [
        (0.0, True),
        (25.0, False),
        (-140.0, True),
        *(
            pytest.param(*frame, marks=pytest.mark.slow)
            for frame in ((0.0, False), (25.0, True), (-140.0, False))
        ),
    ],
)
def test_com_and_angle_share_the_scan_s_frame(rotation, flip):
    cube = calibrate(py4DSTEM.DataCube(np.zeros((*SCAN, *DETECTOR), np.uint16)))
    cube.calibration.set_QR_rotflip_degrees((rotation, flip))
    turns = balanced_turns()
    matrix = py4dstem.frames(cube).matrix / 0.051
    assert np.linalg.det(matrix) == pytest.approx(-1 if flip else 1)
    cube.data = counts_of(turns, matrix=matrix)
    cube.rrvae.compare(energy=ENERGY)
    maps = cube.rrvae.fit(latent_dim=1, **LEARNED)
    com = np.arctan2(cube.tree("rrvae/com_y").data, cube.tree("rrvae/com_x").data)
    assert np.degrees(np.abs(np.angle(np.exp(1j * (com - turns)))).max()) < 1.5
    assert np.degrees(np.abs(np.angle(np.exp(1j * (maps["angle"].data - turns)))).max()) < 5


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [None, 0.0, 37.0, -115.0])
@pytest.mark.parametrize("ellipse", [None, (1.0, 0.8, 0.4), (3.0, 2.1, -1.2)])
def test_the_geometry_is_the_host_s(cube, rotation, flip, ellipse):
    calibration = cube.calibration
    calibration["QR_rotation"] = None if rotation is None else np.radians(rotation)
    calibration.set_QR_flip(flip)
    if ellipse is not None:
        calibration.set_ellipse(ellipse)
    index = np.array([[0.0, 3.0], [11.3, 12.9], [20.0, 7.5]])
    raw = PointListArray([("qx", float), ("qy", float), ("intensity", float)], (1, 1))
    raw[0, 0].add_data_by_field([*index.T, np.ones(3)])
    vectors = py4DSTEM.BraggVectors((1, 1), DETECTOR, calibration=calibration)
    vectors.set_raw_vectors(raw)
    vectors.setcal()
    host = vectors.cal[0, 0]
    frames = py4dstem.frames(cube)
    ours = (index - frames.center) @ frames.matrix.T
    np.testing.assert_allclose(ours, np.stack([host.qx, host.qy], axis=-1), atol=1e-12)
    assert frames.q_units == "A^-1"


@pytest.mark.slow
def test_an_ellipse_becomes_round(patterns):
    stretch = np.array([[1.0, 0.15], [0.15, 0.8]])
    cube = calibrate(py4DSTEM.DataCube(counts_of(balanced_turns(), matrix=stretch)))
    values, vectors = np.linalg.eigh(stretch)
    tilt = np.arctan2(vectors[1, 0], vectors[0, 0])
    cube.calibration.set_ellipse((1 / values[0], 1 / values[1], tilt))
    matrix = py4dstem.frames(cube).matrix
    np.testing.assert_allclose(matrix / matrix[0, 0], stretch / stretch[0, 0], atol=1e-12)
    angle = cube.rrvae.fit(latent_dim=1, **LEARNED)["angle"].data
    assert off_by(angle, balanced_turns()) < 5


@pytest.mark.slow
def test_a_wandering_beam_is_followed(cube, patterns):
    rows, cols = np.indices(SCAN)
    shift = np.stack([rows % 3 - 1, cols % 2], axis=-1)
    moved = np.array(
        [
            np.roll(p, s, (0, 1))
            for p, s in zip(patterns.reshape(-1, *DETECTOR), shift.reshape(-1, 2), strict=True)
        ]
    )
    wandering = calibrate(py4DSTEM.DataCube(moved.reshape(patterns.shape)))
    origin = tuple(CENTER[k] + shift[..., k] for k in (0, 1))
    wandering.calibration.set_origin(origin)
    np.testing.assert_allclose(py4dstem.frames(wandering).center, np.stack(origin, axis=-1))
    maps = cube.rrvae.fit(latent_dim=1, **LEARNED)
    followed = wandering.rrvae.encode(maps.model, background="stored")
    assert off_by(followed["angle"].data, maps["angle"].data) < 3
    spread = maps["z1"].data.std()
    assert np.abs(followed["z1"].data - maps["z1"].data).max() < 0.5 * spread + 0.05


def test_a_rotation_without_a_word_on_the_flip_is_a_rotation(cube):
    cube.calibration["QR_rotation"] = np.radians(90.0)
    cube.calibration["QR_flip"] = None
    np.testing.assert_allclose(py4dstem.frames(cube).matrix, [[0, -0.051], [0.051, 0]], atol=1e-12)
    cube.rrvae.compare(energy=ENERGY)
    about = cube.tree("rrvae").metadata["dpc_params"]
    assert (about["frame"], about["dpc_rotation_degrees"]) == ("scan", pytest.approx(90))
    assert about["dpc_transpose"] is about["QR_flip"] is False


def test_without_a_rotation_com_and_angle_stay_in_the_detector_s_frame(cube):
    cube.calibration["QR_rotation"] = cube.calibration["QR_rotation_degrees"] = None
    maps = cube.rrvae.fit(**QUICK)
    with pytest.warns(UserWarning, match="no QR rotation: DPC found -?[0-9]+ degrees"):
        compared = cube.rrvae.compare(energy=ENERGY)
    com = np.arctan2(compared["com_y"].data, compared["com_x"].data)
    assert off_by(com, balanced_turns()) < 1.5
    assert maps["angle"].metadata["gen_params"]["frame"] == "detector"
    assert compared["com_x"].metadata["gen_params"]["frame"] == "detector"
    about = cube.tree("rrvae").metadata["dpc_params"]
    assert about["QR_rotation_degrees"] is None
    assert isinstance(about["dpc_rotation_degrees"], float)


# Centre


def test_an_unknown_centre_is_estimated_and_said(patterns):
    cube = py4DSTEM.DataCube(patterns)
    assert py4dstem.frames(cube).center is None
    with pytest.warns(UserWarning, match="no origin, so the centre is estimated"):
        maps = cube.rrvae.fit(**QUICK)
    np.testing.assert_allclose(maps.model.fitted_.detector.center, CENTER, atol=0.5)
    assert cube.tree("rrvae").metadata["rrvae_params"]["center"] == "estimated"


def test_a_centre_given_by_hand_comes_first(cube):
    maps = cube.rrvae.fit(center=(10.0, 12.0), **QUICK)
    assert maps.model.fitted_.detector.center == (10.0, 12.0)
    assert cube.tree("rrvae").metadata["rrvae_params"]["center"] == "model"


def test_origins_of_the_calibration_in_order(cube):
    calibration = cube.calibration
    for name in ("qx0", "qy0", "qx0_mean", "qy0_mean", "qx0_shift", "qy0_shift"):
        calibration._params.pop(name, None)
    assert py4dstem.frames(cube).center is None
    calibration.set_probe_param((5.0, 10.0, 11.0))
    np.testing.assert_array_equal(py4dstem.frames(cube).center, (10.0, 11.0))
    row, col = np.full(SCAN, 9.0), np.full(SCAN, 8.0)
    row[0, 0], col[1, 1], row[2, 2] = np.nan, 1.0, 10.0
    found = np.ones(SCAN, bool)
    found[1, 1] = False
    calibration.set_origin_meas((row, col, found))
    center = py4dstem.frames(cube).center
    assert center.shape == (*SCAN, 2)
    np.testing.assert_array_equal(center[0, 0], (9.0, 8.0))
    np.testing.assert_array_equal(center[1, 1], (9.0, 8.0))
    np.testing.assert_array_equal(center[2, 2], (10.0, 8.0))
    calibration.set_origin((np.full(SCAN, 7.5), np.full(SCAN, 6.5)))
    np.testing.assert_array_equal(py4dstem.frames(cube).center, (7.5, 6.5))


def test_a_measured_origin_found_nowhere_is_none(cube):
    calibration = cube.calibration
    for name in ("qx0", "qy0", "qx0_mean", "qy0_mean"):
        calibration._params.pop(name)
    calibration.set_origin_meas((np.ones(SCAN), np.ones(SCAN), np.zeros(SCAN, bool)))
    assert py4dstem.frames(cube).center is None


# Comparison


def test_compare_is_the_host_s_own_dpc(cube):
    cube.calibration.set_QR_rotflip_degrees((25.0, True))
    compared = cube.rrvae.compare(energy=ENERGY, max_iter=8)
    dpc = py4DSTEM.process.phase.DPC(cube, energy=ENERGY, verbose=False).preprocess(
        force_com_rotation=25.0,
        force_com_transpose=True,
        vectorized_com_calculation=True,
        plot_rotation=False,
        plot_center_of_mass=False,
    )
    dpc.reconstruct(max_iter=8, progress_bar=False)
    np.testing.assert_allclose(compared["com_x"].data, dpc._com_x, atol=1e-6)
    np.testing.assert_allclose(compared["com_y"].data, dpc._com_y, atol=1e-6)
    np.testing.assert_allclose(compared["dpc_phase"].data, dpc.object_phase, atol=1e-6)
    assert compared["com_x"].metadata["gen_params"]["units"] == "A^-1"
    about = cube.tree("rrvae").metadata["dpc_params"]
    assert (about["energy_eV"], about["dpc_transpose"], about["max_iter"]) == (60e3, True, 8)


def test_the_host_s_phase_is_in_units_of_two_pi():
    """Patterns deflected by the gradient of a known phase: q = grad(phase) / (2 pi)."""
    step, q_per_pixel, scan = 0.5, 0.02, (24, 25)
    x, y = (np.arange(n) * step for n in scan)
    wave = 2 * np.pi / 3.0
    phase = 0.4 * np.cos(wave * x)[:, None] * np.cos(wave * y)
    q = np.stack(np.gradient(phase, step), axis=-1) / (2 * np.pi) / q_per_pixel
    index = np.stack(np.indices(DETECTOR), axis=-1) - CENTER
    data = np.exp(-0.5 * ((index - q[:, :, None, None]) ** 2).sum(-1) / 3.0**2)
    cube = py4dstem.datacube(
        data.astype(np.float32), scan_step=step, q_per_pixel=q_per_pixel, center=CENTER
    )
    found = cube.rrvae.compare(energy=ENERGY)["dpc_phase"]
    assert found.metadata["gen_params"]["units"] == "2 pi rad"
    slope = np.polyfit(phase.ravel(), found.data.ravel(), 1)[0]
    assert slope * 2 * np.pi == pytest.approx(1, abs=0.1)


def test_compare_counts_a_mask(cube, patterns):
    mask = np.ones(DETECTOR, bool)
    mask[:, 14:] = False
    masked = cube.rrvae.compare(energy=ENERGY, mask=mask)["com_y"].data
    lost = calibrate(py4DSTEM.DataCube(patterns * mask))
    np.testing.assert_allclose(masked, lost.rrvae.compare(energy=ENERGY)["com_y"].data, atol=1e-6)
    assert cube.tree("rrvae").metadata["dpc_params"]["mask_excludes"] == 24 * 12


def test_mrad_need_no_more_than_the_energy(cube):
    cube.calibration.set_Q_pixel_units("mrad")
    in_mrad = cube.rrvae.compare(energy=ENERGY)
    assert in_mrad["com_x"].metadata["gen_params"]["units"] == "A^-1"
    assert in_mrad["dpc_phase"].metadata["gen_params"]["units"] == "2 pi rad"


def test_pixels_make_an_arbitrary_scale(cube):
    cube.calibration.set_Q_pixel_units("pixels")
    with pytest.warns(UserWarning, match="got A and pixels, so that scale is arbitrary"):
        compared = cube.rrvae.compare(energy=ENERGY)
    assert compared["com_x"].metadata["gen_params"]["units"] == "pixels"
    assert compared["dpc_phase"].metadata["gen_params"]["units"] == "dimensionless"


@pytest.mark.parametrize("energy", [60, 0, -6e4, np.nan])
def test_the_energy_must_be_in_ev(cube, energy):
    with pytest.raises(ValueError, match=r"energy must be in eV \(60 kV is 60e3\); got"):
        cube.rrvae.compare(energy=energy)
    assert "rrvae" not in cube.treekeys


def test_dpc_must_know_the_scan_s_units(cube):
    cube.calibration.set_R_pixel_units("um")
    with pytest.raises(ValueError, match="R pixel units to be one of A, nm, pixels; got 'um'"):
        cube.rrvae.compare(energy=ENERGY)


def test_dpc_needs_a_scan_in_two_dimensions(cube):
    cube.data = cube.data[:2]
    with pytest.raises(ValueError, match=r"at least 3 x 3 positions; got \(2, 8\)"):
        cube.rrvae.compare(energy=ENERGY)
