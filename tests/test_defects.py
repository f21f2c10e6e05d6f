# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot and dead pixels of a mean pattern are found, and nothing else is."""

import numpy as np
import pytest
import torch

from py4dstem_rrvae import Frames, synthetic
from py4dstem_rrvae.core.defects import excess
from py4dstem_rrvae.sampling import draw

N = 400
"""Patterns that a mean is of."""


def disc(level=50.0, blur=1.5):
    """A pattern (40, 40) with a steep edge."""
    radius = np.hypot(*(np.indices((40, 40)) - 19.5))
    return 1.0 + level / (1 + np.exp((radius - 11) / (blur / 4)))


def found(mean, kept=None):
    """Where `excess` is not 0 in a mean of N patterns with counting noise, and its values."""
    kept = np.ones(mean.shape, bool) if kept is None else kept
    values = excess(mean, np.sqrt(np.maximum(mean, 1 / N) / N), kept)
    return [tuple(map(int, place)) for place in np.argwhere(values)], values


def counted(mean, seed=0):
    return np.random.default_rng(seed).poisson(N * mean) / N


def test_hot_and_dead_pixels_are_found_with_what_they_have_too_much_or_too_little():
    mean = disc()
    mean[5, 7], mean[19, 20], mean[30, 0] = 200.0, 0.0, 40.0
    places, values = found(counted(mean))
    assert places == [(5, 7), (19, 20), (30, 0)]
    assert values[5, 7] == pytest.approx(199, abs=2)
    assert values[19, 20] == pytest.approx(-51, abs=2)
    assert values[30, 0] == pytest.approx(39, abs=2)


@pytest.mark.parametrize("level", [0.02, 1.0, 50.0, 1e4])
def test_nothing_is_found_on_smooth_and_noisy_patterns(level):
    for seed in range(5):
        assert found(counted(disc(level), seed))[0] == []
        assert found(counted(level * np.ones((40, 40)), seed))[0] == []


def test_an_edge_a_pixel_wide_is_no_defect():
    assert found(disc(blur=0.4))[0] == []


def test_bright_spots_are_no_hot_pixels():
    row, col = np.indices((40, 40))
    spots = np.exp(-0.5 * (((row % 10 - 4.3) ** 2 + (col % 10 - 5.1) ** 2) / 0.9**2))
    assert found(counted(1 + 200 * spots))[0] == []


def test_masked_pixels_are_neither_looked_at_nor_compared_with():
    mean, kept = disc(), np.ones((40, 40), bool)
    kept[10:14, 10:14] = False
    mean[10:14, 10:14] = 0.0
    mean[12, 12] = 1e4
    mean[9, 11] = 600.0
    places, values = found(mean, kept)
    assert places == [(9, 11)]
    assert np.isfinite(values).all()


def test_a_pattern_all_of_spots_has_no_defects():
    mean = np.ones((40, 40))
    mean[::5, ::5] = 100.0
    assert found(mean)[0] == []


def test_hot_pixels_are_in_the_round_pattern_and_not_in_its_rings():
    frames = synthetic.lobes(200, size=32, random_state=2).frames
    hot = frames.copy()
    hot[:, [9, 20], [12, 22]] = 3000
    plain, spoilt = (draw(Frames.of(f), 200, np.random.default_rng(0)) for f in (frames, hot))
    gained = (spoilt.round - plain.round).numpy()
    bins = spoilt.binner.transform
    own = np.zeros((1, 32, 32))
    own[0, [9, 20], [12, 22]] = 1.0
    touched = bins(own).numpy()[0] > 0
    assert gained[touched].max() > 1000
    # The centre is found anew, to a hundredth of a pixel.
    assert np.abs(gained[~touched]).max() < 0.1 * plain.round.max()
    assert torch.isfinite(spoilt.round).all()
