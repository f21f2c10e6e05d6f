# SPDX-License-Identifier: GPL-3.0-or-later
"""The command where the disk is full, or nothing can be written."""

import os
import subprocess
import sys

import hyperspy_scans
import py4DSTEM
import pytest

from py4dstem_rrvae.adapters import py4dstem

START = "from py4dstem_rrvae.cli import run; run()"
# A process that may write files of no more than so many bytes, as on a disk that is full.
FULL = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (%d, %d)); {START}"
QUICK = ["--energy", "60e3", "--latent-dim", "1", "--max-epochs", "1", "--device", "cpu"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and folders of Linux")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    counts = hyperspy_scans.counts_of(hyperspy_scans.turns())
    cube = py4dstem.datacube(counts, scan_step=0.3, q_per_pixel=0.05, center=hyperspy_scans.CENTER)
    py4DSTEM.save(str(folder / "scan.h5"), cube)
    hyperspy_scans.scan(counts).save(folder / "scan.hspy")
    return folder


def started(words, code=START, **options):
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def ended(process):
    said, complained = process.communicate(timeout=300)
    return process.returncode, said, complained


def fit(scans, out, *words):
    scan = scans / ("scan.h5" if out.suffix == ".h5" else "scan.hspy")
    return ["fit", scan, *QUICK, "--out", out, *words]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def complaints(text):
    """What the command says, without what it warns of."""
    ours = [line for line in text.splitlines() if line.startswith("py4dstem-rrvae: ")]
    return [line for line in ours if " could not " in line or " needs " in line]


# A store's files are smaller.
@pytest.mark.slow
@pytest.mark.parametrize(("ending", "limit"), [("h5", 4096), ("hspy", 4096), ("zspy", 100)])
def test_a_full_disk_is_one_sentence_and_leaves_the_earlier_file(ending, limit, scans, tmp_path):
    out = tmp_path / f"maps.{ending}"
    out.write_text("earlier") if ending != "zspy" else None
    code, _, error = ended(started(fit(scans, out, "--overwrite"), FULL % (limit, limit)))
    assert code == 2, error
    # The hosts add what they think of files that they cannot close.
    assert len(complaints(error)) == 1 and "could not be written" in complaints(error)[0]
    if ending == "zspy":
        assert names(tmp_path) == []
    else:
        assert names(tmp_path) == [out.name] and out.read_text() == "earlier"


def test_a_folder_that_takes_no_files_is_refused_at_once(scans):
    # For root, mode bits forbid nothing; this one holds what the kernel says, and takes no more.
    from pathlib import Path

    code, said, error = ended(started(fit(scans, Path("/proc/self/maps.h5"))))
    assert code == 2 and len(error.splitlines()) == 1
    assert "/proc/self/maps.h5" in error and "trained" not in said


DRAW = """
from pathlib import Path
from matplotlib.figure import Figure
from py4dstem_rrvae.cli import _draw
import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
figure = Figure(); figure.subplots()
_draw(figure, Path(sys.argv[1]), True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_a_full_disk_leaves_the_earlier_figure(ending, tmp_path):
    path = tmp_path / f"maps.{ending}"
    path.write_text("earlier")
    code, _, error = ended(started([path], f"import sys{DRAW}"))
    assert code == 1 and error.splitlines()[-1].startswith(f"OSError: {path} could not be written")
    assert names(tmp_path) == [path.name] and path.read_text() == "earlier"


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["h5", "zspy"])
def test_two_commands_at_once_lose_nothing(ending, scans, tmp_path):
    out = tmp_path / f"maps.{ending}"
    both = [started(fit(scans, out)) for _ in range(2)]
    codes, errors = zip(*[(code, error) for code, _, error in map(ended, both)], strict=True)
    assert sorted(codes) == [0, 2], errors
    refused = errors[codes.index(2)].splitlines()
    assert sum("another process" in line or "exists" in line for line in refused) == 1
    assert names(tmp_path) == [out.name]


@pytest.mark.slow
def test_any_name_without_a_home_or_a_terminal(scans, tmp_path):
    folder = tmp_path / ("Übung 测试 " + "lang" * 40)
    folder.mkdir()
    out, figure = folder / "Karten ü.h5", folder / "Bild é.png"
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "TERM", "LANG")}
    process = started(
        fit(scans, out, "--figure", figure),
        stdin=subprocess.DEVNULL, env=environment | {"LC_ALL": "C"},
    )  # fmt: skip
    code, said, error = ended(process)
    assert code == 0, error
    assert names(folder) == sorted([out.name, figure.name]) and "%" not in said + error
