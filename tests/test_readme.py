# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of the README, and of the page that has more of them, run as they stand."""

import py4DSTEM
import pytest
from documented import SIDE, blocks, given, model_file, quick, run  # noqa: F401

README = blocks("README.md")
OWN_DATA = blocks("docs/own_data.md")
BLOCKS = [*README, *OWN_DATA]


def test_there_are_blocks():
    assert len(README) == 1
    lines = [line for line in README[0].splitlines() if line]
    assert len(lines) == 5
    assert "datacube.rrvae.fit(latent_dim=2, random_state=0)" in README[0]
    assert [
        ("datacube.rrvae.fit(latent_dim=2, random_state=0)" in b, "hs.load" in b)
        for b in OWN_DATA[:2]
    ] == [
        (True, False),
        (False, True),
    ]
    assert len(OWN_DATA) == 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The NestedDirectoryStore")  # HyperSpy's own choice of store
@pytest.mark.parametrize("block", BLOCKS, ids=["readme", "py4dstem", "hyperspy", "arrays", "more"])
def test_lines_run(block, given, request):
    if block not in README:
        request.getfixturevalue("quick")
    if "import" not in block:
        block = f"import py4dstem_rrvae\n{block}"
    run(block, given, "README.md")
    if "other_datacube.rrvae.encode" in block:
        assert set(py4DSTEM.read("out.h5").tree("rrvae")._branch.keys()) >= {"z1", "angle"}
    if "codes" in given:
        assert given["codes"].z.shape == (SIDE, SIDE, 2)
