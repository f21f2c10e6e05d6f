# SPDX-License-Identifier: GPL-3.0-or-later
"""RRVAE: its manners, and what goes in and comes out."""

import hashlib
import math

import dask.array as da
import h5py
import numpy as np
import pytest
import torch
from estimators import NAMES, QUICK, assert_classes_apart, assert_same_codes
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.scores import ari
from py4dstem_rrvae import RRVAE, Codes, Frames, synthetic


@pytest.fixture(scope="module")
def small():
    """Enough to tell the classes apart."""
    return synthetic.lobes(500, size=24, counts=3000)


@pytest.fixture(scope="module")
def small_unseen():
    return synthetic.lobes(300, size=24, counts=3000, random_state=1)


class CountingReads:
    """An array that is no ndarray, as a file's data set is, and counts the patterns read."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.patterns = values, values.shape, values.dtype, 0

    def __getitem__(self, index):
        block = self.values[index]
        self.patterns += len(block)
        return block


# What scikit-learn expects


def test_clone_has_the_same_parameters_and_is_not_fitted(quick):
    copy = clone(quick.__class__(latent_dim=3, beta=2.0, background=None, center=(7.0, 8.0)))
    assert copy.get_params() | {"latent_dim": 3, "beta": 2.0} == copy.get_params()
    assert clone(quick).get_params() == quick.get_params()
    assert not hasattr(clone(quick), "fitted_")


def test_set_params():
    estimator = RRVAE().set_params(latent_dim=5, intensity="log")
    assert (estimator.latent_dim, estimator.intensity) == (5, "log")
    with pytest.raises(ValueError, match="Invalid parameter 'latent_dims'"):
        estimator.set_params(latent_dims=3)


def test_misspelt_keyword_is_refused():
    with pytest.raises(TypeError, match="latent_dims"):
        RRVAE(latent_dims=3)


def test_fit_transform_is_fit_and_transform(few):
    np.testing.assert_array_equal(
        RRVAE(**QUICK).fit_transform(few), RRVAE(**QUICK).fit(few).transform(few)
    )


def test_transform_is_z_alone(quick, few):
    np.testing.assert_array_equal(quick.transform(few), quick.encode(few).z)


def test_works_in_a_pipeline(few):
    z = make_pipeline(RRVAE(**QUICK), StandardScaler()).fit_transform(few)
    assert z.shape == (80, 2)


@pytest.mark.parametrize("method", ["encode", "transform", "reconstruct", "save"])
def test_use_before_fit_is_refused(method, few):
    with pytest.raises(NotFittedError, match="RRVAE instance is not fitted yet"):
        getattr(RRVAE(), method)(few)


def test_parameters_are_not_changed_by_fit(few):
    mask = np.ones((16, 16), dtype=bool)
    estimator = RRVAE(**QUICK, mask=mask, center=(7.5, 7.5), intensity="counts")
    before = dict(estimator.get_params())
    estimator.fit(few)
    assert all(estimator.get_params()[name] is before[name] for name in before)


# What goes in and what comes out


@pytest.mark.parametrize("leading", [(), (80,), (8, 10), (4, 4, 5)])
def test_leading_shape_is_kept(leading, quick, few):
    found = quick.encode(few[: int(np.prod(leading))].reshape(*leading, 16, 16))
    assert found.z.shape == found.z_std.shape == (*leading, 2)
    for name in NAMES[2:]:
        assert getattr(found, name).shape == leading
    flat = quick.encode(few[: int(np.prod(leading))])
    np.testing.assert_allclose(found.z.reshape(-1, 2), flat.z, atol=1e-5)


def test_fit_takes_any_leading_shape(few, quick):
    scan = RRVAE(**QUICK).fit(few.reshape(8, 10, 16, 16))
    assert_same_codes(scan.encode(few), quick.encode(few))


def test_types_of_codes(codes):
    assert codes.fold.dtype == np.int64
    assert all(getattr(codes, name).dtype == np.float64 for name in NAMES if name != "fold")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memmap", "h5py", "dask"])
def test_any_array_gives_the_codes_of_numpy(kind, few, quick, tmp_path):
    scan = few.reshape(8, 10, 16, 16)
    if kind == "dask":
        array = da.from_array(scan, chunks=(4, 3, 5, 16))
    elif kind == "h5py":
        array = h5py.File(tmp_path / "scan.h5", "w").create_dataset("scan", data=scan)
    else:
        np.save(tmp_path / "scan.npy", scan)
        array = np.load(tmp_path / "scan.npy", mmap_mode="r")
    found = RRVAE(**QUICK).fit(array).encode(array)
    want = quick.encode(few)
    for name in NAMES:
        np.testing.assert_array_equal(
            getattr(found, name).reshape(getattr(want, name).shape), getattr(want, name)
        )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [">u2", "u1", "i4", "f4", ">f8"])
def test_any_dtype_gives_the_same_codes(dtype, few, quick):
    values = few.astype(dtype)
    assert_same_codes(RRVAE(**QUICK).fit(values).encode(values), quick.encode(few))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_input_is_neither_changed_nor_need_be_writeable(dtype, few):
    values = few.astype(dtype)
    before = hashlib.sha256(values.tobytes()).hexdigest()
    values.setflags(write=False)
    estimator = RRVAE(**QUICK).fit(values)
    estimator.encode(values, background="refit")
    assert hashlib.sha256(values.tobytes()).hexdigest() == before


def test_encoding_twice_gives_the_same(trained, unseen, codes):
    again = trained.encode(unseen.frames)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(codes, name))


def test_codes_of_a_pattern_do_not_depend_on_its_neighbours(trained, unseen, codes):
    alone = trained.encode(unseen.frames[17])
    np.testing.assert_allclose(alone.z, codes.z[17], atol=1e-5)
    np.testing.assert_allclose(alone.angle, codes.angle[17], atol=1e-4)


def test_classes_are_apart(trained, unseen):
    assert_classes_apart(trained, unseen)


def test_training_beats_none(trained, lobes, unseen):
    untrained = RRVAE(**QUICK | {"max_epochs": 1, "learning_rate": 1e-9}).fit(lobes.frames)
    blind = ari(untrained.transform(unseen.frames), unseen.label)
    assert ari(trained.transform(unseen.frames), unseen.label) > blind + 0.3


def test_fold_is_the_number_of_lobes(codes, unseen):
    assert np.mean(codes.fold == unseen.fold) >= 0.99


def test_angle_lies_within_one_period(codes):
    assert (codes.angle >= 0).all()
    assert (codes.angle < 2 * np.pi / codes.fold).all()


def test_angle_errs_by_little_more_than_noise_allows(codes, unseen):
    ratio = unseen.angle_error(codes.angle) / unseen.bound
    for fold in (2, 3, 6):
        assert np.median(ratio[unseen.fold == fold]) <= 1.2


def test_angle_std_is_near_the_bound(codes, unseen):
    ratio = codes.angle_std / unseen.bound
    assert np.median(ratio) == pytest.approx(1.0, abs=0.25)


def test_error_is_one_for_what_was_learned_and_more_for_what_was_not(trained, codes):
    assert np.sqrt(np.mean(codes.error**2)) == pytest.approx(1.0, abs=0.1)
    strange = synthetic.twisted_rings(50, size=32, counts=3000).frames
    assert np.median(trained.encode(strange).error) > 1.5


def test_quarter_turn_of_the_frame_turns_the_angle_by_a_quarter(trained, unseen, codes):
    turned = trained.encode(np.rot90(unseen.frames, axes=(1, 2)))
    assert np.median(np.abs(turned.z - codes.z), axis=0) == pytest.approx(0, abs=0.1)
    period = 2 * np.pi / codes.fold
    ahead = np.mod(turned.angle - codes.angle - np.pi / 2 + period / 2, period) - period / 2
    assert np.median(np.abs(ahead)) < np.median(unseen.bound)


def test_zero_of_the_angle_is_the_centre_of_mass(one_sided):
    assert (one_sided.codes.fold == 1).all()
    ahead = np.exp(1j * (one_sided.codes.angle - one_sided.angle))
    assert np.degrees(np.abs(np.angle(ahead.mean()))) < 2
    # The networks' own zero lies elsewhere.
    assert abs(math.remainder(one_sided.estimator.fitted_.angle_offset, 2 * np.pi)) > 0.1


# Another scan


def correlation(frames, expected):
    """Median over the patterns, within the circle."""
    inside = expected.mean(axis=0) > 0
    pairs = zip(frames, expected, strict=True)
    return np.median([np.corrcoef(a[inside], b[inside])[0, 1] for a, b in pairs])


def test_reconstruction_is_the_noise_free_pattern(trained, codes, unseen):
    expected = synthetic._expected(
        synthetic._lobed_ring,
        32,
        3000.0,
        unseen.angle,
        unseen.fold.astype(float),
        unseen.deformation,
    )
    rebuilt = trained.reconstruct(codes)
    assert rebuilt.shape == unseen.frames.shape
    assert correlation(rebuilt, expected) > max(0.98, correlation(unseen.frames, expected))
    dose = rebuilt.sum(axis=(1, 2))
    np.testing.assert_allclose(dose, 3000, rtol=0.05)
    assert dose.mean() == pytest.approx(3000, rel=0.01)


def test_reconstruction_takes_the_angle_from_its_zero(one_sided):
    rebuilt = one_sided.estimator.reconstruct(one_sided.codes)
    noisy = correlation(one_sided.frames, one_sided.expected)
    assert correlation(rebuilt, one_sided.expected) > max(0.98, noisy)


def test_reconstruction_keeps_the_leading_shape_and_takes_undefined_angles(quick, few):
    found = quick.encode(few[:6].reshape(2, 3, 16, 16))
    found = Codes(**vars(found) | {"angle": np.full((2, 3), np.nan)})
    rebuilt = quick.reconstruct(found)
    assert rebuilt.shape == (2, 3, 16, 16)
    assert np.isfinite(rebuilt).all()


# Chance


def test_same_random_state_gives_the_same_model(few, quick):
    same, other = RRVAE(**QUICK).fit(few), RRVAE(**QUICK | {"random_state": 1}).fit(few)
    assert same.history_ == quick.history_
    states = [e.fitted_.model.state_dict() for e in (quick, same, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["background"], states[2]["background"])


def test_a_generator_serves_as_random_state(few):
    one, same = (
        RRVAE(**QUICK | {"random_state": np.random.default_rng(4)}).fit(few).transform(few)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, same)


def test_the_older_kind_of_generator_serves_as_random_state(few):
    one, same = (
        RRVAE(**QUICK | {"random_state": np.random.RandomState(4)}).fit(few).encode(few).error
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, same)


def test_encoding_another_scan_reads_it_twice(quick, few):
    scan = CountingReads(few)
    quick.encode(scan, background="refit")
    assert scan.patterns == 2 * len(few)


def test_encoding_reads_the_scan_trained_on_once(quick, few):
    scan = CountingReads(few)
    quick.encode(scan)
    assert scan.patterns == len(few)


def test_no_random_state_draws_one(few):
    fits = (RRVAE(**QUICK | {"random_state": None}).fit(few) for _ in range(2))
    one, other = (estimator.encode(few).error for estimator in fits)
    assert not np.array_equal(one, other)


def test_global_generators_are_left_alone(few):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002, the global generator is what is watched
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    estimator = RRVAE(**QUICK).fit(few)
    estimator.reconstruct(estimator.encode(few, background="refit"))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_sample_limits_what_is_trained_on(few):
    few_of_them = RRVAE(**QUICK, sample=20).fit(few)
    assert not np.array_equal(few_of_them.transform(few), RRVAE(**QUICK).fit(few).transform(few))
    where = Frames(few).choose(20, np.random.default_rng(0))
    spoilt = few.copy()
    spoilt[np.setdiff1d(np.arange(80), where)] = 0
    other = RRVAE(**QUICK, sample=20).fit(spoilt)
    np.testing.assert_array_equal(other.transform(few), few_of_them.transform(few))
