# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped file is what it says, and files keep everything."""

import math
import subprocess
import sys
from dataclasses import fields, replace
from importlib.resources import files

import h5py
import numpy as np
import pytest

from py4dstem_rrvae import datasets
from py4dstem_rrvae.datasets import Microscope, Scan, Simulation, load, save


@pytest.fixture(scope="module")
def shipped():
    return datasets.graphene("numpy")


@pytest.fixture
def small():
    """A simulation in which every number is another."""
    rng = np.random.default_rng(0)
    return Simulation(
        patterns=rng.random((2, 3, 4, 4), dtype=np.float32),
        q_per_pixel=0.07,
        center=(1.75, 1.25),
        symbols=("C", "Si"),
        positions=np.array([[0.5, 1.5], [1.25, 2.5]]),
        vacancies=np.array([[0.1, 0.2]]),
        microscope=Microscope(61e3, 33.0, 5.0, 0.7, 4, 51.0, 9, 0.08),
        scan=Scan((2, 3), 0.3, (0.4, 0.6)),
        case="small",
        turn=0.9,
        random_state=11,
        q_ratio=1.3,
        centers=rng.random((2, 3, 2)),
    )


def signal(simulation, lowest):
    """Electrons per pattern scattered beyond `lowest` times the aperture."""
    row, col = (
        np.indices(simulation.patterns.shape[2:]) - np.array(simulation.center)[:, None, None]
    )
    microscope = simulation.microscope
    aperture = microscope.detector_pixels / 2 * microscope.semiangle / microscope.max_angle
    return simulation.patterns[..., np.hypot(row, col) > lowest * aperture].sum(-1)


def test_shipped_file_is_small():
    assert (files("py4dstem_rrvae") / "data" / "graphene.h5").stat().st_size < 8e6


def test_shipped_patterns_and_calibrations(shipped):
    assert shipped.patterns.dtype == np.uint16
    assert shipped.patterns.shape == (64, 64, 48, 48)
    assert shipped.case == "graphene"
    assert shipped.scan_step == 0.22
    microscope = shipped.microscope
    # 0.0486616 A is the relativistic wavelength at 60 kV.
    assert microscope.energy == 60e3
    assert shipped.q_per_pixel == pytest.approx(2e-3 * microscope.max_angle / 0.0486616 / 48, 1e-4)


def test_shipped_dose_is_the_stated_one(shipped):
    electrons = shipped.patterns.sum((2, 3))
    # Almost nothing of graphene's scattering misses the detector.
    assert electrons.mean() == pytest.approx(shipped.electrons, rel=2e-3)
    assert electrons.std() == pytest.approx(math.sqrt(shipped.electrons), rel=0.2)


def test_shipped_centre_is_that_of_the_beam(shipped):
    mean = shipped.patterns.mean((0, 1))
    found = [(mean * index).sum() / mean.sum() for index in np.indices(mean.shape)]
    np.testing.assert_allclose(found, shipped.center, atol=0.05)


def test_shipped_dark_field_shows_the_stored_atoms(shipped):
    dark = signal(shipped, 1.25).astype(float)
    symbols = np.array(shipped.symbols)
    (silicon,), (vacancy,) = shipped.positions[symbols == "Si"], shipped.vacancies
    assert np.hypot(*(np.unravel_index(dark.argmax(), dark.shape) - silicon)) < 2

    inside = ((shipped.positions > 2) & (shipped.positions < 61)).all(1) & (symbols == "C")
    around = [dark[_window(place)].mean() for place in shipped.positions[inside]]
    assert len(around) > 40
    assert dark[_window(vacancy)].mean() < min(around)
    assert np.mean(around) > 1.3 * dark.mean()


def _window(place):
    row, col = np.rint(place).astype(int)
    return slice(row - 1, row + 2), slice(col - 1, col + 2)


def test_positions_in_angstrom_count_from_the_first_probe_position(small):
    np.testing.assert_allclose(small.positions_angstrom, [[0.15, 0.45], [0.375, 0.75]])


def test_file_keeps_everything(small, tmp_path):
    drawn = np.arange(96, dtype=np.uint16).reshape(2, 3, 4, 4)
    save(tmp_path / "a.h5", small, drawn, electrons=123.0)
    back = load(tmp_path / "a.h5")
    assert back.electrons == 123.0
    np.testing.assert_array_equal(back.patterns, drawn)
    for field in fields(Simulation):
        if field.name not in ("patterns", "electrons"):
            wanted, got = getattr(small, field.name), getattr(back, field.name)
            np.testing.assert_array_equal(got, wanted, err_msg=field.name)


def test_plain_scans_are_stored_as_before(small, tmp_path):
    """The shipped file must come out byte for byte."""
    plain = replace(small, q_ratio=1.0, centers=None)
    save(tmp_path / "a.h5", plain, np.zeros((2, 3, 4, 4), np.uint16), electrons=1.0)
    with h5py.File(tmp_path / "a.h5") as file:
        assert set(file) == {"atoms", "counts", "microscope", "scan"}
        assert "q_ratio" not in file["counts"].attrs
    back = load(tmp_path / "a.h5")
    assert (back.q_ratio, back.centers) == (1.0, None)


def test_matrix_takes_pixels_to_q(small):
    np.testing.assert_allclose(small.matrix @ [1, 1], [0.07, 0.091])


def test_file_explains_itself_without_this_package(small, tmp_path):
    save(tmp_path / "a.h5", small, np.zeros((2, 3, 4, 4), np.uint16), electrons=123.0)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["counts"].attrs["q_per_pixel_units"] == "A^-1"
        assert file["microscope"].attrs["energy_units"] == "eV"
        for group in ("microscope", "scan"):
            lacking = {"phonon_configurations", "shape"}
            names = {name for name in file[group].attrs if not name.endswith("_units")} - lacking
            assert all(f"{name}_units" in file[group].attrs for name in names)


def test_same_data_gives_the_same_bytes(small, tmp_path):
    for name in "ab":
        save(tmp_path / name, small, np.ones((2, 3, 4, 4), np.uint16), electrons=1.0)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_save_refuses_to_overwrite_unless_told(small, tmp_path):
    path, drawn = tmp_path / "a.h5", np.ones((2, 3, 4, 4), np.uint16)
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"a\.h5 exists; pass overwrite=True"):
        save(path, small, drawn, electrons=1.0)
    assert path.read_text() == "mine"
    save(path, small, drawn, electrons=1.0, overwrite=True)
    assert load(path).patterns.sum() == 96


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 3, 4, 5), np.uint16), ((2, 3, 4, 4), np.float32)]
)
def test_save_refuses_counts_of_another_kind(small, tmp_path, shape, dtype):
    with pytest.raises(ValueError, match=r"uint16 of shape \(2, 3, 4, 4\); got"):
        save(tmp_path / "a.h5", small, np.zeros(shape, dtype), electrons=1.0)
    assert not (tmp_path / "a.h5").exists()


def test_load_refuses_another_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["format"] = "something else"
    with pytest.raises(ValueError, match=r"must be a file of format .* got 'something else'"):
        load(tmp_path / "a.h5")


def test_unknown_host_lists_the_choices():
    with pytest.raises(ValueError, match="py4dstem, hyperspy, numpy; got 'libertem'"):
        datasets.graphene("libertem")


def test_py4dstem_gets_patterns_and_calibrations(shipped):
    cube = datasets.graphene("py4dstem")
    np.testing.assert_array_equal(cube.data, shipped.patterns)
    calibration = cube.calibration
    assert calibration.get_R_pixel_size() == pytest.approx(shipped.scan_step)
    assert calibration.get_Q_pixel_size() == pytest.approx(shipped.q_per_pixel)
    assert (calibration.get_R_pixel_units(), calibration.get_Q_pixel_units()) == ("A", "A^-1")
    np.testing.assert_allclose(calibration.get_origin_mean(), shipped.center)


def test_hyperspy_gets_patterns_and_calibrations(shipped):
    signal = datasets.graphene("hyperspy")
    np.testing.assert_array_equal(signal.data, shipped.patterns)
    assert signal.metadata.General.title == "graphene"
    assert signal.metadata.Signal.signal_type == "electron_diffraction"
    for axis in signal.axes_manager.navigation_axes:
        assert axis.scale == pytest.approx(shipped.scan_step)
    for axis, origin in zip(signal.axes_manager.signal_axes, reversed(shipped.center), strict=True):
        assert axis.scale == pytest.approx(shipped.q_per_pixel)
        # q is zero at the beam.
        assert axis.scale * origin + axis.offset == pytest.approx(0, abs=1e-12)


def test_reading_needs_no_host_and_no_simulator():
    code = (
        "import sys; from py4dstem_rrvae import datasets, simulate; datasets.graphene('numpy');"
        "print(*{'abtem', 'ase', 'py4DSTEM', 'hyperspy', 'pyxem', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
