# SPDX-License-Identifier: GPL-3.0-or-later
"""The prepared run for a machine with a CUDA device, done on the processor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.on_device import Checks, Run

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "on_device.sh"


@pytest.mark.slow
def test_every_part_passes_on_the_processor(tmp_path):
    path = tmp_path / "found.json"
    about = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", SCRIPT, "--cpu", "--json", path], env=about, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(path.read_text())
    assert found["failed"] == []
    assert set(found["checks"]) == {check.__name__ for check in Checks.ALL}
    assert all(check["ok"] for check in found["checks"].values())
    assert set(found["speed"]) == {"bus", "encoding", "scan", "stages"}
    for size in ("48", "128", "192"):
        assert (
            found["speed"]["encoding"][size]["wall_s"] > found["speed"]["encoding"][size]["floor_s"]
        )


def test_what_fails_or_has_no_time_is_told_and_kept(tmp_path, capsys):
    def wrong():
        raise AssertionError("z differs by 0.3")

    path = tmp_path / "found.json"
    run = Run(60, path)
    run.part("checks", "right", lambda: {"z": 0.0})
    run.part("checks", "wrong", wrong)
    run.end = 0.0
    run.part("speed", "late", lambda: {})
    found = json.loads(path.read_text())
    assert found["failed"] == run.failed == ["wrong", "late"]
    assert found["checks"]["right"]["ok"] and not found["checks"]["wrong"]["ok"]
    assert "z differs by 0.3" in found["checks"]["wrong"]["error"]
    assert "no time was left" in found["speed"]["late"]["missing"]
    assert "FAILED wrong" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="needs bash")
def test_what_a_python_lacks_is_named(tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    about = os.environ | {"PYTHON": str(bare)}
    done = subprocess.run(["bash", SCRIPT], env=about, capture_output=True, text=True)
    assert done.returncode == 2
    assert "lacks: torch numpy scipy" in done.stderr
