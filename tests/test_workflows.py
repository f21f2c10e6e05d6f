# SPDX-License-Identifier: GPL-3.0-or-later
"""The workflows can be read, and call what the Makefile has."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# Distributions of the source leave the workflows out.
pytestmark = pytest.mark.skipif(not (ROOT / ".github").is_dir(), reason="no clone")


def test_audit_is_weekly():
    read = yaml.safe_load((ROOT / ".github" / "workflows" / "audit.yml").read_text())
    (when,) = read[True]["schedule"]  # YAML takes the word "on" for true
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", when["cron"])
    assert read["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_targets_that_there_are(path):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    read = yaml.safe_load(path.read_text())
    called = [
        words.split()[1]
        for job in read["jobs"].values()
        for step in job["steps"]
        for words in step.get("run", "").splitlines()
        if words.startswith("make ")
    ]
    assert called and set(called) <= targets
