# SPDX-License-Identifier: GPL-3.0-or-later
"""The notebooks: made from their scripts, without outputs, complete, and run."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parent.parent
TUTORIALS = ROOT / "tutorials"
SCRIPTS = sorted(TUTORIALS.glob("[0-9]_*.py"))
each = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)


def notebook(script):
    return nbformat.read(script.with_suffix(".ipynb"), as_version=4)


def test_there_are_scripts_and_no_notebook_without_one():
    assert SCRIPTS
    assert sorted(TUTORIALS.glob("*.ipynb")) == [script.with_suffix(".ipynb") for script in SCRIPTS]


@each
def test_notebook_is_in_sync_with_its_script(script):
    made, kept = jupytext.read(script), notebook(script)
    assert [(c.cell_type, c.source) for c in kept.cells] == [
        (c.cell_type, c.source) for c in made.cells
    ]


@each
def test_notebook_is_kept_without_outputs(script):
    code = [cell for cell in notebook(script).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@each
def test_notebook_has_title_questions_and_a_check(script):
    cells = notebook(script).cells
    number = script.stem.split("_")[0]
    assert cells[0].source.startswith(f"# {number}. ")
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert len(re.findall(r"<details><summary>Answer</summary>\n\n", text)) == 3
    assert text.count("</details>") == 3
    last = [cell for cell in cells if cell.cell_type == "code"][-1]
    checks = [node for node in ast.walk(ast.parse(last.source)) if isinstance(node, ast.Assert)]
    assert len(checks) >= 4
    assert not any(isinstance(check.test, ast.Constant) for check in checks)


@each
def test_notebook_is_in_the_table_of_the_readme(script):
    assert f"]({script.stem}.ipynb)" in (TUTORIALS / "README.md").read_text(encoding="utf-8")


def first_cell(script):
    code = next(cell.source for cell in notebook(script).cells if cell.cell_type == "code")
    return code.replace("%matplotlib inline", "")


FIRST_CELLS = """
import json, sys, traceback
sys.modules[sys.argv[1]] = None  # as Python itself marks a module that cannot be imported
for cell in json.loads(sys.argv[2]):
    try:
        exec(cell, {})
        print("ran")
    except Exception:
        print(traceback.format_exc().splitlines()[-1])
"""


@pytest.mark.parametrize("absent", ["py4dstem_rrvae", "matplotlib"])
def test_first_cells_say_in_one_sentence_what_to_install(absent):
    done = python("-c", FIRST_CELLS, absent, json.dumps([first_cell(one) for one in SCRIPTS]))
    said = done.stdout.splitlines()
    assert len(said) == len(SCRIPTS), done.stderr
    for last in said:
        assert re.fullmatch(
            rf'ModuleNotFoundError: this tutorial needs .*{absent}.*: run  pip install "\.\[.*'
            r'tutorials\]"  in the folder of the package, then start again',
            last,
        )


@pytest.mark.parametrize("place", [None, "a folder without them"])
def test_cells_on_measured_scans_say_in_one_sentence_that_they_are_skipped(place, monkeypatch):
    monkeypatch.delenv("PY4DSTEM_RRVAE_MEASURED", raising=False)
    if place:
        monkeypatch.setenv("PY4DSTEM_RRVAE_MEASURED", place)
    script = TUTORIALS / "8_other_diffraction.py"
    code = [cell.source for cell in notebook(script).cells if cell.cell_type == "code"]
    first = next(i for i, source in enumerate(code) if "PY4DSTEM_RRVAE_MEASURED" in source)
    needed = "import os\nfrom pathlib import Path\nimport numpy as np\n"
    # None of the cells after it may do anything, up to the check.
    done = python("-c", needed + "\n".join(code[first:-1]))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"These cells are skipped: set PY4DSTEM_RRVAE_MEASURED [^\n]*\.\n", done.stdout
    )


def python(*words):
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=TUTORIALS,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
def test_run_fails_where_a_cell_raises_or_warns(tmp_path):
    for name in ("notebooks.py", "panels.py"):
        (tmp_path / name).write_text((TUTORIALS / name).read_text())
    (tmp_path / "1_fine.py").write_text("# %%\nprint('fine')\n")
    (tmp_path / "2_raises.py").write_text("# %%\nassert 1 + 1 == 3\n")
    (tmp_path / "3_warns.py").write_text("# %%\nimport warnings\nwarnings.warn('look here')\n")
    done = python(str(tmp_path / "notebooks.py"), "run", "1")
    assert done.returncode == 0
    done = python(str(tmp_path / "notebooks.py"), "run", "2", "3")
    assert done.returncode == 1
    assert "AssertionError" in done.stdout
    assert "look here" in done.stdout
    assert "fine" not in done.stdout


@pytest.mark.slow
@each
def test_notebook_runs_without_error_or_warning(script, tmp_path):
    done = python("notebooks.py", "run", script.stem, "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert len(list((tmp_path / script.stem).glob("*.png"))) >= 3
