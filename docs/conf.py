# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx's settings for the documentation.

Nothing is asked of a network. ``EXECUTE=off`` in the environment leaves the notebooks as they are;
else they are run, and what they gave is kept in ``build/docs/cache`` until they change.
"""

from __future__ import annotations

import importlib
import inspect
import io
import os
import re
import shutil
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

import py4dstem_rrvae
from py4dstem_rrvae import cli

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TUTORIALS = HERE / "tutorials"
"""A copy of the folder `tutorials`, made anew by every build: sources must lie in one folder."""

project = "py4dstem_rrvae"
author = "py4dstem_rrvae developers"
project_copyright = author
version = release = py4dstem_rrvae.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["**/.ipynb_checkpoints"]

# Pages written for a code host's view have their contents in a list or a table of links.
CONTENTS = {
    "report/README": [
        "geometry",
        "uncertainty",
        "counts",
        "symmetry",
        "anomaly",
        "latent_dims",
        "cases",
        "reliability",
        "../comparison",
    ],
    "tutorials/README": sorted(path.stem for path in (ROOT / "tutorials").glob("[0-9]_*.ipynb")),
}
INTO_TUTORIALS = re.compile(r"(?<=[(])[.][.]/((?:[.][.]/)*)tutorials/(?=[\w/]+[.](?:md|ipynb)\b)")

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
suppress_warnings = ["mystnb.unknown_mime_type"]

nb_execution_mode = "off" if os.environ.get("EXECUTE", "cache") == "off" else "cache"
nb_execution_cache_path = str(ROOT / "build" / "docs" / "cache")
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_execution_excludepatterns = ["*.md"]
nb_merge_streams = True
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # they would come from a network

# Words in single backticks of docstrings are names; those that are documented become links.
default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# Every link that a page makes must lead somewhere. Not so names in single backticks in docstrings
# (parameters, names of others) and types, which belong to other packages.
nitpicky = True
nitpick_ignore_regex = [("py:obj", r".*"), ("py:class", r".*")]

html_theme = "pydata_sphinx_theme"
html_title = "py4dstem_rrvae"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "py4dstem_rrvae"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {
    page: []
    for page in (
        *("index", "install", "own_data", "model", "maps", "figures_of_merit"),
        *("changelog", "contributing"),
    )
}
html_static_path = ["_static"]
html_css_files = ["docs.css"]
templates_path: list[str] = []


class CommandHelp(Directive):
    """What a command prints for ``--help``; the argument is the command, none the program."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Ask the program itself."""
        words = [*self.arguments, "--help"]
        told = io.StringIO()
        os.environ["COLUMNS"] = "88"
        with redirect_stdout(told), suppress(SystemExit):
            cli.main(words)
        text = f"$ py4dstem-rrvae {' '.join(words)}\n{told.getvalue()}"
        block = nodes.literal_block(text, text)
        block["language"] = "text"
        return [block]


def copy_tutorials() -> None:
    """Make the copy of the tutorials; a file that has not changed keeps its time."""
    TUTORIALS.mkdir(exist_ok=True)
    kept = [*(ROOT / "tutorials").glob("*.ipynb"), ROOT / "tutorials" / "README.md"]
    kept += [ROOT / "tutorials" / "panels.py"]
    for stale in {path.name for path in TUTORIALS.iterdir()} - {path.name for path in kept}:
        path = TUTORIALS / stale
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in kept:
        copy = TUTORIALS / path.name
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)


def show_accessors() -> None:
    """Let the hosts' classes have the accessors' classes, so that their methods are documented.

    On a class the attribute is otherwise a descriptor; this holds for the build alone.
    """
    for host, owner in (("py4DSTEM", "DataCube"), ("hyperspy.signals", "BaseSignal")):
        cls = getattr(importlib.import_module(host), owner)
        module, _, name = inspect.getattr_static(cls, "rrvae").target.partition(":")
        accessor = getattr(importlib.import_module(module), name)
        accessor.__name__ = "rrvae"  # else Sphinx calls it an alias
        cls.rrvae = accessor


def prepare(_: Sphinx, name: str, source: list[str]) -> None:
    """Lead links into the copy of the tutorials, and give pages of `CONTENTS` theirs, hidden."""
    source[0] = INTO_TUTORIALS.sub(r"\1tutorials/", source[0])
    if name in CONTENTS:
        listed = "\n".join(CONTENTS[name])
        source[0] += f"\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"


def escape_stars(_: Sphinx, _what: str, _name: str, *rest: Any) -> None:
    """Shapes such as (*scan, 2) are no emphasis."""
    lines = rest[-1]
    lines[:] = [line.replace("(*", r"(\*") for line in lines]


def without_host(_: Sphinx, _what: str, name: str, *_rest: Any) -> tuple[str, str] | None:
    """Nobody makes an accessor; it is an attribute."""
    return ("", "") if name.endswith(".rrvae") else None


def link_by_ending(app: Sphinx, _: Any, node: nodes.Element, text: nodes.Node) -> Any:
    """Link what a docstring calls by the end of its name, where one thing alone ends so."""
    if node.get("refdomain") != "py" or node.get("reftype") != "obj":
        return None
    objects = app.env.domains.python_domain.objects
    target = node["reftarget"]
    found = [n for n, entry in objects.items() if n.endswith("." + target) and not entry.aliased]
    if len(found) != 1:
        # What the package offers itself, called by the module that it is made in.
        found = [f"py4dstem_rrvae.{target.rpartition('.')[-1]}"]
    if found[0] not in objects or ("." not in target and target not in py4dstem_rrvae.__all__):
        return None
    entry = objects[found[0]]
    uri = app.builder.get_relative_uri(node["refdoc"], entry.docname)
    return nodes.reference("", "", text, internal=True, refuri=f"{uri}#{entry.node_id}")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    copy_tutorials()
    show_accessors()
    app.add_directive("command-help", CommandHelp)
    app.connect("source-read", prepare)
    app.connect("autodoc-process-docstring", escape_stars)
    app.connect("autodoc-process-signature", without_host)
    app.connect("missing-reference", link_by_ending)
