# SPDX-License-Identifier: GPL-3.0-or-later
"""What strangers get: archives, versions, requirements, and the conda recipe."""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from py4dstem_rrvae import __version__

tomllib = pytest.importorskip("tomllib", reason="Python has it from 3.11 on")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RECIPE = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))
# Names that conda-forge has for some projects.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "hyperspy": "hyperspy-base"}
NAMES = ["py4dstem_rrvae/_version.py", "CITATION.cff", "recipe/recipe.yaml", "CHANGELOG.md"]


def asked(*extras):
    """What is required, by the names of PyPI."""
    lines = [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    found = [Requirement(line) for line in lines or PROJECT["dependencies"]]
    return {each.name: each.specifier for each in found if each.name != PROJECT["name"]}


def as_conda(requirements):
    return {
        f"{CONDA.get(name, name.lower())} {','.join(sorted(map(str, found), reverse=True))}"
        for name, found in requirements.items()
    }


def test_recipe_requires_what_the_project_does():
    run = RECIPE["requirements"]["run"]
    assert run[0] == "python >=${{ python_min }}"
    assert set(run[1:]) == as_conda(asked())
    assert f">={RECIPE['context']['python_min']}" == PROJECT["requires-python"]
    hosts = asked("py4dstem", "hyperspy", "libertem", "live", "plot")
    assert set(RECIPE["requirements"]["run_constraints"]) == as_conda(hosts)


def test_recipe_says_what_the_project_does():
    assert RECIPE["build"]["noarch"] == "python"
    commands = [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]
    assert RECIPE["build"]["python"]["entry_points"] == commands
    assert RECIPE["about"]["license"] == PROJECT["license"]
    assert [RECIPE["about"]["license_file"]] == PROJECT["license-files"]
    assert RECIPE["about"]["summary"] == PROJECT["description"]


def test_oldest_constraints_are_the_lower_bounds():
    lines = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    distributed = pinned.pop("distributed")  # comes with dask, in step with it
    assert distributed == pinned["dask"]
    bounds = asked() | asked("py4dstem", "hyperspy", "libertem", "live", "plot", "tests")
    assert pinned.keys() == bounds.keys()
    for name, specifier in bounds.items():
        (lowest,) = (each for each in specifier if each.operator == ">=")
        assert re.fullmatch(rf"{re.escape(lowest.version)}(\.0)*", pinned[name]), name


def tag(root, *words):
    return subprocess.run(
        [sys.executable, str(root / "tools" / "tag.py"), *words],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def released(tmp_path):
    """The files that name a version, with its changes told."""
    for name in [*NAMES, "tools/tag.py"]:
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    changes = (tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")
    changes += f"\n## {__version__} - 2000-01-01\n"
    (tmp_path / "CHANGELOG.md").write_text(changes, encoding="utf-8")
    return tmp_path


def test_a_tag_of_this_version_passes(released):
    done = tag(released, f"v{__version__}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_another_version_stops_the_release(released, name):
    text = (released / name).read_text(encoding="utf-8")
    (released / name).write_text(text.replace(__version__, "99.1.0"), encoding="utf-8")
    done = tag(released, f"v{__version__}")
    assert done.returncode == 1
    assert done.stderr.startswith(name)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["v99.1.0"], [__version__], ["v1.0"], [""], []])
def test_a_wrong_tag_stops_the_release(released, words):
    done = tag(released, *words)
    assert done.returncode == 1
    assert done.stderr


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The sdist, and the wheel made from it."""
    made = tmp_path_factory.mktemp("dist")
    words = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    subprocess.run(
        [sys.executable, "-m", "build", *words, "--outdir", str(made), str(ROOT)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (source,), (wheel,) = made.glob("*.tar.gz"), made.glob("*.whl")
    return source, wheel


@pytest.mark.slow
def test_the_source_has_what_tests_and_release_need(archives):
    top = f"py4dstem_rrvae-{__version__}/"
    with tarfile.open(archives[0]) as archive:
        names = {name.removeprefix(top) for name in archive.getnames()}
    wanted = {"LICENSE", "Makefile", "constraints.txt", "constraints-oldest.txt", "pyproject.toml"}
    wanted |= {*NAMES, "tests/test_packaging.py", "recipe/recipe.yaml", "tools/tag.py"}
    wanted |= {"py4dstem_rrvae/data/graphene.h5", "py4dstem_rrvae/hyperspy_extension.yaml"}
    assert wanted <= names
    assert not {name for name in names if re.search(r"(^|/)(\.venv|__pycache__|\.git/)", name)}


@pytest.mark.slow
def test_the_wheel_has_the_package_and_its_plugin_alone(archives):
    kept = {
        path.relative_to(ROOT).as_posix()
        for folder in ("py4dstem_rrvae", "py4d_browser_plugin")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    info = f"py4dstem_rrvae-{__version__}.dist-info/"
    with zipfile.ZipFile(archives[1]) as archive:
        names = {name.removeprefix(info) for name in archive.namelist()}
        metadata = message_from_bytes(archive.read(f"{info}METADATA"))
        assert archive.read(f"{info}licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert names == kept | about
    assert {"py4dstem_rrvae/py.typed", "py4dstem_rrvae/hyperspy_extension.yaml"} <= names
    # A namespace, which the browser and other packages share: whose file would it be?
    assert "py4d_browser_plugin/rrvae/__init__.py" in names
    assert "py4d_browser_plugin/__init__.py" not in names
    assert metadata["License-Expression"] == "GPL-3.0-or-later"
    assert metadata["Version"] == __version__


SCAN = """
import sys
import hyperspy.api as hs
import py4dstem_rrvae
from hyperspy.extensions import ALL_EXTENSIONS
from py4dstem_rrvae import datasets

assert py4dstem_rrvae.__file__.startswith(sys.prefix), py4dstem_rrvae.__file__
assert ALL_EXTENSIONS["signals"]["LatentMap2D"]["signal_type"] == "rrvae_latent_map"
datasets.graphene("hyperspy").inav[:12, :12].save("scan.hspy")
"""


@pytest.mark.slow
def test_the_wheel_works_where_nothing_of_the_clone_is(archives, tmp_path):
    """A new environment, with the packages of this one behind its own."""
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    paths = sysconfig.get_paths(vars={"base": str(place), "platbase": str(place)})
    python = Path(paths["scripts"]) / Path(sys.executable).name
    behind = Path(paths["purelib"]) / "behind.pth"
    behind.write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    install += ["--no-deps", "--no-index", "--ignore-installed", str(archives[1])]
    subprocess.run(install, check=True)

    about = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words):
        done = subprocess.run(words, cwd=tmp_path, env=about, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    command = str(Path(paths["scripts"]) / "py4dstem-rrvae")
    assert run(command, "--version").strip() == __version__
    run(str(python), "-c", SCAN)
    run(command, "fit", "scan.hspy", "--max-epochs", "1", "--out", "maps.hspy")
    assert (tmp_path / "maps.hspy").is_file()
