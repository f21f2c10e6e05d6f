# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed at any moment, writers leave the earlier file or the new one."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import power_cuts
from py4dstem_rrvae.replacing import replacing

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are forked")


def in_place(path, version):
    """What no writer may do."""
    with path.open("w") as file:
        for _ in range(100):
            file.write(f"{version}\n")
            file.flush()
            time.sleep(0.003)


def beside(path, version):
    with replacing(path) as part:
        in_place(part, version)


def writer(write):
    return power_cuts.Writer("numbers", "numbers.txt", write, np.loadtxt)


@pytest.mark.slow
def test_writers_beside_are_safe(tmp_path, capsys):
    assert power_cuts.row(writer(beside), tmp_path, 20, np.random.default_rng(0)) == 0
    counted = capsys.readouterr().out.split()
    assert int(counted[1]) > 5


@pytest.mark.slow
def test_the_judge_finds_writers_in_place(tmp_path, capsys):
    assert power_cuts.row(writer(in_place), tmp_path, 20, np.random.default_rng(0)) > 2
    assert "broken" in capsys.readouterr().out


def test_a_writer_that_fails_is_told(tmp_path, capfd):
    with pytest.raises(RuntimeError, match="a writer has failed with 1"):
        power_cuts.forked(lambda: in_place(tmp_path / "absent" / "numbers.txt", 0))


@pytest.mark.slow
def test_every_kind_of_file_survives(tmp_path):

    # A process of its own, since the writers are forked from it.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.power_cuts", "--kills", "4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines()[1:] if not line.startswith(" ")]
    assert len(rows) == 9
