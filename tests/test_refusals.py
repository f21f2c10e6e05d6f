# SPDX-License-Identifier: GPL-3.0-or-later
"""What RRVAE refuses, and in which words."""

import h5py
import numpy as np
import pytest
import torch
from estimators import QUICK
from scipy.sparse import csr_matrix

from py4dstem_rrvae import RRVAE, Frames, describe, synthetic
from py4dstem_rrvae.scan.frames import unflatten

PARTLY_NAN = np.where(np.arange(16) < 3, np.nan, np.ones((20, 16, 16)))


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"architecture": "cartesian"}, "architecture must be one of 'polar', 'coordinate'; got"),
        ({"intensity": "squared"}, "intensity must be one of 'counts', 'sqrt', 'linear', 'log'"),
        ({"background": "none"}, "background must be one of 'auto', 'mean', 'radial', None; got"),
        ({"latent_dim": 0}, "latent_dim must be a whole number of at least 1; got 0"),
        ({"latent_dim": -2}, "latent_dim must be a whole number of at least 1; got -2"),
        ({"latent_dim": 2.0}, r"latent_dim must be a whole number of at least 1; got 2\.0"),
        ({"latent_dim": 80}, "latent_dim must be below the 80 that 80 patterns .* can carry"),
        ({"max_epochs": 0}, "max_epochs must be a whole number of at least 1; got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
        ({"sample": 7}, "sample must be a whole number of at least 8; got 7"),
        ({"learning_rate": 0}, "learning_rate must be above 0 and finite; got 0"),
        ({"learning_rate": np.nan}, "learning_rate must be above 0 and finite; got nan"),
        ({"latent_dim": True}, "latent_dim must be a whole number of at least 1; got True"),
        ({"learning_rate": np.inf}, "learning_rate must be above 0 and finite; got inf"),
        ({"learning_rate": "fast"}, "learning_rate must be above 0 and finite; got 'fast'"),
        ({"beta": -1.0}, r"beta must be above 0 and finite; got -1\.0"),
        ({"beta": None}, "beta must be above 0 and finite; got None"),
        ({"mirror": "auto"}, "mirror must be one of False, True; got 'auto'"),
        ({"device": "abacus"}, "device must be .*got 'abacus'"),
        ({"center": (40.0, 3.0)}, "center must lie on the detector"),
        ({"mask": np.ones((5, 5), bool)}, "mask must be boolean of shape"),
        ({"mask": np.zeros((16, 16), bool)}, "mask must keep at least one pixel"),
    ],
)
def test_options_that_cannot_be_are_refused(option, match, few):
    with pytest.raises(ValueError, match=match):
        RRVAE(**QUICK | option).fit(few)


def test_latents_are_bounded_by_the_bins():
    frames = synthetic.lobes(300, size=9, counts=500).frames
    with pytest.raises(
        ValueError, match="latent_dim must be below the 128 that 300 patterns of 4 x 32"
    ):
        RRVAE(**QUICK | {"latent_dim": 128}).fit(frames)


def test_too_few_pixels_to_train_on_are_refused():
    with pytest.raises(ValueError, match="fit needs at least 80 pixels; got 8 x 8"):
        RRVAE(**QUICK).fit(synthetic.lobes(50, size=8, counts=500).frames)


@pytest.mark.parametrize("value", [0.0, 1.0, 7.5])
def test_a_constant_cube_is_refused(value):
    with pytest.raises(ValueError, match="none of the 20 frames that were looked at holds a"):
        RRVAE(**QUICK).fit(np.full((20, 16, 16), value))


def test_equal_patterns_are_refused(few):
    with pytest.raises(ValueError, match="patterns must differ from one another"):
        RRVAE(**QUICK).fit(np.repeat(few[:1], 20, axis=0))


@pytest.mark.parametrize(
    ("frames", "match"),
    [
        (np.ones((7, 16, 16)), "fit needs at least 8 patterns; got 7"),
        (np.ones((16, 16)), "at least 8 x 8 pixels; got 4 x 4"),
        (np.ones((1, 16, 16)), "fit needs at least 8 patterns; got 1"),
        (np.ones((0, 16, 16)), "at least one position"),
        (np.ones((20, 7, 16)), "at least 8 x 8 pixels; got 7 x 16"),
        (np.full((20, 16, 16), np.nan), "none of the 20 frames"),
        (PARTLY_NAN, "patterns must be finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(frames, match):
    with pytest.raises(ValueError, match=match):
        RRVAE(**QUICK).fit(frames)


@pytest.mark.parametrize(
    "frames",
    [
        [np.ones((16, 16)), np.ones((16, 15))],
        [[[1, 2], [3]]] * 9,
        None,
        {"patterns": np.ones((9, 16, 16))},
        torch.ones((9, 16, 16), dtype=torch.bfloat16),
        torch.ones((9, 16, 16)).to_sparse(),
        torch.ones((9, 16, 16), device="meta"),
        csr_matrix(np.ones((9, 256))),
    ],
    ids=range(8),
)
def test_what_is_no_array_of_patterns_gets_one_sentence(frames):
    for use in (RRVAE(**QUICK).fit, describe, Frames):
        with pytest.raises(TypeError, match="one dense array of numbers"):
            use(frames)


def test_lists_and_datasets_of_rows_are_read(few, tmp_path):
    rows = few.reshape(len(few), -1)
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        for kind in (rows.tolist(), file.create_dataset("rows", data=rows)):
            np.testing.assert_array_equal(unflatten(kind, None, None), few)


@pytest.mark.parametrize(
    "center",
    [
        np.ma.masked_array([7.5, 7.5], mask=[True, False]),
        (np.nan, 7.5),
        np.array([7.5 + 1j, 7.5]),
        torch.tensor([7.5, np.inf], requires_grad=True),
    ],
    ids=range(4),
)
def test_a_centre_that_is_not_known_is_refused(center, few):
    with pytest.raises(ValueError, match=r"center must be (known; 1 of 1 are|\(row, col\))"):
        Frames(few, center=center)


def test_masks_of_the_array_and_by_hand_are_joined(few):
    left_out = np.zeros(few.shape[1:], bool)
    left_out[3, 4] = True
    masked = np.ma.masked_array(few, mask=np.broadcast_to(left_out, few.shape))
    joined = Frames.of(Frames(masked), mask=~np.flipud(left_out))
    np.testing.assert_array_equal(joined.mask, ~(left_out | np.flipud(left_out)))


def test_a_refused_fit_leaves_the_estimator_as_it_was(few):
    estimator = RRVAE(**QUICK).fit(few)
    before, fitted = estimator.transform(few), estimator.fitted_
    for bad in (np.full((20, 16, 16), np.inf), np.repeat(few[:1], 20, axis=0)):
        with pytest.raises(ValueError, match=r"patterns must|none of the"):
            estimator.fit(bad)
    assert estimator.fitted_ is fitted
    np.testing.assert_array_equal(estimator.transform(few), before)


@pytest.mark.parametrize(
    ("frames", "match"),
    [
        (Frames(np.ones((2, 16, 18))), r"trained on \(16, 16\) pixels .* have \(16, 18\) pixels"),
        (Frames(np.ones((2, 16, 16)), q_units="A^-1"), "q in 'pixels'; these .* q in 'A\\^-1'"),
        (
            Frames(np.ones((2, 16, 16)), center=(3.0, 8.0)),
            "the circle on this detector ends at 3.5",
        ),
        (PARTLY_NAN, "patterns must be finite"),
        (np.ones((2, 4, 4)), "at least 8 x 8 pixels"),
    ],
)
def test_patterns_the_model_does_not_fit_are_refused(frames, match, quick):
    with pytest.raises(ValueError, match=match):
        quick.encode(frames)


def test_encode_refuses_an_unknown_background(quick, few):
    with pytest.raises(ValueError, match='background must be "stored" or "refit"; got \'auto\''):
        quick.encode(few, background="auto")


def test_refit_needs_enough_patterns(quick, few):
    with pytest.raises(ValueError, match='background="refit" needs at least 8 patterns; got 7'):
        quick.encode(few[:7], background="refit")


def test_refit_refuses_an_empty_scan(quick):
    with pytest.raises(ValueError, match="pattern"):
        quick.encode(np.zeros((20, 16, 16)), background="refit")


@pytest.mark.parametrize(
    ("option", "factor", "match"),
    [
        ({"gain": 1e30}, 1, r"gain must be above 0, from 1e-15 to 1e\+15, or None; got 1e\+30"),
        ({"offset": -1e30}, 1, r"offset must be a finite number, from -1e\+15 to 1e\+15, or None"),
        ({}, -1, r'intensity="counts" needs patterns that are brighter than the .* got -'),
        ({"intensity": "log"}, -1, 'intensity="log" needs patterns that are brighter than'),
        ({}, 1e-20, r"intensities summed into bins must lie between 1e-15 and 1e\+15; the larg"),
        ({}, 1e16, r"patterns must be finite, and below 1e\+15; got .* pixels in 80 frames"),
        ({"learning_rate": 1e9}, 1, r"training has diverged: .* \(got 1000000000\.0\) or beta"),
        ({"signal_shape": 16}, 1, "signal_shape must be two whole numbers of pixels, .* got 16"),
        ({"signal_shape": (16, 1.5)}, 1, r"signal_shape must be two whole .* got \(16, 1\.5\)"),
        ({"signal_shape": "16"}, 1, "signal_shape must be two whole numbers of .* got '16'"),
        ({"center": "corner"}, 1, "center must be .* \"each\" or None; got 'corner'"),
        ({"center": ("a", "b")}, 1, r"center must be \(row, col\) or have shape \(80, 2\); got"),
    ],
)
def test_numbers_beyond_single_precision_are_refused(option, factor, match, few):
    with pytest.raises(ValueError, match=match):
        RRVAE(**QUICK | option).fit(few * float(factor))


@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        (np.diag([1.0, 1e9]), r"differ by less than a factor of 100; got \[\[1\.0, 0"),
        (np.diag([1e200, 1e200]), r"pixel sizes between 1e-15 and 1e\+15 that"),
        (np.diag([1e-200, 1e-200]), r"pixel sizes between 1e-15 and 1e\+15 that"),
        ("square", r"matrix must be an invertible \(2, 2\) array; got 'square'"),
    ],
)
def test_pixels_that_no_detector_has_are_refused(matrix, match, few):
    with pytest.raises(ValueError, match=match):
        Frames(few, matrix=matrix)


def test_pixels_too_coarse_or_too_fine_for_a_model_are_refused(quick, few):
    for size, match in ((10.0, "a radius of 3 pixels at least; on this detector it has 0.8"),
                        (1e-6, "the circle on this detector ends at 8e-06")):  # fmt: skip
        for background in ("stored", "refit"):
            with pytest.raises(ValueError, match=match):
                quick.encode(Frames(few, matrix=size * np.eye(2)), background=background)


def test_a_beam_that_wanders_over_the_edges_is_refused(few):
    center = np.random.default_rng(0).uniform(0, 15, (80, 2))
    with pytest.raises(ValueError, match=r"the beam must stay .* got one of .* pixels across"):
        describe(few, center=center, device="cpu", progress=False)


def test_codes_of_a_struck_pattern_are_finite(quick, few):
    few = few.astype(float)
    few[3] *= 1e10
    found = quick.encode(few)
    for name in ("z", "z_std", "angle_std", "error"):
        assert np.isfinite(getattr(found, name)).all()
    np.testing.assert_array_equal(found.z[5:], quick.encode(few[5:]).z)
