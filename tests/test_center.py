# SPDX-License-Identifier: GPL-3.0-or-later
"""The centre of a mean pattern is found, also behind a beam stop; and where it cannot be."""

import numpy as np
import pytest
from scipy import ndimage

from benchmarks import centers
from py4dstem_rrvae import synthetic
from py4dstem_rrvae.detector import center as centers_of
from py4dstem_rrvae.scan.frames import Frames

CENTER = (20.35, 26.8)


def estimate_center(*given):
    """Without the mask that it was found with."""
    return centers_of.estimate_center(*given)[0]


def disc(shape=(44, 52), center=CENTER, radius=12.0):
    row, col = np.indices(shape)
    distance = np.hypot(row - center[0], col - center[1])
    return 40 / (1 + np.exp((distance - radius) / 0.8)) + 1.0


@pytest.mark.parametrize("center", [CENTER, (18.0, 30.0), (25.5, 20.25)])
@pytest.mark.parametrize("radius", [6.0, 12.0, 16.0])
def test_centre_of_a_disc(center, radius):
    found = estimate_center(disc(center=center, radius=radius), None)
    assert found == pytest.approx(center, abs=0.1)


def test_centre_despite_hot_and_dead_pixels():
    pattern = disc()
    rng = np.random.default_rng(0)
    hot, dead = rng.integers(0, 44, (2, 15)), rng.integers(0, 44, (2, 30))
    pattern[tuple(dead)] = 0
    pattern[tuple(hot)] = 1e5
    assert estimate_center(pattern, None) == pytest.approx(CENTER, abs=0.1)


def test_centre_despite_structure_within_the_disc():
    row, col = np.indices((44, 52))
    tilted = disc() * (1 + 0.015 * (row - CENTER[0]) - 0.01 * (col - CENTER[1]))
    found, mass = (
        np.hypot(*np.subtract(place, CENTER))
        for place in (estimate_center(tilted, None), ndimage.center_of_mass(tilted))
    )
    assert found < 0.8 * mass


def test_masked_pixels_do_not_move_the_centre():
    pattern, mask = disc(), np.ones((44, 52), dtype=bool)
    mask[:6] = False
    pattern[:6] = 1e4
    assert estimate_center(pattern, mask) == pytest.approx(CENTER, abs=0.1)


def test_centre_of_a_noisy_scan():
    patterns = np.random.default_rng(0).poisson(disc() / 10, (200, 44, 52))
    assert Frames(patterns).located(patterns).detector().center == pytest.approx(CENTER, abs=0.1)


def both_errors(scene, stop):
    """Errors in pixels of the estimate, and of the centre of mass."""
    return (centers.errors(scene, stop, way, range(5)) for way in (centers.estimated, centers.mass))


@pytest.mark.parametrize("scene", centers.SCENES)
def test_centre_behind_a_masked_beam_stop(scene):
    found, mass = both_errors(scene, "masked")
    assert found.max() < 0.5
    assert np.median(found) < 0.3 * np.median(mass)


@pytest.mark.slow
@pytest.mark.parametrize("stop", ["in the data", "blurred, in the data"])
@pytest.mark.parametrize("scene", centers.SCENES)
def test_centre_behind_a_beam_stop_without_a_mask(scene, stop):
    found, mass = both_errors(scene, stop)
    assert found.max() < 0.5
    assert np.median(found) < 0.5 * np.median(mass)


@pytest.mark.parametrize("unit", [1.0, 0.03])
@pytest.mark.parametrize("matrix", [np.diag([1.0, 0.8]), np.array([[0.1, -1.0], [0.8, 0.2]])])
def test_centre_of_a_disc_that_pixels_distort(matrix, unit):
    camera = synthetic.Camera((64, 80), np.array([30.2, 41.7]), matrix)
    pattern = centers.mean_pattern("disc", camera, np.random.default_rng(0))
    found = estimate_center(pattern, None, unit * matrix)
    assert found == pytest.approx((30.2, 41.7), abs=0.05)


def test_a_pattern_without_circles_gives_the_centroid_of_its_bright_part():
    stripes = np.zeros((40, 40))
    stripes[10:14] = 1.0
    row, col = estimate_center(stripes)
    assert (row, col) == pytest.approx((11.5, 19.5), abs=0.3)


def test_a_pattern_without_anything_gives_the_middle():
    assert estimate_center(np.full((20, 31), 3.0)) == (9.5, 15.0)
    assert estimate_center(np.zeros((20, 31))) == (9.5, 15.0)


def test_the_unit_of_intensity_does_not_matter():
    want = estimate_center(disc())
    assert estimate_center(disc() * 1e-9) == pytest.approx(want, abs=1e-6)


def test_a_disc_in_perfect_darkness_keeps_its_edge():
    pattern = np.where(disc() > 20, disc(), 0.0)
    assert estimate_center(pattern) == pytest.approx(CENTER, abs=0.1)
