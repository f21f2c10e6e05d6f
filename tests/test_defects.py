# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot and dead pixels of a mean pattern, and what never counts, are found, and nothing else is."""

import numpy as np
import pytest

from py4dstem_rrvae import Frames, synthetic
from py4dstem_rrvae.core.defects import defects
from py4dstem_rrvae.sampling import draw

N = 400
"""Patterns that are summed."""


def disc(level=50.0, blur=1.5):
    """A round pattern (40, 40) with a steep edge."""
    radius = np.hypot(*(np.indices((40, 40)) - 19.5))
    return 1.0 + level / (1 + np.exp((radius - 11) / (blur / 4)))


def counted(mean, seed=0):
    return np.random.default_rng(seed).poisson(N * mean).astype(float)


def found(mean, kept=None, seed=0, expected=None):
    """Where defects are found in a sum of N patterns with counting noise."""
    kept = np.ones(mean.shape, bool) if kept is None else kept
    bad = defects(counted(mean, seed), N * (mean if expected is None else expected), kept)
    return [tuple(place) for place in np.argwhere(bad).tolist()]


def test_hot_and_dead_pixels_are_found():
    mean = disc()
    mean[5, 7], mean[19, 20], mean[30, 0], mean[0, 39] = 200.0, 0.0, 40.0, 9.0
    assert found(mean, expected=disc()) == [(0, 39), (5, 7), (19, 20), (30, 0)]


@pytest.mark.parametrize("level", [0.02, 1.0, 50.0, 1e4])
def test_nothing_is_found_on_smooth_and_noisy_patterns(level):
    for seed in range(5):
        assert found(disc(level), seed=seed) == []
        assert found(level * np.ones((40, 40)), seed=seed) == []


def test_an_edge_a_pixel_wide_is_no_defect():
    assert found(disc(blur=0.4)) == []


def test_bright_spots_are_no_hot_pixels():
    row, col = np.indices((40, 40))
    spots = np.exp(-0.5 * (((row % 10 - 4.3) ** 2 + (col % 10 - 5.1) ** 2) / 0.9**2))
    assert found(1 + 200 * spots) == []


def test_masked_pixels_are_neither_looked_at_nor_compared_with():
    mean, kept = disc(), np.ones((40, 40), bool)
    kept[10:14, 10:14] = False
    mean[10:14, 10:14] = 0.0
    mean[12, 12] = 1e4
    mean[9, 11] = 600.0
    assert found(mean, kept, expected=disc()) == [(9, 11)]


def test_a_pattern_all_of_spots_has_no_defects():
    mean = np.ones((40, 40))
    mean[::5, ::5] = 100.0
    assert found(mean) == []


def test_lines_and_blocks_that_never_count_are_found():
    mean = disc()
    mean[7], mean[:, 33], mean[18:22, 15:19] = 0.0, 0.0, 0.0
    want = np.zeros((40, 40), bool)
    want[7], want[:, 33], want[18:22, 15:19] = True, True, True
    assert found(mean, expected=disc()) == [tuple(place) for place in np.argwhere(want).tolist()]


def test_what_is_dark_because_nothing_gets_there_is_no_defect():
    mean = disc()
    mean[30:36, 2:8], mean[2] = 0.0, 0.0
    assert found(mean, expected=0.2 * (mean > 0)) == []


def test_defects_are_masked_before_training():
    frames = synthetic.lobes(200, size=32, random_state=2).frames
    hot = frames.copy()
    hot[:, [9, 20], [12, 22]] = 3000
    hot[:, 25, 15] = 0
    plain, spoilt = (draw(Frames.of(f), 200, np.random.default_rng(0)) for f in (frames, hot))
    assert plain.frames.mask is None
    assert np.argwhere(~spoilt.frames.mask).tolist() == [[9, 12], [20, 22], [25, 15]]
    # And what they counted is nowhere: the bins are those of the others.
    ratio = spoilt.binned.sum(dim=(1, 2)) / plain.binned.sum(dim=(1, 2))
    assert (ratio - 1).abs().max() < 0.05
