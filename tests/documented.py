# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines that the README and the pages of `docs` show, and what they take for granted."""

import io
import json
import re
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import h5py
import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np
import py4DSTEM
import pytest

from py4dstem_rrvae import RRVAE, synthetic

ROOT = Path(__file__).parent.parent
SIDE, SIZE = 12, 24
CENTER = ((SIZE - 1) / 2, (SIZE - 1) / 2)


def blocks(path, language="python"):
    """Fenced blocks of a page in one language."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.S | re.M)


def patterns(seed=0):
    """Counts as cameras record them, (12, 12, 24, 24)."""
    frames = synthetic.lobes(SIDE**2, size=SIZE, counts=3000, random_state=seed).frames
    return frames.reshape(SIDE, SIDE, SIZE, SIZE)


def cube_of(frames, q_per_pixel=0.05):
    cube = py4DSTEM.DataCube(frames.copy())
    cube.calibration.set_R_pixel_size(0.5)
    cube.calibration.set_R_pixel_units("nm")
    cube.calibration.set_Q_pixel_size(q_per_pixel)
    cube.calibration.set_Q_pixel_units("A^-1")
    cube.calibration.set_QR_rotation(0.0)
    cube.calibration.set_QR_flip(False)
    cube.calibration.set_origin(tuple((n - 1) / 2 for n in frames.shape[-2:]))
    return cube


def signal_of(frames):
    signal = hs.signals.Signal2D(frames.copy())
    for axis in signal.axes_manager.navigation_axes:
        axis.scale, axis.units = 0.5, "nm"
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.offset, axis.units = 0.05, -0.05 * (SIZE - 1) / 2, "1/A"
    signal.set_signal_type("electron_diffraction")
    return signal


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """A model of a few steps, in a file."""
    path = tmp_path_factory.mktemp("model") / "model.rrvae"
    options = {"max_epochs": 4, "random_state": 0, "progress": False}
    RRVAE(2, **options).fit(cube_frames()).save(path)
    return path


def cube_frames():
    from py4dstem_rrvae.adapters import py4dstem

    return py4dstem.frames(cube_of(patterns()))


def published(frames):
    """A simulated and a measured scan, in the layouts of the authors' files."""
    rates = synthetic.lobes(SIDE**2, size=SIZE, counts=3000, random_state=0)
    with h5py.File("simulated.h5", "w") as file:
        for group in ("CBEDs", "Calculation", "Crystal", "Microscope"):
            file.create_group(group)
        file["Microscope/voltage"] = 60e3
        file["CBEDs/patterns"] = (rates.frames.reshape(frames.shape) + 0.1) / 3000
        file["CBEDs/positions"] = np.zeros((SIDE, SIDE, 2))
    axes = [{"offset": 0.0, "scale": s, "units": u} for s, u in ((0.5, "nm"), (0.05, "1/A"))]
    # The camera's gain and pedestal.
    counts = np.random.default_rng(0).normal(40.0 * frames + 100.0, 2.0).astype(np.float32)
    np.save("part.npy", counts)
    with zipfile.ZipFile("measured.ndata1", "w") as archive:
        archive.write("part.npy", "data.npy")
        archive.writestr(
            "metadata.json",
            json.dumps({"spatial_calibrations": [axes[0], axes[0], axes[1], axes[1]]}),
        )
    Path("part.npy").unlink()


@pytest.fixture
def given(tmp_path, monkeypatch, model_file):
    """Files in the working folder, and what the pages take for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda *_: None)
    frames = patterns()
    py4DSTEM.save("scan.h5", cube_of(frames), mode="o")
    signal_of(frames).save("scan.zspy")
    np.save("scan.npy", frames)
    frames.tofile("scan.raw")
    with h5py.File("camera.h5", "w") as file:
        file.create_dataset("entry/data", data=frames, chunks=(4, 4, SIZE, SIZE))
    published(frames)
    Path("model.rrvae").write_bytes(model_file.read_bytes())
    inside = np.zeros((SIDE, SIDE), bool)
    inside[:, 1:] = True
    coarse = frames.reshape(SIDE, SIDE, SIZE // 2, 2, SIZE // 2, 2).sum(axis=(3, 5))
    yield {
        "datacube": cube_of(frames),
        "other_datacube": cube_of(patterns(1)),
        "coarse_datacube": cube_of(coarse, 0.1),
        "signal": signal_of(frames),
        "frames": frames,
        "other_frames": patterns(1),
        "simulated": (frames + 0.1) / 3000,
        "inside": inside,
        "py4DSTEM": py4DSTEM,
        "angle": np.zeros((SIDE, SIDE)),
        "fold": np.full((SIDE, SIDE), 6),
    }
    plt.close("all")


@pytest.fixture
def quick(monkeypatch):
    """Training stops after some steps, unless the lines say how long it is to last."""
    whole = RRVAE._train

    def train(self, *args):
        asked = self.max_epochs
        self.max_epochs = asked or 20
        try:
            return whole(self, *args)
        finally:
            self.max_epochs = asked

    monkeypatch.setattr(RRVAE, "_train", train)


def run(block, names, page):
    """Run lines; what they print is what stands behind ``# ->``."""
    told = io.StringIO()
    with redirect_stdout(told):
        exec(compile(block, page, "exec"), names)
    printed = told.getvalue().splitlines()
    for expected in re.findall(r"^print\(.*\)  # -> (.*)$", block, flags=re.M):
        assert expected in printed, f"{page} says {expected}; printed was {printed}"
