# SPDX-License-Identifier: GPL-3.0-or-later
"""A detector that does not see the pattern all round: no edge may tell how a pattern is turned."""

import numpy as np
import pytest

from benchmarks.scores import leak
from py4dstem_rrvae import RRVAE, Frames, synthetic

WHOLE = synthetic.Camera((40, 40))
# The beam stands a quarter of the side off the middle; the ring of lobes has a radius of 8 pixels.
ROWS, COLUMNS, CENTER = slice(14, 38), slice(8, 32), (5.5, 11.5)


def lobes(n, seed):
    truth = synthetic.lobes(n, size=32, counts=5000, random_state=seed, camera=WHOLE)
    return truth, truth.frames[:, ROWS, COLUMNS]


@pytest.fixture(scope="module")
def cropped():
    """Unseen patterns, and their codes by a model of others."""
    (_, seen), (truth, unseen) = lobes(1000, 0), lobes(600, 1)
    model = RRVAE(random_state=0, progress=False, device="cpu")
    return truth, model.fit(Frames(seen, center=CENTER)).encode(Frames(unseen, center=CENTER))


def test_how_much_is_cut_depends_on_the_turn():
    truth, frames = lobes(400, 0)
    share = frames.sum(axis=(1, 2)) / truth.frames.sum(axis=(1, 2))
    two = share[truth.fold == 2]
    assert two.min() < 0.75 and two.max() > 0.9


@pytest.mark.slow
def test_no_turn_shows_in_the_latents(cropped):
    truth, codes = cropped
    assert leak(codes.z, truth) < 0.01


@pytest.mark.slow
def test_folds_are_right(cropped):
    truth, codes = cropped
    assert np.mean(codes.fold == truth.fold) > 0.9
