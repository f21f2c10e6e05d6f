# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames that were never recorded, are saturated or struck: found, left out of training, told."""

import dask.array as da
import numpy as np
import pytest

from py4dstem_rrvae import RRVAE, Frames, describe, synthetic
from py4dstem_rrvae.detector.outliers import without_pattern

OPTIONS = {"random_state": 0, "progress": False, "device": "cpu", "center": (15.5, 15.5)}
SHORT = OPTIONS | {"max_epochs": 2}


@pytest.fixture(scope="module")
def truth():
    return synthetic.lobes(400, size=32, counts=3000)


@pytest.fixture(scope="module")
def untouched(truth):
    return RRVAE(**OPTIONS).fit(truth.frames).encode(truth.frames)


def blank(frames, rng):
    frames[rng.choice(400, 130, False)] = 0


def one_saturated(frames, _):
    frames[7] = 65535


def one_flagged_pixel(frames, _):
    frames[7, 3, 4] = 65535


def flags_in_a_fifth(frames, _):
    frames[:80, 2:5, 2:5] = 65535


def struck(frames, _):
    frames[7, 3, 4] = 4000


SPOILS = (blank, one_saturated, one_flagged_pixel, flags_in_a_fifth, struck)


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda f: f.__name__)
def test_frames_that_hold_no_pattern_are_found(spoil, truth):
    frames = truth.frames.copy()
    spoil(frames, np.random.default_rng(0))
    spoiled = (frames != truth.frames).any(axis=(1, 2))
    np.testing.assert_array_equal(without_pattern(frames), spoiled)
    assert not without_pattern(truth.frames).any()


@pytest.mark.slow
@pytest.mark.parametrize("spoil", SPOILS, ids=lambda f: f.__name__)
def test_they_spoil_no_other_codes(spoil, truth, untouched):
    frames = truth.frames.copy()
    spoil(frames, np.random.default_rng(0))
    good = (frames == truth.frames).all(axis=(1, 2))
    with pytest.warns(UserWarning, match=rf"{np.sum(~good)} of 400 frames are left out"):
        model = RRVAE(**OPTIONS).fit(frames)
    codes = model.encode(frames)
    assert np.mean(codes.fold[good] == truth.fold[good]) > 0.97
    assert not any(model.history_.collapsed)
    error, before = (
        np.nanmedian(truth.angle_error(np.where(c.fold > 0, c.angle, 0.0))[good])
        for c in (codes, untouched)
    )
    assert error < 1.3 * before
    assert np.isfinite(codes.z).all()
    bad = ~good & (frames.max(axis=(1, 2)) > 0)
    if bad.any():
        assert codes.error[bad].min() > 2 * np.quantile(codes.error[good], 0.99)


def test_sharp_patterns_are_no_spikes():
    # One pixel each, at other places: so are the spots of a binned camera.
    rng = np.random.default_rng(0)
    frames = rng.poisson(1.0, (100, 16, 16))
    frames[np.arange(100), rng.integers(1, 15, 100), rng.integers(1, 15, 100)] = 500
    assert not without_pattern(frames).any()


def test_few_electrons_are_no_spikes():
    frames = np.random.default_rng(0).poisson(0.01, (300, 32, 32))
    counted = frames.any(axis=(1, 2))
    np.testing.assert_array_equal(without_pattern(frames), ~counted)


def test_pixels_flagged_in_every_frame_are_masked(truth):
    frames = truth.frames.astype(np.uint32)
    frames[:, :, 20:22] = 2**32 - 1
    with pytest.warns(UserWarning, match="64 of 1024 pixels are left out"):
        model = RRVAE(**SHORT).fit(frames)
    assert not model.fitted_.detector.mask[:, 20:22].any()
    assert model.fitted_.detector.mask[:, :20].all()


def test_flags_stay_flags_in_floats_and_draw_no_centre_to_them(truth):
    frames = truth.frames.astype(np.float32)
    frames[:, 21:24] = 2.0**32 - 1
    options = SHORT | {"center": None}
    with pytest.warns(UserWarning, match="96 of 1024 pixels are left out.*mask_ is False"):
        model = RRVAE(**options).fit(frames)
    left_out = np.zeros((32, 32), bool)
    left_out[21:24] = True
    np.testing.assert_array_equal(model.mask_, ~left_out)
    np.testing.assert_allclose(model.fitted_.detector.center, 15.5, atol=0.2)
    with pytest.warns(UserWarning, match="96 of 1024"):
        each = RRVAE(**options | {"center": "each"}).fit(frames)
    np.testing.assert_allclose(each.fitted_.detector.center, 15.5, atol=0.2)
    found = describe(frames, progress=False).rotation
    known = describe(truth.frames, mask=~left_out, progress=False).rotation
    np.testing.assert_allclose(found, known, atol=0.02)


def test_few_defects_are_noted_without_a_warning(truth):
    frames = truth.frames.copy()
    frames[:, 5, 6] = 3000
    model = RRVAE(**SHORT).fit(frames)
    assert np.argwhere(~model.mask_).tolist() == [[5, 6]]
    assert RRVAE(**SHORT).fit(truth.frames).mask_.all()


def test_few_frames_that_outshine_the_others_are_told(truth):
    frames = truth.frames.astype(np.uint16)
    # A cosmic ray along a row is no spike of one pixel.
    frames[:20, 4, 5:15] = 20000
    with pytest.warns(UserWarning, match="20 of 400 frames are more than 10 times as bright"):
        RRVAE(**SHORT).fit(frames)


def test_a_scan_without_a_pattern_is_refused(truth):
    with pytest.raises(ValueError, match="none of the 400 frames"):
        RRVAE(**SHORT).fit(np.zeros_like(truth.frames))
    few = np.zeros_like(truth.frames)
    few[:5] = truth.frames[:5]
    with (
        pytest.warns(UserWarning, match="395 of 400"),
        pytest.raises(ValueError, match="only 5 of the frames"),
    ):
        RRVAE(**SHORT).fit(few)


@pytest.mark.parametrize("lazy", [False, True])
def test_frames_of_nan_were_never_recorded(lazy, truth):
    frames = truth.frames.astype(np.float32)
    frames[::10] = np.nan
    given = da.from_array(frames, chunks=(50, -1, -1)) if lazy else frames
    with pytest.warns(UserWarning, match="40 of 400"):
        model = RRVAE(**SHORT).fit(given)
    assert np.isfinite(model.encode(given).z).all()


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [False, True])
def test_nan_under_the_mask_is_not_looked_at(lazy, truth):
    frames = truth.frames.astype(np.float32)
    keep = np.ones((32, 32), bool)
    keep[5, 7] = keep[20:22] = False
    clean = RRVAE(mask=keep, **SHORT).fit(frames).encode(frames)
    frames[:, ~keep] = np.nan
    given = da.from_array(frames, chunks=(50, -1, -1)) if lazy else frames
    np.testing.assert_allclose(RRVAE(mask=keep, **SHORT).fit(given).encode(given).z, clean.z)
    with pytest.raises(ValueError, match="left out by mask="):
        RRVAE(**SHORT).fit(given)


def test_mask_of_a_masked_array_is_kept_to(truth):
    keep = np.ones((32, 32), bool)
    keep[20:22] = False
    spoiled = np.where(keep, truth.frames, 60000).astype(np.uint16)
    masked = np.ma.array(spoiled, mask=np.broadcast_to(~keep, spoiled.shape))
    found = RRVAE(**SHORT).fit(masked)
    np.testing.assert_array_equal(found.fitted_.detector.mask, keep)
    given = RRVAE(mask=keep, **SHORT).fit(truth.frames)
    np.testing.assert_allclose(found.encode(masked).z, given.encode(truth.frames).z)


def test_masks_that_differ_from_frame_to_frame_are_refused(truth):
    single = np.random.default_rng(0).random(truth.frames.shape) < 0.01
    lazy = da.from_array(truth.frames), da.from_array(single)
    for masked in (np.ma.array(truth.frames, mask=single), da.ma.masked_array(*lazy)):
        with pytest.raises(ValueError, match="same pixels of every frame"):
            Frames(masked)


def test_roi_is_trained_on_and_all_is_mapped(truth):
    frames = truth.frames.reshape(20, 20, 32, 32).copy()
    frames[:, 0] = frames[5, 5]  # a flyback column
    roi = np.ones((20, 20), bool)
    roi[:, 0] = False
    model = RRVAE(**SHORT).fit(Frames(frames, roi=roi))
    part = RRVAE(**SHORT).fit(frames[:, 1:].reshape(-1, 32, 32))
    np.testing.assert_allclose(model.encode(frames).z, part.encode(frames).z, atol=1e-5)
    for bad, what in ((np.ones((3, 3), bool), "shape"), (roi * 1, "boolean"), (roi & False, "one")):
        with pytest.raises(ValueError, match=what):
            Frames(frames, roi=bad)


def test_origins_far_from_their_neighbours_are_taken_from_these(truth):
    frames = truth.frames.reshape(20, 20, 32, 32)
    origins = 15.5 + np.random.default_rng(0).normal(0, 0.05, (20, 20, 2))
    far = origins.copy()
    far[3, 4] = 2.0, 30.0
    with pytest.warns(UserWarning, match="1 of 400 measured origins"):
        found = Frames(frames, center=far)
    assert np.abs(found.center - origins).max() < 0.3
    # A scan whose beam drifts by far more has no outliers.
    drift = np.linspace(8, 24, 20)[:, None, None] + np.zeros((20, 20, 2))
    np.testing.assert_array_equal(Frames(frames, center=drift).center, drift)
