# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of the README run as they stand, on integers as cameras record them."""

import re
from pathlib import Path

import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np
import py4DSTEM
import pytest

from py4dstem_rrvae import synthetic

BLOCKS = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parent.parent / "README.md").read_text(), flags=re.S
)
SIDE, SIZE = 12, 24


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Files in the working folder, and what the README takes for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda *_: None)
    frames = synthetic.lobes(SIDE**2, size=SIZE, counts=3000).frames
    frames = frames.reshape(SIDE, SIDE, SIZE, SIZE)

    def datacube():
        cube = py4DSTEM.DataCube(frames.copy())
        cube.calibration.set_R_pixel_size(0.5)
        cube.calibration.set_R_pixel_units("nm")
        cube.calibration.set_Q_pixel_size(0.05)
        cube.calibration.set_Q_pixel_units("A^-1")
        cube.calibration.set_QR_rotation(0.0)
        cube.calibration.set_QR_flip(False)
        cube.calibration.set_origin(((SIZE - 1) / 2, (SIZE - 1) / 2))
        return cube

    py4DSTEM.save("scan.h5", datacube(), mode="o")
    signal = hs.signals.Signal2D(frames)
    for axis in signal.axes_manager.navigation_axes:
        axis.scale, axis.units = 0.5, "nm"
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.offset, axis.units = 0.05, -0.05 * (SIZE - 1) / 2, "1/A"
    signal.set_signal_type("electron_diffraction")
    signal.save("scan.zspy")
    inside = np.zeros((SIDE, SIDE), bool)
    inside[:, 1:] = True
    yield {
        "datacube": datacube(),
        "other_datacube": datacube(),
        "frames": frames,
        "inside": inside,
        "py4DSTEM": py4DSTEM,
        "angle": np.zeros((SIDE, SIDE)),
        "fold": np.full((SIDE, SIDE), 6),
    }
    plt.close("all")


def test_there_are_blocks():
    assert [("datacube.rrvae.fit(latent_dim=2)" in b, "hs.load" in b) for b in BLOCKS[:2]] == [
        (True, False),
        (False, True),
    ]
    assert len(BLOCKS) == 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The NestedDirectoryStore")  # HyperSpy's own choice of store
@pytest.mark.parametrize("block", BLOCKS, ids=["py4dstem", "hyperspy", "arrays", "more"])
def test_lines_run(block, given):
    if "import" not in block:
        block = f"import py4dstem_rrvae\n{block}"
    exec(compile(block, "README.md", "exec"), given)
    if "other_datacube.rrvae.encode" in block:
        assert set(py4DSTEM.read("out.h5").tree("rrvae")._branch.keys()) >= {"z1", "angle"}
    if "codes" in given:
        assert given["codes"].z.shape == (SIDE, SIDE, 2)
