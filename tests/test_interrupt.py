# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-C keeps what was there before, and nobody takes half a training for a whole one."""

import signal
import subprocess
import sys
import time

import numpy as np
import py4DSTEM
import pytest

from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.training.loop import _Loop

# What a shell starts in the background ignores interrupts, and so would its children.
START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from py4dstem_rrvae.cli import main; sys.exit(main())"
)
FRAMES = synthetic.lobes(300, size=24).frames
OPTIONS = {"random_state": 0, "progress": False, "device": "cpu"}


@pytest.fixture
def interrupted(monkeypatch):
    run = _Loop.run

    def pressed(self, *arguments):
        if self.done > 30:
            raise KeyboardInterrupt
        run(self, *arguments)

    monkeypatch.setattr(_Loop, "run", pressed)


@pytest.mark.usefixtures("interrupted")
def test_a_new_estimator_keeps_what_it_has_learned():
    model = RRVAE(**OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        model.fit(FRAMES)
    assert model.history_.stopped == "interrupted"
    assert np.isfinite(model.encode(FRAMES).z).all()


@pytest.mark.slow
def test_a_fitted_estimator_stays_as_it_was(request):
    model = RRVAE(max_epochs=2, **OPTIONS).fit(FRAMES)
    before = model.encode(FRAMES).z
    request.getfixturevalue("interrupted")
    with pytest.raises(KeyboardInterrupt):
        model.set_params(max_epochs=50).fit(FRAMES)
    np.testing.assert_array_equal(model.encode(FRAMES).z, before)
    assert model.history_.stopped == "max_epochs"


@pytest.mark.slow
def test_earlier_maps_stay(request):
    cube = py4DSTEM.DataCube(FRAMES.reshape(20, 15, 24, 24))
    cube.calibration.set_origin((11.5, 11.5))
    cube.rrvae.fit(max_epochs=2, **OPTIONS)
    before = cube.tree("rrvae").tree("z1").data.copy()
    request.getfixturevalue("interrupted")
    with pytest.raises(KeyboardInterrupt):
        cube.rrvae.fit(**OPTIONS)
    np.testing.assert_array_equal(cube.tree("rrvae").tree("z1").data, before)


@pytest.mark.slow
def test_the_command_ends_without_a_file(tmp_path):
    cube = py4DSTEM.DataCube(FRAMES.reshape(20, 15, 24, 24))
    cube.calibration.set_origin((11.5, 11.5))
    py4DSTEM.save(str(tmp_path / "scan.h5"), cube, mode="o")
    words = ["fit", "scan.h5", "--energy", "60e3", "--out", "maps.h5", "--max-epochs", "9999"]
    command = subprocess.Popen(
        [sys.executable, "-c", START, *words],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with command:
        try:
            while line := command.stdout.readline():
                if "COM and DPC" in line:
                    break
            time.sleep(3)
            command.send_signal(signal.SIGINT)
            _, said = command.communicate(timeout=60)
        finally:
            command.kill()
    assert command.returncode == 130
    assert "interrupted; no maps were written" in said
    assert not (tmp_path / "maps.h5").exists()
