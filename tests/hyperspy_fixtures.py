# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the HyperSpy tests; the host takes seconds, which other tests need not wait."""

import hyperspy_scans as scans
import pytest


@pytest.fixture(scope="module")
def data():
    data = scans.counts_of(scans.turns())
    data.setflags(write=False)
    return data


@pytest.fixture
def signal(data):
    return scans.scan(data)


@pytest.fixture
def learned():
    """Maps of the scan, and a model that has learned its one class, to be left as it is."""
    maps = scans.learned()
    return type(maps)({name: map_.deepcopy() for name, map_ in maps.items()}, maps.model)
