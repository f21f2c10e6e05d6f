# SPDX-License-Identifier: GPL-3.0-or-later
"""What the counts of the whole detector say reaches the maps, whatever the camera's units."""

import warnings

import numpy as np
import pytest

from benchmarks import tail, turned_copy
from py4dstem_rrvae import RRVAE, synthetic

ONE_THREAD = {"random_state": 0, "progress": False, "device": "cpu"}


@pytest.mark.slow
def test_a_weak_tail_around_a_bright_disc_off_the_middle_is_in_the_latents():
    trained, fresh = tail.draw(2000, 0), tail.draw(2000, 1)
    z = RRVAE(**ONE_THREAD).fit(trained.frames).transform(fresh.frames)
    best = tail.ideal(fresh)
    assert tail.explained(z, fresh.tail) > tail.explained(best, fresh.tail) - 0.03
    assert tail.explained(z, fresh.modulation) > tail.explained(best, fresh.modulation) - 0.04


def test_error_is_in_units_of_a_pattern_s_own_noise():
    """Patterns of a fifth to five times the dose are explained alike."""
    lobes = synthetic.lobes(600, size=24, counts=20_000)
    dose = np.exp(np.random.default_rng(1).uniform(-np.log(5), np.log(5), 600)) / 10
    frames = np.random.default_rng(2).binomial(lobes.frames, dose[:, None, None])
    error = RRVAE(**ONE_THREAD, max_epochs=40).fit(frames).encode(frames).error
    faint, bright = (np.median(error[own]) for own in (dose < 0.04, dose > 0.25))
    assert bright == pytest.approx(faint, rel=0.15)
    assert 0.7 < faint < 1.2


@pytest.mark.slow
def test_measured_noise_of_the_rings_is_that_of_their_counts():
    scan = tail.draw(2000, 0)
    model = RRVAE(**ONE_THREAD).fit(scan.frames).fitted_.model
    ratio = (model.noise_variance / model.counted_noise).numpy()
    assert model.overdispersion == pytest.approx(1.0, abs=0.05)
    # Where the disc's edge lies, the bright pixels' shares of the bins are small, and scatter less.
    width = scan.frames.detector().seen_radius() / len(ratio)
    edge = np.abs((np.arange(len(ratio)) + 0.5) * width - tail.RADIUS) < 3
    assert edge.sum() < 6 and 0.7 < ratio[edge].min() < 1
    np.testing.assert_allclose(ratio[~edge], 1.0, atol=0.2)


def camera(frames, gain, offset, readout, seed):
    noise = np.random.default_rng(seed).normal(0, readout, frames.shape)
    return np.rint(offset + gain * frames + noise).clip(0).astype(np.uint16)


CAMERAS = {
    "counts": lambda frames, _: frames,
    "20 units an electron": lambda frames, _: (20 * frames).astype(np.uint16),
    "with read-out noise": lambda frames, seed: camera(frames, 20, 0, 3, seed),
    "on a pedestal": lambda frames, seed: camera(frames, 20, 100, 5, seed),
    "of fractions": lambda frames, _: 0.01 * frames,
    "after subtraction": lambda frames, seed: camera(frames, 20, 100, 5, seed) - 100.0,
}


@pytest.mark.slow
@pytest.mark.parametrize("record", CAMERAS.values(), ids=CAMERAS.keys())
def test_error_bars_and_folds_hold_in_any_units(record):
    orders = {"orders": (2, 3, 6, 0), "size": 48, "counts": 800}
    trained, fresh = (synthetic.folds(600, random_state=k, **orders) for k in (0, 1))
    model = RRVAE(**ONE_THREAD).fit(record(trained.frames, 1))
    codes = model.encode(record(fresh.frames, 2))
    directed = fresh.fold > 0
    deviation = (fresh.angle_error(codes.angle) / codes.angle_std)[directed]
    assert 0.6 < np.nanmean(deviation < 1) < 0.78
    assert np.mean(codes.fold == fresh.fold) > 0.97


def test_a_camera_that_is_known_is_taken_as_it_is():
    frames = synthetic.lobes(200, size=24, counts=2000).frames
    model = RRVAE(max_epochs=2, gain=7.0, offset=3.0, **ONE_THREAD).fit(7.0 * frames + 3)
    response = model.response_
    assert (response.gain, response.offset, response.source) == (7.0, 3.0, "given")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"gain": 0}, "gain must be above 0, from 1e-15 to .*, or None; got 0"),
        ({"gain": "high"}, "gain must be above 0, from 1e-15 to .*, or None; got 'high'"),
        ({"gain": True}, "gain must be above 0, from 1e-15 to .*, or None; got True"),
        ({"offset": np.nan}, "offset must be a finite number, from .*, or None; got nan"),
        ({"fold_threshold": 1.0}, "fold_threshold must be from 0 to below 1; got 1.0"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(option, message):
    frames = synthetic.lobes(20, size=24).frames
    with pytest.raises(ValueError, match=message):
        RRVAE(**option, **ONE_THREAD).fit(frames)


@pytest.mark.slow
def test_patterns_without_noise_give_latents_and_a_warning():
    grains = synthetic.polycrystal(grains=3, random_state=0)
    rng = np.random.default_rng(0)
    turn, width = rng.uniform(0, 2 * np.pi, 400), rng.uniform(0.8, 1.2, 400)
    row, col = np.indices((32, 32)) - 15.5
    patterns = np.zeros((400, 32, 32))
    for k in range(6):
        at = 9 * np.cos(turn + k * np.pi / 3), 9 * np.sin(turn + k * np.pi / 3)
        distance = (row - at[0][:, None, None]) ** 2 + (col - at[1][:, None, None]) ** 2
        patterns += np.exp(-distance / 4) * (width[:, None, None] if k % 2 else 1.0)
    patterns /= patterns.sum(axis=(1, 2), keepdims=True)
    with pytest.warns(UserWarning, match="no counting noise"):
        model = RRVAE(**ONE_THREAD).fit(patterns)
    assert model.response_.noise_free
    assert not model.history_.collapsed[0]
    codes = model.encode(patterns)
    assert codes.z[:, 0].std() > 0.2
    assert (codes.fold > 0).all()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*counting noise")
        RRVAE(max_epochs=1, **ONE_THREAD).fit(grains.frames)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_scan_and_its_turned_copy_have_one_z_and_the_turn_between_them(seed):
    scan = synthetic.polycrystal(grains=3, random_state=1)
    both = turned_copy.doubled(scan.frames, (23.5, 23.5))
    codes = RRVAE(**(ONE_THREAD | {"random_state": seed})).fit(both).encode(both)
    agreement, errors = turned_copy.compared(codes)
    assert np.nanmin(agreement) > 0.99
    assert np.median(errors) < 0.3
    assert np.quantile(errors, 0.9) < 1.5


@pytest.mark.slow
def test_a_small_break_of_symmetry_is_seen_unless_a_threshold_says_otherwise():
    rng = np.random.default_rng(0)
    turn = rng.uniform(0, 2 * np.pi, 500)
    row, col = np.indices((32, 32)) - 15.5
    radius, phi = np.hypot(row, col), np.arctan2(col, row)
    ring, own = np.exp(-(((radius - 9) / 3) ** 2)), phi - turn[:, None, None]
    patterns = 1000 * ring * (1 + 0.8 * np.cos(3 * own) + 0.05 * np.cos(own))
    frames = rng.poisson(patterns).astype(np.uint16)
    # Nothing but the turn tells these patterns apart.
    warnings.filterwarnings("ignore", message="all latents are switched off")
    seen, passed_over = (
        RRVAE(center=(15.5, 15.5), **ONE_THREAD, **options).fit(frames).encode(frames).fold
        for options in ({}, {"fold_threshold": 0.02})
    )
    assert np.mean(seen == 1) > 0.95
    assert np.mean(passed_over == 3) > 0.95
