# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a tag, the package's version, and everything else that names it agree.

``python tools/tag.py v0.1.0`` ends with 1, and says what differs. Nothing but Python is needed.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Files and the line in which each names the version.
NAMED = {
    "py4dstem_rrvae/_version.py": r'^__version__ = "(.+)"$',
    "CITATION.cff": r"^version: (.+)$",
    "recipe/recipe.yaml": r'^  version: "(.+)"$',
}


def differences(root, tag):
    """Sentences on what is not as the tag has it."""
    version = tag.removeprefix("v")
    if tag == version or not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        yield f"a tag is like v1.2.3 or v1.2.3rc1, got {tag!r}"
        return
    for name, line in NAMED.items():
        found = re.findall(line, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        if found != [version]:
            yield f"{name} has {', '.join(found) or 'no version'}, the tag {version}"
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## {re.escape(version)}\b", changes, re.MULTILINE):
        yield f"CHANGELOG.md has no heading '## {version}'"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/tag.py v1.2.3")
    sys.exit("\n".join(differences(ROOT, sys.argv[1])) or None)
