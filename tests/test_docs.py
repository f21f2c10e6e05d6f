# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation: complete, without dead links, its lines run, and the site builds."""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import hyperspy.api as hs
import py4DSTEM
import pytest
from documented import ROOT, blocks, given, model_file, patterns, quick, run  # noqa: F401

import py4dstem_rrvae
from py4dstem_rrvae import cli, datasets
from py4dstem_rrvae.adapters import hyperspy as for_hyperspy
from py4dstem_rrvae.adapters import libertem as for_libertem
from py4dstem_rrvae.adapters import py4dstem as for_py4dstem

pytestmark = [
    # HyperSpy's own choice of store.
    pytest.mark.filterwarnings("ignore:The NestedDirectoryStore"),
]
DOCS = ROOT / "docs"
PAGES = sorted(
    path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] != "tutorials"
)
"""All but the copy of the tutorials that a build leaves there."""
LINKED = [
    *PAGES,
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tutorials/README.md")),
]
MODULES = (datasets, for_py4dstem, for_hyperspy, for_libertem)
GIVEN_ELSEWHERE = {
    ("docs/from_laptop_to_cluster.md", 1): "a scheduler on the network",
    ("docs/from_laptop_to_cluster.md", 2): "a file of a Merlin camera",
    ("docs/from_laptop_to_cluster.md", 3): "goes on with that file",
}
"""Blocks that are not run, and what they need."""
RUN = [
    page
    for page in (path.relative_to(ROOT).as_posix() for path in PAGES)
    if blocks(page) and page != "docs/own_data.md"  # which test_readme.py runs
]


def name(path):
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings():
    return module_of(DOCS / "conf.py")


def test_settings_import_and_ask_for_no_network():
    found = settings()
    assert found.project == "py4dstem_rrvae"
    assert "sphinx.ext.intersphinx" not in found.extensions
    assert found.nitpicky


def test_every_page_is_in_a_table_of_contents():
    listed = {"index"}
    for path in PAGES:
        folder = path.parent
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", path.read_text(), flags=re.S):
            for line in tree.splitlines():
                if line and not line.startswith(":"):
                    line = re.sub(r".*<(.*)>", r"\1", line)
                    listed.add(os.path.relpath(folder / line, DOCS))
    for page, entries in settings().CONTENTS.items():
        listed |= {os.path.normpath(Path(page).parent / entry) for entry in entries}
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES}
    notebooks = {f"tutorials/{path.stem}" for path in (ROOT / "tutorials").glob("*.ipynb")}
    assert listed == pages | notebooks | {"tutorials/README"}


def anchors(path):
    """Of a page's headings, as a code host and MyST make them."""
    found = set()
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)
    for heading in re.findall(r"^#+ (.*)$", text, flags=re.M):
        plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(plain.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_links_within_the_repository_lead_somewhere(page):
    text = re.sub(r"^ *```(?!\{).*?^ *```", "", page.read_text(), flags=re.S | re.M)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    links += re.findall(r"^:::\{figure\} (\S+)$", text, flags=re.M)
    for link in links:
        if re.match(r"https?:|mailto:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / unquote(target)).resolve() if target else page
        assert path.exists(), f"{name(page)} links {link}"
        assert path.is_relative_to(ROOT), f"{name(page)} links {link}"
        if anchor:
            assert anchor in anchors(path), f"{name(page)} links {link}"


def test_the_readme_is_short_and_leads_to_the_pages():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) < 100
    for command in ("make demo", "make test"):
        assert command in readme
    for page in ("own_data", "maps", "figures_of_merit", "model", "comparison", "report/README"):
        assert f"](docs/{page}.md)" in readme


def test_blocks_that_are_not_run_are_still_there():
    for page, number in GIVEN_ELSEWHERE:
        assert len(blocks(page)) > number


@pytest.mark.slow
def test_commands_of_the_pages_run(given):
    lines = [line for block in blocks("docs/howto/batch.md", "sh") for line in block.splitlines()]
    assert len(lines) == 2
    for line in lines:
        program, *words = line.split()
        assert program == "py4dstem-rrvae"
        assert cli.main([*words, "--max-epochs", "4"]) == 0
        assert Path(words[words.index("--out") + 1]).exists()


@pytest.mark.slow
def test_the_job_is_a_script_that_bash_takes_and_the_command_knows(given):
    (job,) = blocks("docs/howto/batch.md", "bash")
    assert subprocess.run(["bash", "-n"], input=job, text=True).returncode == 0
    *lines, last = job.replace("py4dstem-rrvae", "echo").splitlines()
    Path("scans.txt").write_text("other.h5\nscan.h5\n")
    surroundings = os.environ | {"SLURM_ARRAY_TASK_ID": "2", "SLURM_CPUS_PER_TASK": "1"}
    told = subprocess.run(
        ["bash", "-c", "\n".join([*lines, last])], env=surroundings, capture_output=True, text=True
    )
    assert told.stderr == ""
    assert cli.main([*told.stdout.split(), "--max-epochs", "4"]) == 0
    assert Path("scan_maps.h5").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_lines_of_the_pages_run(page, given, quick, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py", "scan.h5"])
    names = given
    for number, block in enumerate(blocks(page)):
        if (page, number) in GIVEN_ELSEWHERE:
            continue
        if "acquisition" in block:
            names["acquisition"] = names["dataset"]
        run(block, names, page)


class Links(HTMLParser):
    """Links of a page, and what they may lead to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.places = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag in ("script", "link", "img") and found.get("rel") not in ("canonical", "search"):
            self.loaded += [found[key] for key in ("href", "src") if found.get(key)]
        self.links += [found[key] for key in ("href", "src") if found.get(key)]
        self.places |= {found[key] for key in ("id", "name") if found.get(key)}


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_its_links_lead_somewhere(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            *("-m", "sphinx", "-q", "-W", "--keep-going", "-n", "-b", "html"),
            *("-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")),
        ],
        env=os.environ | {"EXECUTE": "off", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    site = tmp_path / "html"
    pages = {
        path: Links(path.read_text())
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }
    for path, page in pages.items():
        assert [link for link in page.loaded if re.match(r"(https?:)?//", link)] == []
        for link in page.links:
            if re.match(r"\w+:", link) or link == "#":
                continue
            target, _, anchor = link.partition("#")
            target = target.partition("?")[0]
            to = (path.parent / unquote(target)).resolve() if target else path
            assert to.exists(), f"{path.relative_to(site)} links {link}"
            if anchor and to in pages:
                assert unquote(anchor) in pages[to].places, f"{path.relative_to(site)} links {link}"
    documented = set().union(*(page.places for page in pages.values()))
    assert public_names() - documented == set()


def public_names():
    """What the reference must have."""
    names = {f"py4dstem_rrvae.{n}" for n in py4dstem_rrvae.__all__ if n != "datasets"}
    for module in MODULES:
        made = {name: getattr(module, name) for name in module.__all__}
        names |= {
            f"{module.__name__}.{name}"
            for name, one in made.items()
            if inspect.isclass(one) or inspect.isfunction(one)
        }
    hosts = {"py4DSTEM.DataCube": py4DSTEM.DataCube(patterns())}
    hosts["hyperspy.signals.BaseSignal"] = hs.signals.BaseSignal([0])
    for host, made in hosts.items():
        names |= {f"{host}.rrvae.{n}" for n in dir(type(made.rrvae)) if n[0] != "_"}
    return names


@pytest.mark.slow
def test_the_figure_of_the_model_is_drawn(tmp_path):
    drawing = module_of(DOCS / "draw_model.py")
    drawing.OUT = tmp_path / "model.png"
    drawing.main()
    assert drawing.OUT.stat().st_size > 100_000
