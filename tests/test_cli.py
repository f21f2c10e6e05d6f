# SPDX-License-Identifier: GPL-3.0-or-later
"""The command: what it writes, what it says, and what it refuses before it works."""

import subprocess
import sys
import warnings

import hyperspy.api as hs
import hyperspy_scans
import numpy as np
import py4DSTEM
import pytest
from hyperspy.signals import BaseSignal

from py4dstem_rrvae import __version__, cli
from py4dstem_rrvae.adapters import py4dstem

ANGLE = {"angle", "angle_std", "angle_reliability"}
NAMES = ANGLE | {"z1", "z1_std", "fold", "error", "com_x", "com_y", "dpc_phase"}
FIT = ["--energy", "60e3", "--latent-dim", "1", "--max-epochs", "1", "--random-state", "0"]


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    index = np.stack(np.indices((16, 18)), axis=-1) - (7.5, 8.5)
    disc = 9.0 * (np.hypot(*np.moveaxis(index, -1, 0)) < 6)
    patterns = np.random.default_rng(0).poisson(disc, (5, 6, 16, 18)).astype(np.uint16)
    cube = py4dstem.datacube(patterns, scan_step=0.3, q_per_pixel=0.05, center=(7.5, 8.5))
    py4DSTEM.save(path, cube)
    return path


def run(*words):
    return cli.main([str(word) for word in words])


def test_fit_writes_maps_and_figure(scan, tmp_path, capsys):
    out, figure = tmp_path / "maps.h5", tmp_path / "maps.png"
    before = scan.read_bytes()
    assert run("fit", scan, *FIT, "--device", "cpu", "--out", out, "--figure", figure) == 0
    node = py4DSTEM.read(out)
    assert set(node.treekeys) == NAMES
    assert node.tree("z1").calibration.get_R_pixel_size() == 0.3
    about = node.metadata["rrvae_params"]["model"]
    assert (about["latent_dim"], about["max_epochs"], about["random_state"]) == (1, 1, 0)
    assert figure.stat().st_size > 10_000
    assert scan.read_bytes() == before
    said = capsys.readouterr().out
    for step in ("loaded", "COM and DPC", "trained and encoded", f"wrote {out}", f"drew {figure}"):
        assert step in said
    assert said.count(" s)") == 5


def test_nothing_is_overwritten_unless_told_to(scan, tmp_path, capsys):
    out = tmp_path / "maps.h5"
    out.write_text("mine")
    assert run("fit", scan, *FIT, "--out", out) == 2
    assert out.read_text() == "mine"
    assert f"{out} exists; give --overwrite to replace it" in capsys.readouterr().err
    assert run("fit", scan, *FIT, "--out", out, "--overwrite") == 0
    assert set(py4DSTEM.read(out).treekeys) == NAMES


def test_warnings_are_one_line(scan, tmp_path, capsys):
    cube = py4DSTEM.read(scan)
    for name in ("qx0", "qy0", "qx0_mean", "qy0_mean", "QR_rotation", "QR_rotation_degrees"):
        cube.calibration._params.pop(name)
    py4DSTEM.save(tmp_path / "bare.h5", cube)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run("fit", tmp_path / "bare.h5", *FIT, "--out", tmp_path / "maps.h5") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "py4dstem-rrvae: " in line]
    assert any("the calibration has no origin" in line for line in lines)
    assert any("the calibration has no QR rotation" in line for line in lines)


REFUSALS = {
    "no such file": (["fit", "nowhere.h5"], "nowhere.h5 must be a file that py4DSTEM opens"),
    "no data": (["fit", "text.h5"], "text.h5 must be a file that py4DSTEM opens; it says"),
    "no data cube": (["fit", "image.h5"], "image.h5 must hold one DataCube; got 0 (RealSlice)"),
    "unknown kind": (["fit", "text.txt"], "text.txt must be a file that py4DSTEM opens; it says"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_files_that_hold_no_scan(case, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("text.h5", "text.txt"):
        (tmp_path / name).write_text("no data")
    py4DSTEM.save("image.h5", py4DSTEM.RealSlice(np.ones((3, 4)), name="image"))
    words, message = REFUSALS[case]
    assert run(*words, *FIT, "--out", "maps.h5") == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "maps.h5").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "maps.txt"], "maps.txt must end in .h5, .hdf5, .emd, .py4dstem, .hspy, .zspy;"),
        (["--out", "maps"], "maps must end in .h5, .hdf5, .emd, .py4dstem, .hspy, .zspy; got none"),
        (["--host", "hyperspy", "--out", "maps.h5"], "maps.h5 must end in .hspy, .zspy; got .h5"),
        (["--host", "py4dstem", "--out", "a.zspy"], "a.zspy must end in .h5, .hdf5, .emd,"),
        (["--out", "a.h5", "--figure", "a.doc"], "a.doc must end in .png, .pdf, .svg; got .doc"),
        (["--out", "folder.h5"], "folder.h5 must be a file; it is a folder"),
        (["--out", "no/maps.h5"], "no/maps.h5 needs a folder that can be written to; no is none"),
        (["--out", "a.h5", "--energy", "60"], "energy must be in eV (60 kV is 60e3); got 60.0"),
        (["--out", "a.h5", "--latent-dim", "0"], "latent_dim"),
        (["--out", "a.h5", "--device", "abacus"], "abacus"),
    ],
)
def test_refusals_are_one_line(scan, words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.h5").mkdir()
    assert run("fit", scan, *FIT, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["folder.h5"]


def test_outputs_are_checked_before_the_input_is_read(tmp_path, capsys):
    assert run("fit", tmp_path / "nowhere.h5", *FIT, "--out", tmp_path / "maps.txt") == 2
    assert "must end in" in capsys.readouterr().err


def test_the_input_is_never_the_output(scan, capsys):
    before = scan.read_bytes()
    assert run("fit", scan, *FIT, "--out", scan, "--overwrite") == 2
    assert "outputs must be other files than the input" in capsys.readouterr().err
    assert scan.read_bytes() == before


@pytest.fixture(scope="module")
def signal_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("signal") / "scan.hspy"
    hyperspy_scans.scan(hyperspy_scans.counts_of(hyperspy_scans.turns())).save(path)
    return path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The NestedDirectoryStore is deprecated")
@pytest.mark.parametrize("ending", ["hspy", "zspy"])
@pytest.mark.parametrize("host", [[], ["--host", "hyperspy"]])
def test_fit_reads_and_writes_what_hyperspy_does(ending, host, signal_file, tmp_path, capsys):
    out, figure = tmp_path / f"maps.{ending}", tmp_path / "maps.png"
    quick = ["--latent-dim", "1", "--max-epochs", "1", "--device", "cpu"]
    assert run("fit", signal_file, *quick, *host, "--out", out, "--figure", figure) == 0
    maps = {map_.metadata.RRVAE.map: map_ for map_ in hs.load(out).split()}
    assert set(maps) == NAMES - {"dpc_phase"} | {"phase"}
    x, y = maps["z1"].axes_manager.signal_axes
    assert (x.name, x.scale, x.offset, x.units) == ("x", 0.47, 1.25, "um")
    assert (y.name, y.scale, y.offset, y.units) == ("y", 0.31, -2.5, "nm")
    assert figure.stat().st_size > 10_000
    said = capsys.readouterr().out
    for step in ("loaded", "pyxem's COM", "trained and encoded", f"wrote {out}", f"drew {figure}"):
        assert step in said


def test_a_file_of_hyperspy_s_without_a_scan_is_refused(tmp_path, capsys):
    BaseSignal(np.ones((2, 3, 9, 10))).save(tmp_path / "bare.hspy")
    words = ["fit", tmp_path / "bare.hspy", "--out", tmp_path / "maps.hspy"]
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert "got 4 signal axes (signal.transpose(signal_axes=(0, 1))" in error
    assert len(error.splitlines()) == 1


def test_dpc_needs_the_energy(scan, tmp_path, capsys):
    assert run("fit", scan, "--out", tmp_path / "maps.h5") == 2
    assert "py4DSTEM's DPC needs --energy, in eV (60e3)" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The NestedDirectoryStore is deprecated")
def test_demo_shows_the_defects(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("demo") == 0
    folder = tmp_path / "rrvae_demo"
    assert {path.name for path in folder.iterdir()} == {
        "graphene.h5",
        "graphene.zspy",
        "graphene.png",
    }
    cube = py4DSTEM.read(folder / "graphene.h5")
    assert cube.tree("rrvae/z2").data.shape == cube.Rshape
    for map_ in hs.load(folder / "graphene.zspy").split():
        name = map_.metadata.RRVAE.map
        if name[0] == "z" or name in ("fold", "error"):
            np.testing.assert_allclose(map_.data, cube.tree(f"rrvae/{name}").data, rtol=1e-4)
    about = cube.tree("rrvae").metadata["rrvae_params"]
    assert not about["collapsed"]
    assert min(about["repeatability"]) > 0.5
    lines = capsys.readouterr().out.splitlines()
    table = {line[:16].strip(): line[16:].split() for line in lines[-5:]}
    assert table[""] == ["vacancy", "silicon"]
    vacancy, silicon = (
        {name: float(table[name][k]) for name in ("latent space", "COM magnitude")} for k in (0, 1)
    )
    assert vacancy["latent space"] > vacancy["COM magnitude"] > 0
    assert silicon["latent space"] > silicon["COM magnitude"] > 3
    assert run("demo") == 2
    assert "exists; give --overwrite to replace it" in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    code = "import sys; from py4dstem_rrvae.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, "fit", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for word in ("--energy", "--host", "--out", "--overwrite", "--figure"):
        assert word in done.stdout
    for heavy in ("numpy", "torch", "py4DSTEM", "hyperspy", "matplotlib"):
        assert f" {heavy}\n" not in done.stderr


def test_version_and_wrong_words(capsys):
    with pytest.raises(SystemExit, match="0"):
        run("--version")
    assert capsys.readouterr().out.strip() == __version__
    with pytest.raises(SystemExit, match="2"):
        run("fit", "scan.h5")
    assert "--out" in capsys.readouterr().err


BLOCKED = """
import sys
sys.modules["py4DSTEM"] = None
from py4dstem_rrvae.cli import main
sys.exit(main(["demo", "--out-dir", sys.argv[1]]))
"""


def test_a_missing_host_is_named(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "py4DSTEM is needed: pip install 'py4dstem-rrvae[py4dstem,plot]'" in done.stderr
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_libraries_that_change_among_themselves_are_no_news_for_a_user(tmp_path):
    patterns = np.random.default_rng(0).poisson(5, (6, 7, 16, 16)).astype(np.uint16)
    hs.signals.Signal2D(patterns).save(tmp_path / "scan.hspy")
    words = ["fit", "scan.hspy", "--max-epochs", "1", "--device", "cpu", "--out", "maps.hspy"]
    start = f"from py4dstem_rrvae.cli import main; raise SystemExit(main({words}))"
    done = subprocess.run(
        [sys.executable, "-c", start], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "has moved" not in done.stdout + done.stderr


def test_what_a_library_does_to_warnings_lasts_for_one_step(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for told in ("here", "there"):
            with cli._step(told):
                warnings.warn("`_get_block_pattern` has moved", stacklevel=1)
                warnings.warn(f"look {told}", stacklevel=1)
                # As py4DSTEM's ptychography does when it is imported.
                warnings.showwarning = lambda message, *_, **__: print(f"theirs: {message}")
                warnings.simplefilter("always", UserWarning)
    said = capsys.readouterr()
    assert "theirs" not in said.out
    assert said.err.splitlines() == [f"py4dstem-rrvae: look {told}" for told in ("here", "there")]
