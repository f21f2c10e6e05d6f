# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of docs/explore.md run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parent.parent / "docs" / "explore.md"


@pytest.mark.slow
def test_lines_run_and_the_box_holds_the_silicon_atom():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    selection = names["explorer"].selection
    assert 5 < len(selection) < 60
    # One place: half a bond's length, in positions, about its middle.
    assert np.abs(selection - selection.mean(0)).max() < 4
    assert names["silicon"].shape == (48, 48)
