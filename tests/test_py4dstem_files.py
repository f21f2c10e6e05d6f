# SPDX-License-Identifier: GPL-3.0-or-later
"""The py4DSTEM adapter: figures and files."""

import subprocess
import sys

import h5py
import numpy as np
import py4DSTEM
import pytest
from emdfile import Array
from py4dstem_scans import ENERGY, QUICK

from py4dstem_rrvae.adapters import py4dstem

# Figure


def test_plot_draws_what_is_attached(cube):
    cube.rrvae.fit(**QUICK)
    cube.rrvae.compare(energy=ENERGY)
    titles = [ax.get_title().split(" (")[0] for ax in cube.rrvae.plot().axes if ax.get_title()]
    assert titles[:3] == ["COM magnitude", "COM direction", "DPC phase"]
    assert titles[3:5] == ["z1", "z2"]
    assert titles[-2:] == ["fold", "error"]


def test_plot_needs_maps(cube):
    with pytest.raises(ValueError, match="no maps to plot: call fit, encode or compare first"):
        cube.rrvae.plot()


def test_maps_of_the_uncropped_scan_are_refused(cube):
    cube.rrvae.fit(**QUICK)
    cube.crop_R((1, 5, 2, 6))
    message = r"scan of \(4, 4\) positions; they were made for \(6, 8\): call fit or encode again"
    with pytest.raises(ValueError, match=message):
        cube.rrvae.plot()
    with pytest.raises(ValueError, match=message):
        cube.rrvae.compare(energy=ENERGY)
    assert cube.rrvae.fit(**QUICK)["z1"].data.shape == (4, 4)
    cube.rrvae.compare(energy=ENERGY)
    cube.rrvae.plot()


# Files


READ_WITHOUT = """
import sys
sys.modules["py4dstem_rrvae"] = None
import numpy as np, py4DSTEM
cube = py4DSTEM.read(sys.argv[1])
expected = np.load(sys.argv[2])
node = cube.tree("rrvae")
assert sorted(node.treekeys) == sorted(expected.files), list(node.treekeys)
for name in expected.files:
    map_ = node.tree(name)
    assert type(map_) is py4DSTEM.RealSlice, type(map_)
    np.testing.assert_array_equal(map_.data, expected[name])
    assert map_.calibration is cube.calibration
    print(name, map_.metadata["gen_params"]["units"], map_.calibration.get_R_pixel_size())
print(node.metadata["rrvae_params"]["model"]["latent_dim"])
"""


def saved(cube, folder):
    cube.rrvae.fit(**QUICK)
    cube.rrvae.compare(energy=ENERGY)
    node = cube.tree("rrvae")
    np.savez(folder / "maps.npz", **{name: node.tree(name).data for name in node.treekeys})
    py4DSTEM.save(folder / "scan.h5", cube)
    return folder / "scan.h5"


@pytest.mark.slow
def test_the_host_alone_reads_every_map(cube, tmp_path):
    path = saved(cube, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", READ_WITHOUT, str(path), str(tmp_path / "maps.npz")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "angle rad 0.37" in lines
    assert "com_x A^-1 0.37" in lines
    assert lines[-1] == "2"


def test_maps_from_a_file_are_drawn_and_replaced(cube, tmp_path):
    again = py4DSTEM.read(saved(cube, tmp_path))
    assert {"COM direction", "fold"} <= {ax.get_title() for ax in again.rrvae.plot().axes}
    again.rrvae.fit(latent_dim=1, **QUICK)
    assert set(again.tree("rrvae").treekeys) == set(cube.tree("rrvae").treekeys) - {"z2", "z2_std"}


def test_maps_alone_can_be_saved(cube, tmp_path):
    maps = cube.rrvae.fit(**QUICK)
    py4dstem.save(cube, tmp_path / "maps.h5", maps_only=True)
    node = py4DSTEM.read(tmp_path / "maps.h5")
    np.testing.assert_array_equal(node.tree("z1").data, maps["z1"].data)
    assert node.tree("z1").calibration.get_R_pixel_size() == 0.37
    with h5py.File(tmp_path / "maps.h5") as file:
        file.visititems(lambda _, item: getattr(item, "ndim", 0) < 4 or pytest.fail("4-D data"))
    py4dstem.save(cube, tmp_path / "scan.h5")
    np.testing.assert_array_equal(py4dstem.read(tmp_path / "scan.h5").data, cube.data)


def test_save_refuses(cube, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.h5, .*; got maps\.txt"):
        py4dstem.save(cube, tmp_path / "maps.txt")
    with pytest.raises(ValueError, match="no maps to save"):
        py4dstem.save(cube, tmp_path / "maps.h5", maps_only=True)
    (tmp_path / "maps.h5").write_text("mine")
    with pytest.raises(FileExistsError, match="exists; pass overwrite=True"):
        py4dstem.save(cube, tmp_path / "maps.h5")
    assert (tmp_path / "maps.h5").read_text() == "mine"
    py4dstem.save(cube, tmp_path / "maps.h5", overwrite=True)
    assert py4dstem.read(tmp_path / "maps.h5").name == "scan"
    assert [path.name for path in tmp_path.iterdir()] == ["maps.h5"]


def test_read_refuses(cube, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.h5 must be a file that py4DSTEM opens"):
        py4dstem.read(tmp_path / "nowhere.h5")
    (tmp_path / "text.h5").write_text("no data")
    with pytest.raises(ValueError, match=r"text\.h5 must be a file that py4DSTEM opens; it says"):
        py4dstem.read(tmp_path / "text.h5")
    py4DSTEM.save(tmp_path / "image.h5", Array(np.ones((3, 4)), name="image"))
    with pytest.raises(ValueError, match=r"must hold one DataCube; got 0 \(Array\)"):
        py4dstem.read(tmp_path / "image.h5")
    cube.attach(py4DSTEM.DataCube(np.ones((2, 3, 8, 9)), name="second"))
    py4DSTEM.save(tmp_path / "two.h5", cube)
    assert py4dstem.read(tmp_path / "two.h5").name == "scan"
    py4DSTEM.save(tmp_path / "root.h5", cube.root)
    assert py4dstem.read(tmp_path / "root.h5").name == "scan"


def test_read_imports_other_formats(tmp_path):
    with h5py.File(tmp_path / "abtem.h5", "w") as file:
        file["array"] = np.ones((3, 4, 8, 9), np.float32)
        file["sampling"] = np.ones(4)
        file["units"] = [b"A", b"A", b"A^-1", b"A^-1"]
    assert py4dstem.read(tmp_path / "abtem.h5").data.shape == (3, 4, 8, 9)
