# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the notebooks from their scripts, and run them.

``python tutorials/notebooks.py write`` makes every ``.ipynb`` from its ``.py`` (py:percent form of
jupytext), without outputs. ``... run`` executes them, each in a kernel of its own, and fails if a
cell raises or anything is written to stderr; ``--outputs DIR`` keeps figures and printed text.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
SLOWEST = 900
"""Seconds that a cell may take before a run is given up."""


def scripts() -> list[Path]:
    """The tutorials' scripts, in order."""
    return sorted(FOLDER.glob("[0-9]_*.py"))


def made_from(script: Path) -> NotebookNode:
    """Notebook of a script, with cell ids that stay the same from one time to the next."""
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.validate(notebook)
    return notebook


def write(script: Path) -> Path:
    """Write a script's notebook beside it."""
    path = script.with_suffix(".ipynb")
    path.write_text(nbformat.writes(made_from(script)) + "\n", encoding="utf-8")
    return path


def run(script: Path, kept: Path | None = None) -> list[str]:
    """Execute a script's notebook; what it should not have done, in words.

    Parameters
    ----------
    script
        In whose folder the kernel runs.
    kept
        Folder for its figures (PNG) and printed text; None keeps none.
    """
    notebook = made_from(script)
    client = NotebookClient(
        notebook, timeout=SLOWEST, kernel_name="python3", resources={"metadata": {"path": FOLDER}}
    )
    wrong = []
    try:
        client.execute()
    except CellExecutionError as error:
        wrong = [str(error)]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    if kept is not None:
        _keep(outputs, kept / script.stem)
    return wrong + [
        f"stderr: {output.text.strip()}"
        for output in outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]


def _keep(outputs: list[NotebookNode], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    for number, image in enumerate(drawn):
        (folder / f"{number:02d}.png").write_bytes(base64.b64decode(image))
    printed = [o.text for o in outputs if o.output_type == "stream"]
    (folder / "printed.txt").write_text("\n".join(printed), encoding="utf-8")


def _processor_time() -> float:
    """Of all kernels that have ended, and what they started, in seconds."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> int:
    """Run the command; 1 if a notebook did what it should not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["write", "run"])
    parser.add_argument("names", nargs="*", help="first letters of tutorials; none means all")
    parser.add_argument("--outputs", type=Path)
    options = parser.parse_args()
    chosen = [s for s in scripts() if s.name.startswith(tuple(options.names) or "")]
    if not chosen:
        parser.error(f"no tutorial begins with {' or '.join(options.names)}")
    # The kernel starts in another folder.
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in given if path)
    failed = 0
    for script in chosen:
        if options.action == "write":
            print(write(script))
            continue
        start, used = time.perf_counter(), _processor_time()
        wrong = run(script, options.outputs)
        took, used = time.perf_counter() - start, _processor_time() - used
        told = f"{script.stem}: {took:.0f} s ({used:.0f} s of processors)"
        print(told, *wrong, sep="\n  ", flush=True)
        failed += bool(wrong)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
