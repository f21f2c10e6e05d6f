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
    rules = re.findall(r"^([\w ]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    lines = [
        line
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for step in job["steps"]
        for line in step.get("run", "").splitlines()
    ]
    assert lines
    for line in lines:
        make, *words = line.split()
        assert make == "make", "whatever a workflow runs is a target, so that it runs here too"
        assert {word for word in words if "=" not in word} <= targets


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_read_alone_and_take_no_floating_actions(path):
    read = yaml.safe_load(path.read_text())
    assert read["permissions"] == {"contents": "read"}
    for name, job in read["jobs"].items():
        more = {"id-token": "write"} if (path.stem, name) == ("release", "publish") else None
        assert job.get("permissions") == more
        assert job["timeout-minutes"]
        for used in (step["uses"] for step in job["steps"] if "uses" in step):
            assert re.fullmatch(r"[\w./-]+@(v\d+|release/v\d+|[0-9a-f]{40})", used), used


def test_a_tag_is_checked_before_it_is_published():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    assert 'make tag dist TAG="$GITHUB_REF_NAME"' in [s.get("run") for s in jobs["build"]["steps"]]
    assert jobs["publish"]["needs"] == "build"
