# SPDX-License-Identifier: GPL-3.0-or-later
"""The py4DSTEM adapter: what it attaches, models, the user's data, bad input."""

import copy

import dask.array as da
import h5py
import numpy as np
import py4DSTEM
import pytest
from emdfile import Metadata, Node
from py4dstem_scans import CENTER, DETECTOR, ENERGY, NAMES, QUICK, SCAN, calibrate

from py4dstem_rrvae import RRVAE
from py4dstem_rrvae.adapters import _py4dstem_calibration, py4dstem

# What is attached


def test_fit_attaches_stock_maps_that_share_the_calibration(cube):
    maps = cube.rrvae.fit(**QUICK)
    assert list(maps) == NAMES
    assert list(cube.tree("rrvae").treekeys) == NAMES
    for name, map_ in maps.items():
        assert type(map_) is py4DSTEM.RealSlice
        assert map_ is cube.tree(f"rrvae/{name}")
        assert map_.data.shape == SCAN
        assert map_.calibration is cube.calibration
        assert map_.metadata["gen_params"]["units"] == map_.units != ""
        assert map_.metadata["gen_params"]["frame"] == "scan"
    about = maps["angle"].metadata["gen_params"]
    assert (about["units"], about["cyclic"], about["period"]) == ("rad", True, "2 pi / fold")
    assert not maps["z1"].metadata["gen_params"]["cyclic"]


def test_the_metadata_tell_what_was_done(cube):
    maps = cube.rrvae.fit(latent_dim=1, mask=np.ones(DETECTOR, bool), **QUICK)
    about = cube.tree("rrvae").metadata["rrvae_params"]
    assert about["Rshape"] == list(SCAN)
    assert (about["package"], about["version"]) == ("py4dstem_rrvae", "0.1.0")
    assert (about["frame"], about["center"], about["background"]) == (
        "scan",
        "calibration",
        "stored",
    )
    assert about["model"]["latent_dim"] == 1
    assert about["model"]["random_state"] == 0
    history = maps.model.history_
    assert about["collapsed"] == [f"z{k}" for k, gone in enumerate(history.collapsed, 1) if gone]
    assert about["repeatability"] == history.repeatability
    assert about["angle_offset"] == maps.model.fitted_.angle_offset
    np.testing.assert_allclose(about["training_center"], CENTER)
    np.testing.assert_allclose(about["matrix"], 0.051 * np.eye(2))


def test_the_maps_are_what_the_estimator_says(cube):
    maps = cube.rrvae.fit(**QUICK)
    codes = RRVAE(**QUICK).fit(py4dstem.frames(cube)).encode(py4dstem.frames(cube))
    np.testing.assert_array_equal(maps["z2"].data, codes.z[..., 1])
    np.testing.assert_array_equal(maps["angle"].data, codes.angle)
    np.testing.assert_array_equal(maps["fold"].data, codes.fold)
    np.testing.assert_array_equal(maps["z1_std"].data, codes.z_std[..., 0])


def test_running_again_replaces_the_maps_and_keeps_the_comparison(cube):
    first = cube.rrvae.fit(latent_dim=3, **QUICK)
    compared = cube.rrvae.compare(energy=ENERGY)
    again = cube.rrvae.fit(latent_dim=1, **QUICK)
    assert set(cube.tree("rrvae").treekeys) == {*NAMES, *compared} - {"z2", "z2_std"}
    assert cube.tree("rrvae/z1") is again["z1"] is not first["z1"]
    assert cube.tree("rrvae/com_x") is compared["com_x"]
    assert cube.tree("rrvae").metadata["rrvae_params"]["model"]["latent_dim"] == 1
    compared_again = cube.rrvae.compare(energy=ENERGY)
    assert cube.tree("rrvae/com_x") is compared_again["com_x"] is not compared["com_x"]
    # Maps that a user still holds stay usable.
    assert first["z3"].calibration is cube.calibration


def test_a_comparison_with_another_calibration_goes_with_the_next_fit(cube):
    cube.rrvae.compare(energy=ENERGY)
    cube.calibration.set_QR_rotflip_degrees((30.0, False))
    cube.rrvae.fit(**QUICK)
    assert list(cube.tree("rrvae").treekeys) == NAMES
    assert list(cube.tree("rrvae").metadata) == ["rrvae_params"]


def test_comparing_after_a_change_of_calibration_keeps_the_maps_and_says_so(cube):
    cube.rrvae.fit(**QUICK)
    cube.calibration.set_QR_rotflip_degrees((30.0, False))
    with pytest.warns(UserWarning, match="made with another calibration"):
        cube.rrvae.compare(energy=ENERGY)
    assert set(NAMES) < set(cube.tree("rrvae").treekeys)


def test_what_others_put_beside_the_maps_stays(cube):
    cube.rrvae.fit(**QUICK)
    own = py4DSTEM.RealSlice(np.ones(SCAN), name="mine")
    own.metadata = Metadata("gen_params", {"units": "furlong"})
    cube.tree("rrvae").graft(own, merge_metadata=False)
    cube.rrvae.fit(**QUICK)
    assert cube.tree("rrvae/mine") is own
    assert "mine" not in {ax.get_title() for ax in cube.rrvae.plot().axes}


def test_a_failed_fit_leaves_the_maps_as_they_were(cube):
    maps = cube.rrvae.fit(**QUICK)
    model = cube.rrvae.model
    with pytest.raises(ValueError, match="latent_dim"):
        cube.rrvae.fit(latent_dim=0)
    assert cube.tree("rrvae/z1") is maps["z1"]
    assert cube.rrvae.model is model


# The user's data


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_data_are_never_written(patterns, dtype):
    data = patterns.astype(dtype)
    before = data.tobytes()
    cube = calibrate(py4DSTEM.DataCube(data))
    cube.rrvae.fit(**QUICK)
    cube.rrvae.compare(energy=ENERGY)
    mask = np.ones(DETECTOR, bool)
    mask[0] = False
    cube.rrvae.compare(energy=ENERGY, mask=mask)
    cube.rrvae.plot()
    assert cube.data is data
    assert data.tobytes() == before


def stored(kind, data, folder):
    if kind == "h5py":
        with h5py.File(folder / "data.h5", "w") as file:
            file["data"] = data
        return h5py.File(folder / "data.h5", "r")["data"]
    if kind == "memmap":
        data.tofile(folder / "data.bin")
        return np.memmap(folder / "data.bin", data.dtype, "r", shape=data.shape)
    return da.from_array(data, chunks=(4, 3, 10, 26))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["h5py", "memmap", "dask"])
def test_data_that_are_not_in_memory_give_the_same_maps(kind, cube, patterns, tmp_path):
    other = calibrate(py4DSTEM.DataCube(stored(kind, patterns, tmp_path)))
    maps, same = cube.rrvae.fit(**QUICK), other.rrvae.fit(**QUICK)
    for name in NAMES:
        np.testing.assert_array_equal(maps[name].data, same[name].data, err_msg=name)
    compared, same = cube.rrvae.compare(energy=ENERGY), other.rrvae.compare(energy=ENERGY)
    np.testing.assert_array_equal(compared["com_x"].data, same["com_x"].data)


# Models


def test_a_saved_model_encodes_another_scan(cube, patterns, tmp_path):
    maps = cube.rrvae.fit(**QUICK)
    cube.rrvae.model.save(tmp_path / "scan.rrvae")
    other = calibrate(py4DSTEM.DataCube(patterns[:, :5]))
    encoded = other.rrvae.encode(tmp_path / "scan.rrvae", background="stored")
    assert list(encoded) == NAMES
    np.testing.assert_allclose(encoded["z1"].data, maps["z1"].data[:, :5], atol=1e-5)
    assert other.rrvae.model is encoded.model is not cube.rrvae.model
    assert other.tree("rrvae").metadata["rrvae_params"]["background"] == "stored"
    refit = other.rrvae.encode(cube.rrvae.model)
    assert other.tree("rrvae").metadata["rrvae_params"]["background"] == "refit"
    assert refit["z1"].data.shape == (6, 5)


def test_a_model_can_be_given(cube):
    model = RRVAE(latent_dim=1, **QUICK)
    assert cube.rrvae.fit(model=model).model is model is cube.rrvae.model


def test_options_are_those_of_the_estimator(cube):
    with pytest.raises(TypeError, match="latent_dims"):
        cube.rrvae.fit(latent_dims=2)
    with pytest.raises(TypeError, match="not both; got a model and latent_dim, mirror"):
        cube.rrvae.fit(model=RRVAE(), mirror=False, latent_dim=2)


def test_a_model_is_an_estimator(cube):
    with pytest.raises(TypeError, match="model must be an RRVAE; got dict"):
        cube.rrvae.fit(model={})
    with pytest.raises(TypeError, match="model must be an RRVAE; got int"):
        cube.rrvae.encode(3)


def test_no_model_before_fit(cube):
    with pytest.raises(ValueError, match=r"no model yet: call datacube\.rrvae\.fit\(\)"):
        _ = cube.rrvae.model


def test_the_accessor_stays_with_its_data_cube(cube):
    accessor = cube.rrvae
    cube.rrvae.fit(**QUICK)
    cube.bin_Q(2)
    assert cube.rrvae is accessor
    assert cube.copy().rrvae is not accessor
    shallow = copy.copy(cube)
    assert shallow.rrvae.host is shallow
    assert accessor.host is cube


def test_the_functions_do_without_the_accessor(cube):
    maps = py4dstem.fit(cube, **QUICK)
    py4dstem.encode(cube, maps.model)
    py4dstem.compare(cube, energy=ENERGY)
    assert py4dstem.plot(cube).axes


# Bad input


def test_only_data_cubes_have_maps(patterns):
    with pytest.raises(TypeError, match=r"must be a py4DSTEM\.DataCube; got ndarray"):
        py4dstem.fit(patterns)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (np.ones((3, 3, 8, 8, 2)), ValueError, r"must be 4-D .*; got shape \(3, 3, 8, 8, 2\)"),
        (np.ones((3, 3, 7, 9)), ValueError, "at least 8 x 8 pixels; got 7 x 9"),
        (np.ones((3, 3, 8, 8), complex), TypeError, "real numbers; got dtype complex128"),
    ],
)
def test_unusable_data(data, error, message):
    cube = py4DSTEM.DataCube(data)
    for call in (cube.rrvae.fit, lambda: cube.rrvae.compare(energy=ENERGY)):
        with pytest.raises(error, match=message):
            call()


def test_no_positions(cube):
    cube.data = cube.data[:0]
    with pytest.raises(ValueError, match="at least one position; got shape"):
        cube.rrvae.fit()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("qx0", np.ones((2, 3)), r"origin must be one value or have .* \(6, 8\); got \(2, 3\)"),
        ("qy0", np.nan, "origin must be finite; got NaN"),
        ("qx0", 99.0, r"must lie on the detector of \(24, 26\) pixels"),
        ("Q_pixel_size", 0.0, r"Q pixel size must be positive; got 0\.0"),
        ("R_pixel_size", -0.1, r"R pixel size must be positive; got -0\.1"),
        ("Q_pixel_size", None, "Q pixel size must be positive; got None"),
        ("ellipse", (1.0, -2.0, 0.0), r"ellipse must have positive axes; got \(1\.0, -2\.0\)"),
    ],
)
def test_a_calibration_that_cannot_be(cube, name, value, message):
    if name == "ellipse":
        cube.calibration.set_ellipse(value)
    else:
        cube.calibration[name] = value
    with pytest.raises(ValueError, match=message):
        cube.rrvae.fit()
    assert "rrvae" not in cube.treekeys


def test_a_foreign_node_of_that_name_is_left_alone(cube):
    cube.attach(Node("rrvae"))
    with pytest.raises(ValueError, match="must have 'rrvae' free for the maps; it holds a Node"):
        cube.rrvae.fit()


def test_the_built_data_cube_is_calibrated(patterns):
    cube = py4dstem.datacube(
        patterns, scan_step=0.2, q_per_pixel=0.04, center=np.array(CENTER), name="mine"
    )
    assert type(cube) is py4DSTEM.DataCube
    calibration = cube.calibration
    assert (cube.name, calibration.get_R_pixel_size(), calibration.get_Q_pixel_size()) == (
        "mine",
        0.2,
        0.04,
    )
    assert (calibration.get_R_pixel_units(), calibration.get_Q_pixel_units()) == ("A", "A^-1")
    assert calibration.get_origin() == CENTER
    assert calibration.get_QR_rotflip_degrees() == (0.0, False)
    assert np.shares_memory(cube.data, patterns)


def test_whatever_an_option_is_the_metadata_hold_it(tmp_path):
    given = {
        "bool": np.bool_(True),
        "int": np.int32(3),
        "big": 2**70,
        "float": np.float32(0.5),
        "none": None,
        "text": "A^-1",
        "empty": "",
        "array": np.array([[True, False]]),
        "tuple": (1, np.float64(2.5)),
        "words": ["z1", "z2"],
        "nothing": [],
        "ragged": [1, [2, 3]],
        "object": np.random.default_rng,
        "inside": {"deep": np.int8(1)},
    }
    node = Node("node")
    node.metadata = Metadata("all", _py4dstem_calibration.castable(given))
    py4DSTEM.save(tmp_path / "node.h5", node)
    held = py4DSTEM.read(tmp_path / "node.h5").metadata["all"]
    assert held["bool"] is True
    assert (held["int"], held["big"], held["float"]) == (3, str(2**70), 0.5)
    assert (held["none"], held["text"], held["empty"]) == (None, "A^-1", "")
    np.testing.assert_array_equal(held["array"], given["array"])
    assert (held["tuple"], held["words"], held["nothing"]) == ([1, 2.5], ["z1", "z2"], [])
    assert held["ragged"] == "[1, [2, 3]]"
    assert "default_rng" in held["object"]
    assert held["inside"] == {"deep": 1}
