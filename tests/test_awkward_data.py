# SPDX-License-Identifier: GPL-3.0-or-later
"""What RRVAE makes of awkward data: scales, backgrounds, bad pixels, masks, wandering beams."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from estimators import LEARNED, QUICK, assert_classes_apart, assert_same_codes

from py4dstem_rrvae import RRVAE, Frames, synthetic
from py4dstem_rrvae.detector.intensity import Intensity, choose_intensity


@pytest.fixture(scope="module")
def small():
    """Enough to tell the classes apart."""
    return synthetic.lobes(500, size=24, counts=3000)


@pytest.fixture(scope="module")
def small_unseen():
    return synthetic.lobes(300, size=24, counts=3000, random_state=1)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "intensity",
    ["sqrt", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("linear", "log"))],
)
def test_other_intensity_scales_work(intensity, small, small_unseen):
    estimator = RRVAE(**LEARNED, intensity=intensity).fit(small.frames)
    assert_classes_apart(estimator, small_unseen)


def test_counts_are_scaled_by_the_root_of_their_rings_mean(quick):
    assert (quick.fitted_.intensity.kind, quick.fitted_.intensity.gain) == ("counts", 1.0)
    means = torch.tensor([0.5, 4.0, 100.0])
    counts = torch.poisson(
        means[:, None].expand(4000, 3, 16), generator=torch.Generator().manual_seed(0)
    )
    scale = choose_intensity("counts", 2.5 * counts, 2.5, torch.ones(3, 16))
    # Hundredths of an electron are added so that empty rings do not weigh much.
    want = means / (means + 0.02)
    torch.testing.assert_close(scale(2.5 * counts).var(dim=(0, 2)), want, rtol=0.03, atol=0)
    found = scale.mean_electrons(scale(2.5 * counts), torch.ones(3, 16))
    torch.testing.assert_close(found, means, rtol=0.02, atol=0)
    brighter = replace(scale, scale=3.0 * scale.scale)
    torch.testing.assert_close(brighter(7.5 * counts), scale(2.5 * counts))


def test_the_scale_of_counts_follows_what_is_seen():
    counts, weight = torch.full((4, 2, 8), 9.0), torch.ones(2, 8)
    counts[:, 0, :4], weight[0, :4] = 0.0, 0.0
    scale = choose_intensity("counts", counts, 1.0, weight).scale
    torch.testing.assert_close(scale, torch.full((2,), 9.02).sqrt())


@pytest.mark.parametrize("kind", ["counts", "sqrt", "linear", "log"])
def test_intensity_scales_invert(kind):
    binned = torch.linspace(0, 300, 50, dtype=torch.float64).expand(3, 50)
    scale = Intensity(kind, torch.tensor([2.5, 1.0, 0.3]).double())
    np.testing.assert_allclose(scale.invert(scale(binned)), binned, atol=1e-9)


@pytest.mark.parametrize("expected", [4.0, 30.0, 1000.0])
def test_counting_noise_has_unit_variance_on_the_square_root_scale(expected):
    counts = np.random.default_rng(0).poisson(expected, 100_000)
    scaled = Intensity("sqrt", torch.tensor(2.5))(torch.from_numpy(2.5 * counts))
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


@pytest.mark.slow
def test_hot_and_dead_pixels_work(small, small_unseen):
    estimator = RRVAE(**LEARNED | {"background": "auto"}).fit(spoilt(small.frames, 0))
    frames = spoilt(small_unseen.frames, 1)
    assert_classes_apart(estimator, small_unseen, frames)
    error = small_unseen.angle_error(np.nan_to_num(estimator.encode(frames).angle))
    assert np.degrees(np.median(error)) < 2


# With the others, tests of hot pixels and of masks tell the classes apart too.
@pytest.mark.slow
@pytest.mark.parametrize(
    "background",
    [*(pytest.param(one, marks=pytest.mark.slow) for one in ("auto", "mean")), "radial", None],
)
def test_every_background_works(background, small, small_unseen):
    assert_classes_apart(
        RRVAE(**LEARNED | {"background": background}).fit(small.frames),
        small_unseen,
    )


def test_noise_alone_gives_no_latents_and_no_angle():
    noise = np.random.default_rng(0).poisson(2.0, (20, 20, 24, 24))
    estimator = RRVAE(**LEARNED | {"background": "auto"}).fit(noise)
    assert estimator.history_.collapsed == [True, True]
    found = estimator.encode(noise)
    assert (found.z == 0).all() and (found.z_std == 1).all()
    assert (found.fold == 0).all() and np.isnan(found.angle).all()
    np.testing.assert_allclose(found.angle_std, np.pi / np.sqrt(3), rtol=1e-6)


@pytest.mark.slow
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


def test_a_sixteenth_of_the_outermost_ring_is_seen_from_every_origin(few):
    center = np.random.default_rng(0).uniform(5.5, 9.5, (80, 2))
    fitted = RRVAE(**QUICK).fit(Frames(few, center=center)).fitted_
    assert fitted.grid.radius_max > fitted.detector.inscribed_radius()
    angle = 2 * np.pi * np.arange(3600) / 3600
    circle = fitted.grid.radius_max * np.stack([np.cos(angle), np.sin(angle)])
    pixel = np.rint(center[:, :, None] + circle)
    assert ((pixel >= 0) & (pixel < 16)).all(axis=1).mean(axis=1).min() > 1 / 16 - 0.005


def test_center_option_serves_fit(few):
    assert RRVAE(**QUICK, center=(7.2, 8.1)).fit(few).fitted_.detector.center == (7.2, 8.1)
