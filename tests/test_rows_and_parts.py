# SPDX-License-Identifier: GPL-3.0-or-later
"""Patterns as rows of pixels, and in parts, as HyperSpy's `decomposition` gives them."""

import numpy as np
import pytest
from estimators import QUICK

from py4dstem_rrvae import RRVAE, Codes
from py4dstem_rrvae.scan.sampling import Reservoir

# Rows of pixels


def test_rows_of_pixels_give_the_codes_of_patterns(few, quick):
    flat = few.reshape(len(few), -1)
    estimator = RRVAE(**QUICK).fit(flat)
    np.testing.assert_array_equal(estimator.transform(flat), quick.transform(few))
    np.testing.assert_array_equal(estimator.transform(few), quick.transform(few))


def test_rows_of_pixels_of_an_oblong_detector(few):
    oblong = few[:, :, 2:]
    estimator = RRVAE(signal_shape=(16, 14), **QUICK).fit(oblong.reshape(len(few), -1))
    np.testing.assert_array_equal(
        estimator.transform(oblong), RRVAE(**QUICK).fit(oblong).transform(oblong)
    )


def test_rows_of_kept_pixels_give_the_codes_of_masked_patterns(few):
    mask = np.ones((16, 16), dtype=bool)
    mask[3:6, 9] = False
    estimator = RRVAE(mask=mask, **QUICK).fit(few[:, mask])
    want = RRVAE(mask=mask, **QUICK).fit(few)
    np.testing.assert_array_equal(estimator.transform(few[:, mask]), want.transform(few))
    assert estimator.components_.shape == (2, mask.sum())
    np.testing.assert_array_equal(
        estimator.components_, want.components_.reshape(2, 16, 16)[:, mask]
    )


def test_components_are_decoded_patterns(quick):
    assert quick.components_.shape == (2, 256)
    turn = np.full(2, quick.fitted_.angle_offset)
    one = np.ones(2)
    want = quick.reconstruct(Codes(np.eye(2), one, turn, one, one.astype(int), one))
    np.testing.assert_allclose(quick.components_, want.reshape(2, -1))


def test_no_mean_that_hyperspy_would_add_to_the_user_s_data(quick):
    assert not hasattr(quick, "mean_")


@pytest.mark.parametrize(
    ("shape", "options", "match"),
    [
        ((20, 250), {}, r"signal_shape=\(H, W\) given to RRVAE .* got \(20, 250\) for 15 x 15"),
        ((20, 256), {"signal_shape": (16, 15)}, r"got \(20, 256\) for 16 x 15 pixels"),
    ],
)
def test_rows_of_another_number_of_pixels_are_refused(shape, options, match):
    with pytest.raises(ValueError, match=match):
        RRVAE(**QUICK | options).fit(np.ones(shape))


# Patterns that come in parts


def test_parts_within_the_sample_train_as_the_whole(few):
    estimator = RRVAE(**QUICK)
    for part in np.array_split(few, 7):
        assert estimator.partial_fit(part) is estimator
    np.testing.assert_array_equal(estimator.transform(few), RRVAE(**QUICK).fit(few).transform(few))


def test_parts_beyond_the_sample_are_drawn_from_alike():
    seen = np.zeros(60)
    for seed in range(400):
        reservoir = Reservoir(12, np.random.default_rng(seed))
        for part in np.array_split(np.arange(60.0)[:, None, None], 7):
            reservoir.add(part)
        assert len(np.unique(reservoir.patterns)) == 12
        seen[reservoir.patterns.ravel().astype(int)] += 1
    # 80 draws of each expected, give or take 8.
    assert abs(seen - 80).max() < 4 * 8


def test_parts_are_copied_and_of_one_shape(few):
    reservoir = Reservoir(5, np.random.default_rng(0))
    part = few[:3].copy()
    reservoir.add(part)
    part[:] = 0
    np.testing.assert_array_equal(reservoir.patterns, few[:3])
    with pytest.raises(ValueError, match=r"\(16, 16\) pixels as those before; got \(8, 8\)"):
        reservoir.add(np.ones((2, 8, 8)))


@pytest.mark.slow
def test_parts_after_a_use_begin_another_sample(few):
    estimator = RRVAE(**QUICK).partial_fit(few[:70])
    first = estimator.transform(few)
    with pytest.warns(UserWarning, match="this estimator is trained: the patterns given now"):
        estimator.partial_fit(few[10:])
    second = estimator.transform(few)
    assert not np.array_equal(second, first)
    np.testing.assert_array_equal(second, RRVAE(**QUICK).fit(few[10:]).transform(few))
