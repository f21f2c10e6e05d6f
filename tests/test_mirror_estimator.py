# SPDX-License-Identifier: GPL-3.0-or-later
"""`RRVAE(mirror=True)` on mirror twins with a known truth."""

from dataclasses import dataclass

import numpy as np
import pytest
from estimators import LEARNED, NAMES, QUICK

from benchmarks.scores import accuracy, angle_error_over_bound, ari
from py4dstem_rrvae import RRVAE, Codes, Frames, latent_maps, synthetic
from py4dstem_rrvae.model.mirror import MirrorRRVAE

CENTER = (11.5, 11.5)


@dataclass(frozen=True)
class Twins:
    """Models with and without mirror, and a draw that neither was trained on."""

    truth: synthetic.Patterns
    mirror: RRVAE
    plain: RRVAE
    codes: Codes
    plain_codes: Codes


@pytest.fixture(scope="module")
def twins():
    frames = synthetic.mirror_twins(500, size=24, counts=3000).frames
    truth = synthetic.mirror_twins(300, size=24, counts=3000, random_state=1)
    # A background that is even in the angle, so that mirrored frames have the same z.
    options = LEARNED | {"background": "radial", "center": CENTER}
    mirror, plain = (RRVAE(mirror=m, **options).fit(frames) for m in (True, False))
    return Twins(truth, mirror, plain, mirror.encode(truth.frames), plain.encode(truth.frames))


def hand_accuracy(handedness, hand):
    """Share of twins whose hand is told, up to a swap of both."""
    right = np.mean((handedness > 0.5)[hand != 0] == (hand > 0)[hand != 0])
    return max(right, 1 - right)


def assert_twins_are_one(z, truth):
    chiral = truth.hand != 0
    assert abs(ari(z[chiral], truth.hand[chiral], 2)) < 0.05
    assert accuracy(z[chiral], truth.hand[chiral]) < 0.65
    assert ari(z, np.abs(truth.hand), 2) >= 0.99


def test_twins_have_one_z_and_are_told_apart_by_their_hand(twins):
    assert_twins_are_one(twins.codes.z, twins.truth)
    assert hand_accuracy(twins.codes.handedness, twins.truth.hand) >= 0.99


def test_twins_are_two_classes_without_mirror(twins):
    assert twins.plain_codes.handedness is None
    assert not twins.plain_codes.mirrored.any()
    chiral = twins.truth.hand != 0
    assert accuracy(twins.plain_codes.z[chiral], twins.truth.hand[chiral]) >= 0.99
    assert accuracy(twins.plain_codes.z, twins.truth.label) >= 0.99


def test_hand_of_an_achiral_class_is_undecided(twins):
    achiral = twins.truth.hand == 0
    assert np.mean(np.abs(twins.codes.handedness - 0.5)[achiral] < 0.05) >= 0.98
    assert np.mean(np.abs(twins.codes.handedness - 0.5)[~achiral] > 0.45) >= 0.98


def test_angle_is_as_good_as_without_mirror(twins):
    both, one = (
        angle_error_over_bound(twins.truth, c.angle) for c in (twins.codes, twins.plain_codes)
    )
    assert np.mean(both) < 1.2 * np.mean(one)
    assert max(both) < 1.5 * max(one)
    assert np.mean(twins.codes.fold == 3) >= 0.99


@pytest.mark.parametrize("axes", ["row", "col", "diagonal"])
def test_mirrored_frames_have_the_same_z_and_the_other_hand(axes, twins):
    frames = twins.truth.frames
    other = {"row": frames[:, :, ::-1], "col": frames[:, ::-1], "diagonal": frames.swapaxes(1, 2)}
    found = twins.mirror.encode(other[axes])
    np.testing.assert_allclose(found.z, twins.codes.z, atol=1e-4)
    np.testing.assert_allclose(found.handedness, 1 - twins.codes.handedness, atol=1e-3)
    assert np.abs(twins.plain.encode(other[axes]).z - twins.plain_codes.z).max() > 1


def residual(estimator, codes, frames):
    """Mean squared residual, in counts, relative to counting noise."""
    rebuilt = estimator.reconstruct(codes)
    return np.mean((frames - rebuilt) ** 2) / np.mean(frames)


def test_reconstruction_is_of_the_right_hand(twins):
    frames, codes = twins.truth.frames, twins.codes
    right = residual(twins.mirror, codes, frames)
    assert right < 1.1 * residual(twins.plain, twins.plain_codes, frames)
    swapped = Codes(**vars(codes) | {"handedness": 1 - codes.handedness})
    assert residual(twins.mirror, swapped, frames) > 2 * right


def one_sided_twins(n, seed):
    """Chiral patterns with one direction: two rings, brighter at sides 70 degrees apart."""

    def rings(radius, phi, twist, _):
        inner = np.exp(-0.5 * ((radius - 0.35) / 0.1) ** 2) * np.exp(1.5 * np.cos(phi))
        outer = np.exp(-0.5 * ((radius - 0.75) / 0.1) ** 2) * np.exp(np.cos(phi - twist))
        return 2 * inner + outer + 0.02

    rng = np.random.default_rng(seed)
    turn, hand = rng.uniform(0, 2 * np.pi, n), rng.choice([-1, 1], n)
    expected = synthetic._expected(rings, 24, 4000.0, turn, np.radians(70) * hand, turn)
    axis = np.arange(24) - 11.5
    direction = np.angle(
        np.einsum("bij,i->b", expected, axis) + 1j * np.einsum("bij,j->b", expected, axis)
    )
    return expected, rng.poisson(expected), hand, direction


@pytest.mark.slow
def test_zero_of_the_angle_is_the_centre_of_mass_for_both_hands():
    _, frames, _, _ = one_sided_twins(600, seed=0)
    expected, scan, hand, direction = one_sided_twins(300, seed=1)
    estimator = RRVAE(mirror=True, **LEARNED | {"latent_dim": 1}).fit(frames)
    codes = estimator.encode(scan)
    assert hand_accuracy(codes.handedness, hand) >= 0.99
    error = np.abs(np.angle(np.exp(1j * (codes.angle - direction))))
    for one in (-1, 1):
        assert np.degrees(np.median(error[hand == one])) < 3
    # Far from zero, an offset of the wrong sign shows in the angle and in what is rebuilt.
    assert abs(estimator.fitted_.angle_offset) > 0.2
    rebuilt = estimator.reconstruct(codes)
    assert np.mean((rebuilt - expected) ** 2) < 0.6 * np.mean((scan - expected) ** 2)


# In the estimator


@pytest.fixture(scope="module")
def small():
    return synthetic.mirror_twins(80, size=16, counts=2000).frames


@pytest.fixture(scope="module")
def masked_model(small):
    mask = np.ones((16, 16), dtype=bool)
    mask[:7, 6:9] = False
    return RRVAE(mirror=True, mask=mask, **QUICK | {"background": "auto"}).fit(small)


@pytest.mark.parametrize("background", ["stored", "refit"])
def test_loaded_model_gives_identical_codes(background, masked_model, small, tmp_path):
    masked_model.save(tmp_path / "model.rrvae")
    loaded = RRVAE.load(tmp_path / "model.rrvae")
    assert loaded.mirror is True and isinstance(loaded.fitted_.model, MirrorRRVAE)
    one, same = (m.encode(small, background=background) for m in (masked_model, loaded))
    for name in (*NAMES, "handedness"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name), err_msg=name)
    assert ((one.handedness >= 0) & (one.handedness <= 1)).all()
    np.testing.assert_array_equal(masked_model.reconstruct(one), loaded.reconstruct(same))


def test_masked_pixels_do_not_matter(masked_model, small):
    spoilt = small.copy()
    spoilt[:, ~masked_model.mask] = 9999
    one, other = masked_model.encode(small), masked_model.encode(spoilt)
    for name in (*NAMES, "handedness"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_handedness_is_a_map_where_there_is_one(masked_model, quick, small):
    codes = masked_model.encode(small.reshape(8, 10, 16, 16))
    found = latent_maps(codes)["handedness"]
    assert found.values.shape == (8, 10)
    assert (found.units, found.period) == ("dimensionless", None) and "mirror" in found.description
    np.testing.assert_array_equal(found.values, codes.handedness)
    assert "handedness" not in latent_maps(quick.encode(small))


@pytest.mark.slow
def test_another_scan_has_its_own_background(twins):
    frames = twins.truth.frames.astype(float)
    added = np.zeros((24, 24))
    added[4:9, 14:20] = 8.0
    scan = frames + np.random.default_rng(0).poisson(added, frames.shape)
    auto = RRVAE(mirror=True, center=CENTER, **LEARNED | {"background": "auto"}).fit(
        synthetic.mirror_twins(500, size=24, counts=3000).frames
    )
    codes = auto.encode(Frames(scan, center=CENTER), background="refit")
    assert_twins_are_one(codes.z, twins.truth)
    assert hand_accuracy(codes.handedness, twins.truth.hand) >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("counts", [200.0, 5000.0, 50000.0])
def test_defaults_on_twins(counts):
    truth = synthetic.mirror_twins(counts=counts, random_state=1)
    model = RRVAE(mirror=True, random_state=0, progress=False, device="cpu")
    codes = model.fit(synthetic.mirror_twins(counts=counts).frames).encode(truth.frames)
    assert_twins_are_one(codes.z, truth)
    assert hand_accuracy(codes.handedness, truth.hand) >= 0.99
    assert np.mean(codes.handedness[truth.hand == 0] == 0.5) >= 0.98
    assert max(angle_error_over_bound(truth, codes.angle)) < 1.2


@pytest.mark.slow
@pytest.mark.parametrize("counts", [500.0, 5000.0])
def test_a_hand_that_is_decided_is_right_however_small_the_twist(counts):
    degrees = np.linspace(-30, 30, 61)

    def draw(n, seed):
        fold = np.full(61, 3)
        return synthetic._draw(
            synthetic._twisted_rings, np.radians(degrees), fold, n, 48, counts, seed
        )

    truth, options = draw(1500, 50), LEARNED | {"max_epochs": 25}
    codes = RRVAE(mirror=True, **options).fit(draw(2500, 0).frames).encode(truth.frames)
    twist, decided = degrees[truth.label], codes.handedness != 0.5
    assert hand_accuracy(codes.handedness[decided], np.sign(twist[decided])) >= 0.99
    assert np.mean(decided[np.abs(twist) < 1.5]) < 0.1
    assert np.mean(decided[np.abs(twist) > 10]) >= 0.95
