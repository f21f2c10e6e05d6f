# SPDX-License-Identifier: GPL-3.0-or-later
"""Angle maps without jumps, against a plane wave of a known angle."""

import sys

import numpy as np
import pytest

from py4dstem_rrvae.maps.angle import smooth_angle, unwrap_angle

SHAPE = (40, 48)
ROW, COL = np.indices(SHAPE)
TRUTH = 0.02 * ROW + 0.05 * COL
SIX = np.full(SHAPE, 6)
HOLES = np.random.default_rng(1).random(SHAPE) < 0.1


def sampled(fold, noise=0.0, seed=0):
    """The truth modulo the period, with noise."""
    noisy = TRUTH + noise * np.random.default_rng(seed).standard_normal(SHAPE)
    return np.mod(noisy, 2 * np.pi / np.maximum(fold, 1))


def offset(found, period):
    """Deviation from the truth, and from a whole number of periods in its median."""
    difference = found - TRUTH
    middle = np.nanmedian(difference)
    assert middle / period == pytest.approx(round(middle / period), abs=0.02)
    return np.abs(difference - middle)


def folded(difference, period):
    return np.abs(np.mod(difference + period / 2, period) - period / 2)


def test_sampling_makes_jumps_and_unwrapping_removes_them():
    wrapped = sampled(SIX)
    assert np.abs(np.diff(wrapped, axis=1)).max() > 0.9
    found = unwrap_angle(wrapped, SIX)
    np.testing.assert_allclose(np.diff(found, axis=1), 0.05, atol=1e-9)
    np.testing.assert_allclose(np.diff(found, axis=0), 0.02, atol=1e-9)
    assert offset(found, np.pi / 3).max() < 1e-9


def test_unwrapping_with_noise_and_holes():
    wrapped = np.where(HOLES, np.nan, sampled(SIX, noise=0.05))
    found = unwrap_angle(wrapped, 6)
    np.testing.assert_array_equal(np.isnan(found), HOLES)
    assert np.nanmax(offset(found, np.pi / 3)) < 0.3
    # Only whole periods were added.
    assert np.nanmax(folded(found - wrapped, np.pi / 3)) < 1e-6


def test_unwrapping_repeats():
    # Angles without any order, where nothing but the way through the map decides.
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, (6, 8))
    first = unwrap_angle(angle, 1)
    for k in range(20):
        np.zeros(1000 + k) + rng.random()  # other numbers in the memory that it is given
        np.testing.assert_array_equal(unwrap_angle(angle, 1), first)


def test_unwrapping_leaves_what_is_masked():
    mask = COL >= 4
    found = unwrap_angle(sampled(SIX), SIX, mask)
    np.testing.assert_array_equal(np.isfinite(found), mask)
    assert np.nanmax(offset(found, np.pi / 3)) < 1e-9


def test_regions_of_different_fold_are_unwrapped_each_for_itself():
    fold = np.where(COL < 20, 6, np.where(COL < 24, 0, 4))
    wrapped = np.where(fold > 0, sampled(fold), np.nan)
    found = unwrap_angle(wrapped, fold)
    assert np.isnan(found[fold == 0]).all()
    for n in (6, 4):
        own = np.where(fold == n, found, np.nan)
        assert np.nanmax(offset(own, 2 * np.pi / n)) < 1e-9
        assert 0 <= np.nanmedian(own) < 2 * np.pi / n


def test_smoothing_reduces_noise_across_the_jumps():
    wrapped = np.where(HOLES, np.nan, sampled(SIX, noise=0.1))
    found = smooth_angle(wrapped, SIX, 1.5)
    np.testing.assert_array_equal(np.isnan(found), HOLES)
    assert np.nanmin(found) >= 0 and np.nanmax(found) < np.pi / 3
    inside = (slice(5, -5), slice(5, -5))
    before, after = (folded((a - TRUTH)[inside], np.pi / 3) for a in (wrapped, found))
    # A Gaussian of 1.5 averages over 4 pi 1.5^2 = 28 positions.
    assert np.sqrt(np.nanmean(after**2)) < 0.3 * np.sqrt(np.nanmean(before**2))


def test_smoothing_does_not_mix_folds():
    fold = np.where(COL < 24, 6, 2)
    angle = np.where(fold == 6, 0.2, 2.5)
    np.testing.assert_allclose(smooth_angle(angle, fold, 3.0), angle, atol=1e-9)


def test_uncertain_angles_count_less():
    angle, std = np.full(SHAPE, 0.3), np.full(SHAPE, 0.01)
    angle[::2, ::2], std[::2, ::2] = 0.6, 1.0
    found = smooth_angle(angle, 6, 2.0, std)
    assert np.abs(found - 0.3).max() < 0.01
    assert np.abs(smooth_angle(angle, 6, 2.0) - 0.3).max() > 0.03


def test_shapes_that_do_not_agree_are_refused():
    angle = np.zeros(SHAPE)
    with pytest.raises(ValueError, match=r"fold must have shape \(40, 48\); got \(3,\)"):
        smooth_angle(angle, [1, 2, 3], 1.0)
    with pytest.raises(ValueError, match=r"mask must have shape \(40, 48\); got \(2, 2\)"):
        unwrap_angle(angle, 6, np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"angle_std must have shape \(40, 48\); got \(4,\)"):
        smooth_angle(angle, 6, 1.0, np.ones(4))
    with pytest.raises(ValueError, match=r"shape \(rows, cols\); got \(5,\)"):
        unwrap_angle(np.zeros(5), 6)


def test_widths_must_be_positive():
    with pytest.raises(ValueError, match="sigma must be positive; got 0"):
        smooth_angle(np.zeros(SHAPE), 6, 0)
    with pytest.raises(ValueError, match=r"angle_std must be positive; got 0\.0"):
        smooth_angle(np.zeros(SHAPE), 6, 1.0, np.zeros(SHAPE))


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    with pytest.raises(ImportError, match="needs scikit-image: pip install scikit-image"):
        unwrap_angle(np.zeros(SHAPE), 6)
