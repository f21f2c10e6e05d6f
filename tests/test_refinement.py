# SPDX-License-Identifier: GPL-3.0-or-later
"""A centre is refined where patterns kept aside bear it out, and left alone where they do not."""

import numpy as np
import pytest

from benchmarks import centers
from py4dstem_rrvae import RRVAE, Frames, synthetic
from py4dstem_rrvae.detector.center_refinement import (
    half_turn_correlation,
    refine_center,
    without_slant,
)

SEEDS = range(4)
SLANTED = "disc, brighter on one side"


@pytest.mark.parametrize("stop", ["none", "masked"])
def test_a_slant_of_the_disc_no_longer_pulls(stop):
    before = centers.errors(SLANTED, stop, centers.estimated, SEEDS)
    after = centers.errors(SLANTED, stop, centers.refined, SEEDS)
    assert before.min() > 0.2
    assert after.max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("stop", ["none", "masked", "in the data"])
@pytest.mark.parametrize("scene", centers.SCENES)
def test_a_wrong_centre_is_put_right(scene, stop):
    assert centers.errors(scene, stop, centers.refined, SEEDS, start=1.0).max() < 0.5


@pytest.mark.parametrize("stop", ["none", "masked", "in the data"])
@pytest.mark.parametrize("scene", centers.SCENES)
def test_a_right_centre_stays(scene, stop):
    assert centers.errors(scene, stop, centers.refined, SEEDS, start=0.0).max() < 0.01


def test_a_right_estimate_is_not_made_worse():
    for scene in ("disc", "Bragg discs", "rings"):
        before = centers.errors(scene, "masked", centers.estimated, SEEDS)
        after = centers.errors(scene, "masked", centers.refined, SEEDS)
        assert (after < before + 0.05).all()


def test_slant_is_that_of_the_disc():
    row, col = np.indices((40, 44)) - np.array([19.3, 21.8])[:, None, None]
    disc = 1 / (1 + np.exp((np.hypot(row, col) - 11) / 0.5))
    slanted = disc * (1 + 0.02 * row - 0.015 * col)
    kept = np.ones(disc.shape, dtype=bool)
    even = without_slant(slanted, kept, (19.3, 21.8))
    np.testing.assert_allclose(even[disc > 0.01], disc[disc > 0.01], rtol=2e-3)
    beside = without_slant(slanted, kept, (2.0, 2.0))
    assert beside is slanted


def test_half_turn_correlation_is_one_at_a_centre_of_symmetry_alone():
    rng = np.random.default_rng(0)
    half = rng.random((31, 33))
    known = np.ones(half.shape, dtype=bool)
    symmetric = half + half[::-1, ::-1]
    assert half_turn_correlation(symmetric, known, (15, 16)) == pytest.approx(1.0)
    assert abs(half_turn_correlation(symmetric, known, (14, 16))) < 0.1
    assert half_turn_correlation(symmetric, known, (1, 1)) == -1


def test_patterns_without_anything_leave_the_start():
    assert refine_center(np.ones((4, 20, 20)), (8.0, 9.5)) == (8.0, 9.5)


def off_centre(**options):
    """Lobed rings that a calibration puts a pixel and a half beside the beam."""
    truth = synthetic.lobes(300, size=32, numbers=(1, 3), **options)
    return truth.frames, Frames(truth.frames, center=(16.8, 14.7))


@pytest.mark.slow
def test_estimator_refines_a_calibrated_centre_and_encodes_with_it():
    patterns, frames = off_centre()
    options = {"max_epochs": 2, "random_state": 0, "progress": False, "device": "cpu"}
    refined = RRVAE(center="refine", **options).fit(frames)
    assert refined.fitted_.detector.center == pytest.approx((15.5, 15.5), abs=0.15)
    plain = RRVAE(**options).fit(frames)
    assert plain.fitted_.detector.center == (16.8, 14.7)
    by_hand = RRVAE(center=refined.fitted_.detector.center, **options).fit(frames)
    want, got = (e.encode(frames).z for e in (by_hand, refined))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(got, by_hand.encode(patterns).z)


def test_another_scan_is_refined_too():
    _, frames = off_centre()
    options = {"max_epochs": 2, "random_state": 0, "progress": False, "device": "cpu"}
    estimator = RRVAE(center="refine", **options).fit(frames)
    right = Frames(frames.patterns, center=(15.5, 15.5))
    z = [estimator.encode(f, background="refit").z for f in (frames, right)]
    np.testing.assert_allclose(z[0], z[1], atol=0.2 * z[1].std())


def test_what_cannot_be_refined_is_refused():
    with pytest.raises(ValueError, match="\"each\" or None; got 'best'"):
        RRVAE(center="best").fit(np.ones((20, 16, 16)))
    origins = np.full((20, 2), 7.5)
    with pytest.raises(ValueError, match="one centre can be refined; these frames have 20"):
        RRVAE(center="refine").fit(Frames(np.ones((20, 16, 16)), center=origins))
