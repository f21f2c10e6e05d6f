# SPDX-License-Identifier: GPL-3.0-or-later
"""RRVAE: its manners, what it makes of awkward data, its file, and what it refuses."""

import hashlib
import math
import pickle
from dataclasses import dataclass

import dask.array as da
import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.scores import accuracy, ari
from py4dstem_rrvae import RRVAE, Codes, Frames, synthetic
from py4dstem_rrvae.core.intensity import Intensity, are_counts, choose_intensity

COMMON = {"random_state": 0, "progress": False, "device": "cpu"}
# The mean as background needs no trials; what "auto" must show is tested with it.
QUICK = COMMON | {"max_epochs": 3, "batch_size": 8, "learning_rate": 1e-2, "background": "mean"}
LEARNED = COMMON | {"max_epochs": 12, "batch_size": 32, "background": "mean"}
NAMES = ("z", "z_std", "angle", "angle_std", "fold", "error")


@pytest.fixture(scope="module")
def few():
    """Enough to learn something."""
    return synthetic.lobes(80, size=16, counts=2000).frames


@pytest.fixture(scope="module")
def quick(few):
    """Trained a little; tests must leave it as it is."""
    return RRVAE(**QUICK).fit(few)


@pytest.fixture(scope="module")
def small():
    """Enough to tell the classes apart."""
    return synthetic.lobes(500, size=24, counts=3000)


@pytest.fixture(scope="module")
def small_unseen():
    return synthetic.lobes(300, size=24, counts=3000, random_state=1)


@pytest.fixture(scope="module")
def codes(trained, unseen):
    return trained.encode(unseen.frames)


def assert_same_codes(one, other, **tolerance):
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(one, name), getattr(other, name), err_msg=name, **tolerance
        )


def assert_classes_apart(estimator, unseen, frames=None):
    z = estimator.transform(unseen.frames if frames is None else frames)
    assert accuracy(z, unseen.label) >= 0.99
    assert ari(z, unseen.label) >= 0.99


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


@pytest.mark.parametrize("dtype", [">u2", "u1", "i4", "f4", ">f8"])
def test_any_dtype_gives_the_same_codes(dtype, few, quick):
    values = few.astype(dtype)
    assert_same_codes(RRVAE(**QUICK).fit(values).encode(values), quick.encode(few))


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


@dataclass(frozen=True)
class OneSided:
    """Rings that are brighter on one side, and a model of them."""

    expected: np.ndarray
    frames: np.ndarray
    angle: np.ndarray
    estimator: RRVAE
    codes: Codes


@pytest.fixture(scope="module")
def one_sided():
    def limb(radius, angle, height, _):
        ring = np.exp(-0.5 * ((radius - 0.5) / 0.15) ** 2)
        return ring * np.exp(height * np.cos(angle)) + 0.02

    angle, height = np.random.default_rng(0).uniform((0, 0.5), (2 * np.pi, 2), (600, 2)).T
    expected = synthetic._expected(limb, 24, 2000.0, angle, height, height)
    frames = np.random.default_rng(1).poisson(expected)
    estimator = RRVAE(**LEARNED | {"latent_dim": 1}).fit(frames)
    return OneSided(expected, frames, angle, estimator, estimator.encode(frames))


def test_zero_of_the_angle_is_the_centre_of_mass(one_sided):
    assert (one_sided.codes.fold == 1).all()
    ahead = np.exp(1j * (one_sided.codes.angle - one_sided.angle))
    assert np.degrees(np.abs(np.angle(ahead.mean()))) < 2
    # The networks' own zero lies elsewhere.
    assert abs(math.remainder(one_sided.estimator.fitted_.angle_offset, 2 * np.pi)) > 0.1


# Awkward data


def test_scaled_data_work(small, small_unseen):
    estimator = RRVAE(**LEARNED).fit(small.frames * 3.7)
    assert_classes_apart(estimator, small_unseen, small_unseen.frames * 3.7)


def test_background_subtracted_data_work(small, small_unseen):
    def subtracted(patterns, seed):
        noise = np.random.default_rng(seed).normal(0, 0.5, patterns.frames.shape)
        return 0.4 * (patterns.frames - 1.0 + noise)

    frames = subtracted(small_unseen, 1)
    assert (frames < 0).mean() > 0.1
    assert_classes_apart(RRVAE(**LEARNED).fit(subtracted(small, 0)), small_unseen, frames)


@pytest.mark.parametrize("intensity", ["linear", "log"])
def test_other_intensity_scales_work(intensity, small, small_unseen):
    estimator = RRVAE(**LEARNED, intensity=intensity).fit(small.frames)
    assert_classes_apart(estimator, small_unseen)


def test_counts_is_another_name_of_sqrt(few, quick):
    same = RRVAE(**QUICK, intensity="counts").fit(few)
    assert_same_codes(same.encode(few), quick.encode(few))
    assert quick.fitted_.intensity.gain == 1.0


def test_gain_is_estimated_where_the_specimen_adds_little():
    binned = 3.7 * torch.poisson(
        torch.linspace(5, 50, 32).expand(500, 10, 32), generator=torch.Generator().manual_seed(0)
    )
    assert choose_intensity("sqrt", binned, counts=False).gain == pytest.approx(3.7, rel=0.1)
    assert choose_intensity("sqrt", binned, counts=True).gain == 1.0


def test_whole_numbers_from_zero_up_are_counts():
    assert are_counts(np.array([0, 3, 70000], np.uint32))
    assert are_counts(np.array([0.0, 3.0]))
    assert not are_counts(np.array([0.0, 3.5]))
    assert not are_counts(np.array([-1, 3], np.int16))


@pytest.mark.parametrize("kind", ["sqrt", "linear", "log"])
def test_intensity_scales_invert(kind):
    scale, binned = Intensity(kind, 2.5), torch.linspace(0, 300, 50, dtype=torch.float64)
    np.testing.assert_allclose(scale.invert(scale(binned)), binned, atol=1e-9)


@pytest.mark.parametrize("expected", [4.0, 30.0, 1000.0])
def test_counting_noise_has_unit_variance_on_the_square_root_scale(expected):
    counts = np.random.default_rng(0).poisson(expected, 100_000)
    scaled = Intensity("sqrt", 2.5)(torch.from_numpy(2.5 * counts))
    assert scaled.var().item() == pytest.approx(1.0, abs=0.05)


def spoilt(frames, seed):
    """Three hot pixels, one of them constant, and twenty dead ones."""
    place = np.random.default_rng(3).permutation(24 * 24)[:23]
    rows, cols = np.unravel_index(place, (24, 24))
    frames = frames.copy()
    frames[:, rows[3:], cols[3:]] = 0
    rng = np.random.default_rng(seed)
    frames[:, rows[:2], cols[:2]] = rng.poisson((300, 3000), (len(frames), 2))
    frames[:, rows[2], cols[2]] = 65535
    return frames


def test_hot_and_dead_pixels_work(small, small_unseen):
    estimator = RRVAE(**LEARNED | {"background": "auto"}).fit(spoilt(small.frames, 0))
    frames = spoilt(small_unseen.frames, 1)
    assert_classes_apart(estimator, small_unseen, frames)
    error = small_unseen.angle_error(np.nan_to_num(estimator.encode(frames).angle))
    assert np.degrees(np.median(error)) < 2


@pytest.mark.parametrize("background", ["auto", "mean", "radial", None])
def test_every_background_works(background, small, small_unseen):
    assert_classes_apart(
        RRVAE(**LEARNED | {"background": background}).fit(small.frames), small_unseen
    )


def test_noise_alone_gives_no_latents_and_no_angle():
    noise = np.random.default_rng(0).poisson(2.0, (20, 20, 24, 24))
    estimator = RRVAE(**LEARNED | {"background": "auto"}).fit(noise)
    assert estimator.history_.collapsed == [True, True]
    found = estimator.encode(noise)
    assert (found.z == 0).all() and (found.z_std == 1).all()
    assert (found.fold == 0).all() and np.isnan(found.angle).all()
    np.testing.assert_allclose(found.angle_std, np.pi / np.sqrt(3), rtol=1e-6)


def test_collapsed_latents_come_last_and_are_zero(small, small_unseen):
    estimator = RRVAE(**LEARNED | {"latent_dim": 6}).fit(small.frames)
    collapsed = np.array(estimator.history_.collapsed)
    assert len(collapsed) == len(estimator.history_.repeatability) == 6
    assert (np.diff(collapsed.astype(int)) >= 0).all() and not collapsed[0]
    spread = estimator.transform(small_unseen.frames).std(axis=0)
    assert (spread[collapsed] == 0).all() and (spread[~collapsed] > 0.1).all()
    assert (np.array(estimator.history_.repeatability)[~collapsed] >= 0.5).all()


def garbage(frames, mask, seed):
    frames = frames.copy()
    frames[:, ~mask] = np.random.default_rng(seed).integers(0, 5000, (len(frames), (~mask).sum()))
    return frames


def test_masked_pixels_do_not_matter(small, small_unseen):
    mask = np.ones((24, 24), dtype=bool)
    mask[:13, 10:13] = False
    estimator = RRVAE(**LEARNED, mask=mask).fit(garbage(small.frames, mask, 0))
    one, other = (estimator.encode(garbage(small_unseen.frames, mask, seed)) for seed in (1, 2))
    assert_same_codes(one, other, atol=1e-6)
    assert_classes_apart(estimator, small_unseen)
    np.testing.assert_array_equal(estimator.fitted_.detector.mask, mask)


def descanned(frames, seed):
    """Frames moved by whole pixels, and where their centres went."""
    steps = np.random.default_rng(seed).integers(-2, 3, (len(frames), 2))
    moved = [np.roll(f, tuple(s), axis=(0, 1)) for f, s in zip(frames, steps, strict=True)]
    return np.array(moved), 11.5 + steps


def test_a_wandering_beam_with_known_origins_is_as_good_as_a_steady_one(small, small_unseen):
    frames, center = descanned(small.frames, 0)
    estimator = RRVAE(**LEARNED).fit(Frames(frames, center=center))
    frames, center = descanned(small_unseen.frames, 1)
    assert_classes_apart(estimator, small_unseen, Frames(frames, center=center))
    error = small_unseen.angle_error(estimator.encode(Frames(frames, center=center)).angle)
    assert np.median(error / small_unseen.bound) <= 1.2


def test_circle_lies_on_the_detector_at_every_origin(few):
    center = np.random.default_rng(0).uniform(5.5, 9.5, (80, 2))
    estimator = RRVAE(**QUICK).fit(Frames(few, center=center))
    nearest = min(center.min(), 15 - center.max()) + 0.5
    assert estimator.fitted_.grid.radius_max <= nearest + 1e-9


def test_center_option_serves_fit(few):
    assert RRVAE(**QUICK, center=(7.2, 8.1)).fit(few).fitted_.detector.center == (7.2, 8.1)


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
    np.testing.assert_allclose(rebuilt.sum(axis=(1, 2)), 3000, rtol=0.05)


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


Q_SIZE = 0.021


@pytest.fixture(scope="module")
def fine():
    """Frames of 48 x 48 pixels with a size in q, a model of such, and its codes."""
    lobes, unseen = (synthetic.lobes(n, counts=4000, random_state=n) for n in (600, 300))
    geometry = {"center": (23.5, 23.5), "matrix": Q_SIZE * np.eye(2), "q_units": "A^-1"}
    estimator = RRVAE(**LEARNED).fit(Frames(lobes.frames, **geometry))
    return unseen.frames, estimator, estimator.encode(Frames(unseen.frames, **geometry))


def binned(frames):
    count, height, width = frames.shape
    return frames.reshape(count, height // 2, 2, width // 2, 2).sum(axis=(2, 4))


def coarse(frames, size=2 * Q_SIZE):
    # The middle of four pixels is the middle of one: index 23.5 becomes 11.5.
    return Frames(binned(frames), (11.5, 11.5), size * np.eye(2), q_units="A^-1")


def assert_near(found, want):
    alive = want.z.std(axis=0) > 0
    assert alive.any()
    move = np.sqrt(np.mean((found.z - want.z)[:, alive] ** 2, axis=0))
    assert (move < 0.15 * want.z[:, alive].std(axis=0)).all()


@pytest.mark.parametrize("background", ["stored", "refit"])
def test_a_detector_of_coarser_pixels_gives_the_same_latents(background, fine):
    frames, estimator, want = fine
    found = estimator.encode(coarse(frames), background=background)
    assert_near(found, want)
    assert (found.fold == want.fold).mean() > 0.9


def test_a_detector_that_sees_less_than_the_model_is_refused(fine):
    frames, estimator, _ = fine
    with pytest.raises(
        ValueError, match=r"sees q up to 0\.504 A\^-1; the circle .* ends at 0\.252"
    ):
        estimator.encode(coarse(frames, Q_SIZE))


def test_the_centre_of_another_detector_is_found(fine):
    frames, estimator, want = fine
    moved = np.pad(frames, ((0, 0), (7, 3), (2, 5)))
    other = Frames(moved, matrix=Q_SIZE * np.eye(2), q_units="A^-1")
    assert_near(estimator.encode(other, background="refit"), want)


def test_refit_takes_the_dose_from_the_scan(trained, unseen, codes):
    other = synthetic.lobes(300, size=32, counts=6000, random_state=1)
    assert (other.label == unseen.label).all()
    refitted = trained.encode(other.frames, background="refit")

    def move(found):
        return np.median(np.abs(found.z - codes.z) / codes.z.std(axis=0), axis=0).max()

    assert move(refitted) < 0.1 < 0.3 < move(trained.encode(other.frames))
    assert np.sqrt(np.mean(refitted.error**2)) == pytest.approx(1.0, abs=0.1)


def test_refit_leaves_the_model_as_it_was(trained, lobes, unseen, codes):
    trained.encode(lobes.frames * 2, background="refit")
    np.testing.assert_array_equal(trained.encode(unseen.frames).z, codes.z)


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
    where, _ = Frames(few).sample(20, np.random.default_rng(0))
    spoilt = few.copy()
    spoilt[np.setdiff1d(np.arange(80), where)] = 0
    other = RRVAE(**QUICK, sample=20).fit(spoilt)
    np.testing.assert_array_equal(other.transform(few), few_of_them.transform(few))


# The model file


def test_loaded_model_gives_identical_codes(trained, unseen, codes, tmp_path):
    trained.save(tmp_path / "model.rrvae")
    loaded = RRVAE.load(tmp_path / "model.rrvae")
    found = loaded.encode(unseen.frames)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(codes, name))
    np.testing.assert_array_equal(loaded.reconstruct(found), trained.reconstruct(codes))
    assert loaded.history_ == trained.history_
    assert loaded.get_params() == trained.get_params()


def test_file_keeps_the_geometry(few, tmp_path):
    mask = np.ones((16, 16), dtype=bool)
    mask[:5, 8] = False
    matrix = np.array([[0.03, 0.001], [0.002, 0.05]])
    frames = Frames(few, center=(7.1, 8.2), matrix=matrix, mask=mask, q_units="A^-1")
    estimator = RRVAE(**QUICK | {"random_state": np.random.default_rng(0)}).fit(frames)
    estimator.save(str(tmp_path / "model.rrvae"))
    fitted = RRVAE.load(str(tmp_path / "model.rrvae")).fitted_
    assert (fitted.detector.center, fitted.q_units) == ((7.1, 8.2), "A^-1")
    np.testing.assert_array_equal(fitted.detector.matrix, matrix)
    np.testing.assert_array_equal(fitted.detector.mask, mask)
    for name in ("grid", "intensity", "dose", "angle_offset"):
        assert getattr(fitted, name) == getattr(estimator.fitted_, name)


def test_file_keeps_the_zero_of_the_angle(one_sided, tmp_path):
    one_sided.estimator.save(tmp_path / "model.rrvae")
    angle = RRVAE.load(tmp_path / "model.rrvae").encode(one_sided.frames).angle
    np.testing.assert_array_equal(angle, one_sided.codes.angle)


def test_loading_leaves_the_global_generator_alone(quick, tmp_path):
    quick.save(tmp_path / "model.rrvae")
    before = torch.random.get_rng_state()
    RRVAE.load(tmp_path / "model.rrvae")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.5, 0.999])
def test_truncated_file_is_refused(share, quick, tmp_path):
    path = tmp_path / "model.rrvae"
    quick.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="is no rrVAE model file, or is damaged"):
        RRVAE.load(path)


@pytest.mark.parametrize(
    "content",
    [b"Not a model at all, but some text.", pickle.dumps({"a": np.ones(9)}), b"\x00" * 64],
)
def test_file_of_another_kind_is_refused(content, tmp_path):
    path = tmp_path / "model.rrvae"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no rrVAE model file, or is damaged"):
        RRVAE.load(path)


def test_safetensors_of_another_program_are_refused(tmp_path):
    save_file({"weight": torch.ones(3)}, tmp_path / "model.rrvae", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="is a safetensors file, but not of an rrVAE model"):
        RRVAE.load(tmp_path / "model.rrvae")


def rewritten(path, change):
    with safe_open(path, framework="pt") as file:
        header = {key: change(value) for key, value in file.metadata().items()}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=header)


def test_model_of_a_later_format_is_refused(quick, tmp_path):
    path = tmp_path / "model.rrvae"
    quick.save(path)
    rewritten(path, lambda header: header.replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match=r"has model format 99; this version .* reads format 1"):
        RRVAE.load(path)


@pytest.mark.parametrize(
    "change", [lambda _: "{", lambda _: "{}", lambda h: h.replace('"grid"', '"x"')]
)
def test_model_of_a_broken_header_is_refused(change, quick, tmp_path):
    path = tmp_path / "model.rrvae"
    quick.save(path)
    rewritten(path, change)
    with pytest.raises(ValueError, match="is no rrVAE model file, or is damaged"):
        RRVAE.load(path)


def test_folder_to_write_to_must_exist(quick, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent to write model\.rrvae to"):
        quick.save(tmp_path / "absent" / "model.rrvae")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model file at .*absent\.rrvae"):
        RRVAE.load(tmp_path / "absent.rrvae")


def test_file_holds_no_pickle(quick, tmp_path):
    quick.save(tmp_path / "model.rrvae")
    content = (tmp_path / "model.rrvae").read_bytes()
    assert int.from_bytes(content[:8], "little") < len(content)
    assert content[8:9] == b"{"
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(content)


# Refusals


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"architecture": "cartesian"}, "architecture must be one of 'polar', 'coordinate'; got"),
        ({"intensity": "squared"}, "intensity must be one of 'sqrt', 'linear', 'log', 'counts'"),
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
    frames = synthetic.lobes(300, size=8, counts=500).frames
    with pytest.raises(
        ValueError, match="latent_dim must be below the 128 that 300 patterns of 4 x 32"
    ):
        RRVAE(**QUICK | {"latent_dim": 128}).fit(frames)


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"architecture": "coordinate"}, 'architecture="coordinate" is not available yet'),
        ({"mirror": True}, "mirror=True is not available yet"),
    ],
)
def test_options_of_a_later_version_are_refused(option, match, few):
    with pytest.raises(NotImplementedError, match=match):
        RRVAE(**QUICK | option).fit(few)


@pytest.mark.parametrize("value", [0.0, 1.0, 7.5])
def test_a_constant_cube_is_refused(value):
    with pytest.raises(ValueError, match="patterns must differ from one another"):
        RRVAE(**QUICK).fit(np.full((20, 16, 16), value))


def test_equal_patterns_are_refused(few):
    with pytest.raises(ValueError, match="patterns must differ from one another"):
        RRVAE(**QUICK).fit(np.repeat(few[:1], 20, axis=0))


@pytest.mark.parametrize(
    ("frames", "match"),
    [
        (np.ones((7, 16, 16)), "fit needs at least 8 patterns; got 7"),
        (np.ones((16, 16)), "fit needs at least 8 patterns; got 1"),
        (np.ones((0, 16, 16)), "at least one position"),
        (np.ones((20, 7, 16)), "at least 8 x 8 pixels; got 7 x 16"),
        (np.full((20, 16, 16), np.nan), "patterns must be finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(frames, match):
    with pytest.raises(ValueError, match=match):
        RRVAE(**QUICK).fit(frames)


def test_a_refused_fit_leaves_the_estimator_as_it_was(few):
    estimator = RRVAE(**QUICK).fit(few)
    before, fitted = estimator.transform(few), estimator.fitted_
    for bad in (np.full((20, 16, 16), np.inf), np.repeat(few[:1], 20, axis=0)):
        with pytest.raises(ValueError, match="patterns must"):
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
        (np.full((2, 16, 16), np.nan), "patterns must be finite"),
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
