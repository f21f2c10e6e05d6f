# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot and dead pixels of a mean pattern are found, and nothing else is."""

import numpy as np
import pytest

from py4dstem_rrvae import Frames, synthetic
from py4dstem_rrvae.detector.defects import (
    defects,
    lifeless,
    standing_out,
    stuck,
    without_counts,
)
from py4dstem_rrvae.scan.sampling import draw

N = 400
"""Patterns that a mean is of."""


def disc(level=50.0, blur=1.5):
    """A pattern (40, 40) with a steep edge."""
    radius = np.hypot(*(np.indices((40, 40)) - 19.5))
    return 1.0 + level / (1 + np.exp((radius - 11) / (blur / 4)))


def found(mean, kept=None, ring=None):
    """Where `defects` finds any in a mean of N patterns whose rings hold `ring` electrons."""
    kept = np.ones(mean.shape, bool) if kept is None else kept
    expected = np.broadcast_to(mean if ring is None else ring, mean.shape)
    return [tuple(map(int, at)) for at in np.argwhere(defects(N * mean, N * expected, kept))]


def counted(mean, seed=0):
    return np.random.default_rng(seed).poisson(N * mean) / N


def test_hot_and_dead_pixels_are_found():
    mean = disc()
    mean[5, 7], mean[19, 20], mean[30, 0], mean[0, 39] = 200.0, 0.0, 40.0, 9.0
    assert found(counted(mean)) == [(0, 39), (5, 7), (19, 20), (30, 0)]


@pytest.mark.parametrize("dead", [np.s_[14], np.s_[:, 22], np.s_[:20, 18:22]])
def test_what_never_counts_though_its_rings_do_is_found(dead):
    mean = disc()
    mean[dead] = 0.0
    silent = np.zeros(mean.shape, bool)
    silent[dead] = True
    assert found(counted(mean), ring=disc()) == [tuple(map(int, at)) for at in np.argwhere(silent)]


def test_dark_between_spots_is_no_defect_where_rings_hold_little():
    mean = np.zeros((40, 40))
    mean[::8, ::8] = 0.1
    assert found(mean, ring=0.1 / 64) == []


@pytest.mark.parametrize("level", [0.02, 1.0, 50.0, 1e4])
def test_nothing_is_found_on_smooth_and_noisy_patterns(level):
    for seed in range(5):
        assert found(counted(disc(level), seed)) == []
        assert found(counted(level * np.ones((40, 40)), seed)) == []


def test_an_edge_a_pixel_wide_is_no_defect():
    assert found(disc(blur=0.4)) == []


def test_bright_spots_are_no_hot_pixels():
    row, col = np.indices((40, 40))
    spots = np.exp(-0.5 * (((row % 10 - 4.3) ** 2 + (col % 10 - 5.1) ** 2) / 0.9**2))
    assert found(counted(1 + 200 * spots)) == []


def test_masked_pixels_are_neither_looked_at_nor_compared_with():
    mean, kept = disc(), np.ones((40, 40), bool)
    kept[10:14, 10:14] = False
    mean[10:14, 10:14] = 0.0
    mean[12, 12] = 1e4
    mean[9, 11] = 600.0
    assert found(mean, kept) == [(9, 11)]


def test_a_pattern_all_of_spots_has_no_defects():
    mean = np.ones((40, 40))
    mean[::4, ::4] = 100.0
    assert found(mean) == []


def test_defects_are_added_to_the_mask():
    frames = synthetic.lobes(200, size=32, random_state=2).frames
    spoilt = frames.copy()
    spoilt[:, [9, 20], [12, 22]] = 3000
    spoilt[:, 5] = 0
    mask = np.ones((32, 32), bool)
    mask[0, 0] = False
    drawn = draw(Frames.of(spoilt, mask=mask, center=(15.5, 15.5)), 200, np.random.default_rng(0))
    mask[[9, 20], [12, 22]] = False
    # Beyond the pattern the dead line is as dark as the rest.
    mask[5, 11:21] = False
    seen = drawn.frames.mask
    np.testing.assert_array_equal(seen[[9, 20], [12, 22]], False)
    assert not seen[5, 12:20].any()
    assert (seen == mask)[np.hypot(*(np.indices((32, 32)) - 15.5)) < 15].mean() > 0.98
    whole = draw(Frames.of(frames, center=(15.5, 15.5)), 200, np.random.default_rng(0))
    assert whole.frames.mask is None


@pytest.mark.parametrize("value", [-9999.0, 7.0, 255.0, 1e10])
def test_pixels_that_never_change_are_found(value):
    rng = np.random.default_rng(0)
    # Counts on a pedestal; the outermost rows are dark in every frame, and no defects.
    frames = rng.poisson(5.0, (50, 16, 16)) + 1.0
    frames[:, 0] = frames[:, -1] = 1.0
    gap = np.zeros((16, 16), bool)
    gap[7:9] = gap[2, 3] = True
    kept = np.ones((16, 16), bool)
    assert not stuck(frames, kept).any()
    frames[:, gap] = value
    np.testing.assert_array_equal(stuck(frames, kept), gap)
    assert not stuck(frames[:15], kept).any()
    np.testing.assert_array_equal(without_counts(frames, kept), gap)


def test_dark_pixels_of_many_levels_are_no_defects():
    rng = np.random.default_rng(0)
    columns = np.arange(16) % 3
    frames = np.where(np.arange(16)[:, None] < 8, 0, rng.poisson(5.0, (50, 16, 16))) + columns
    assert not without_counts(frames, np.ones((16, 16), bool)).any()


def test_hot_pixels_side_by_side_vary_less_than_counts():
    rng = np.random.default_rng(0)
    expected = np.full((24, 24), 5.0)
    expected[10:12, 10:12] = expected[:, 20] = 500.0
    kept, bright = np.ones((24, 24), bool), expected > 5
    np.testing.assert_array_equal(standing_out(expected, kept), bright)
    counts = rng.poisson(expected, (100, 24, 24))
    assert not lifeless(counts, 0.0, 1.0, bright, kept).any()
    # Patterns that differ are no measure for spots that do not.
    lively = rng.poisson(np.where(bright, 5e3, 2e3 * rng.random((100, 1, 1))))
    assert not lifeless(lively, 0.0, 1.0, bright, kept).any()
    frames = np.where(bright, 480 + rng.poisson(20.0, counts.shape), counts)
    np.testing.assert_array_equal(lifeless(frames, 0.0, 1.0, bright, kept), bright)
    np.testing.assert_array_equal(without_counts(frames, kept), bright)
