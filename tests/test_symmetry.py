# SPDX-License-Identifier: GPL-3.0-or-later
"""Symmetry scores: against sums by hand and turned pixel patterns."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate
from symmetry_patterns import BINS, CIRCLE, lobes, polar_of, smooth, twisted

from py4dstem_rrvae.symmetry.autocorrelation import PolarBins, _doubled
from py4dstem_rrvae.symmetry.scores import ORDERS, symmetry

R, A = 8, 64
AREA = torch.arange(1, 2 * R, 2, dtype=torch.float64)[:, None].expand(R, A) / 4
IDEAL = PolarBins(AREA, torch.diag_embed(1 / AREA))
PHI = 2 * np.pi * np.arange(A) / A


def bins_of(amplitudes, turn=0.0, base=5.0):
    """Counts in the ideal bins of ``base + Re sum c_rm exp(i m (phi - turn))``; c (R, M)."""
    order = np.arange(amplitudes.shape[1])
    waves = np.exp(1j * order * (PHI[:, None] - turn)) * np.sinc(order / A)
    density = base + (amplitudes @ waves.T).real
    return AREA * torch.tensor(density)[None]


def random_amplitudes(orders, seed=0):
    rng = np.random.default_rng(seed)
    amplitudes = np.zeros((R, 32), dtype=complex)
    size = (R, len(orders))
    amplitudes[:, list(orders)] = rng.normal(size=size) + 1j * rng.normal(size=size)
    return amplitudes


def weights(amplitudes):
    return (AREA[:, :1].numpy() * np.abs(amplitudes) ** 2).sum(axis=0)


@pytest.mark.parametrize("kind", ["angular", "pearson"])
@pytest.mark.parametrize("n", ORDERS)
def test_harmonics_of_multiples_of_n_score_one_for_n_and_its_divisors(n, kind):
    amplitudes = random_amplitudes([m for m in (n, 2 * n, 3 * n) if m < 32])
    scores = symmetry(bins_of(amplitudes), IDEAL, kind=kind, gain=None).n_fold[0]
    for order, score in zip(ORDERS, scores, strict=True):
        if n % order == 0:
            assert score == pytest.approx(1, abs=1e-9)
        else:
            assert score < 0.99


def test_n_fold_scores_are_sums_of_cosines_over_the_power_of_the_harmonics():
    amplitudes = random_amplitudes(range(1, 32))
    weight, order = weights(amplitudes), np.arange(32)
    want = [weight @ np.cos(2 * np.pi * order / n) / weight.sum() for n in ORDERS]
    got = symmetry(bins_of(amplitudes), IDEAL, gain=None).n_fold[0]
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_pearson_scores_count_the_radial_profile_as_alike():
    amplitudes = random_amplitudes(range(1, 32))
    profile = np.exp(-np.arange(R))
    density_area = AREA[:, 0].numpy()
    mean = density_area @ profile / density_area.sum()
    radial = 2 * density_area @ (profile - mean) ** 2
    weight, order = weights(amplitudes), np.arange(32)
    want = [
        (weight @ np.cos(2 * np.pi * order / n) + radial) / (weight.sum() + radial) for n in ORDERS
    ]
    polar = bins_of(amplitudes, base=profile[:, None])
    got = symmetry(polar, IDEAL, kind="pearson", gain=None)
    np.testing.assert_allclose(got.n_fold[0], want, atol=1e-9)
    alone = symmetry(polar, IDEAL, gain=None)
    lifted = (alone.mirror.item() * weight.sum() + radial) / (weight.sum() + radial)
    assert got.mirror.item() == pytest.approx(lifted, abs=1e-6)


def axis_error(axis, want, period=math.pi):
    return abs(math.remainder(axis.item() - want, period))


@pytest.mark.parametrize("turn", [0.3, 1.234, 4.0, -0.7])
def test_turning_a_pattern_turns_its_mirror_axis_and_nothing_else(turn):
    amplitudes = random_amplitudes(range(1, 12))
    still = symmetry(bins_of(amplitudes), IDEAL, gain=None)
    turned = symmetry(bins_of(amplitudes, turn=turn), IDEAL, gain=None)
    np.testing.assert_allclose(turned.n_fold, still.n_fold, atol=1e-9)
    assert turned.mirror.item() == pytest.approx(still.mirror.item(), abs=1e-5)
    assert still.mirror.item() < 0.9
    assert axis_error(turned.mirror_axis, still.mirror_axis.item() + turn) < 2e-3


@pytest.mark.parametrize("axis", [0.0, 0.6, math.pi / 2, 3.1])
def test_mirror_symmetric_pattern_scores_one_about_its_axis(axis):
    amplitudes = random_amplitudes(range(1, 20)).real + 0j
    result = symmetry(bins_of(amplitudes, turn=axis), IDEAL, gain=None)
    assert result.mirror.item() == pytest.approx(1, abs=1e-5)
    assert axis_error(result.mirror_axis, axis) < 2e-3
    assert 0 <= result.mirror_axis.item() < math.pi


@pytest.mark.parametrize("twist", [0.0, 0.2, math.pi / 6, 0.9])
def test_twisted_rings_are_three_fold_but_mirrored_only_as_far_as_the_twist_lets_them(twist):
    amplitudes = np.zeros((R, 32), dtype=complex)
    # Rings 1 and 7 with equal power: areas 3 and 15.
    amplitudes[1, 3], amplitudes[7, 3] = 1, np.exp(-3j * twist) / math.sqrt(5)
    result = symmetry(bins_of(amplitudes), IDEAL, gain=None)
    assert result.n_fold[0, 1].item() == pytest.approx(1, abs=1e-9)
    assert result.mirror.item() == pytest.approx(abs(math.cos(3 * twist)), abs=1e-5)


def test_units_do_not_matter():
    polar = torch.cat([bins_of(random_amplitudes(range(1, 20), seed)) for seed in range(4)])
    for gain in (1.0, None):
        plain = symmetry(100 * polar, IDEAL, gain=gain)
        scaled = symmetry(1e-6 * polar, IDEAL, gain=None if gain is None else 1e-8)
        for field in ("n_fold", "mirror", "mirror_axis", "significance"):
            np.testing.assert_allclose(
                getattr(scaled, field), getattr(plain, field), atol=1e-5, rtol=1e-5
            )


def test_the_highest_harmonic_counts_once():
    nyquist, first = torch.tensor((-1.0) ** np.arange(A)), torch.tensor(np.cos(PHI))
    result = symmetry((AREA * (5 + nyquist + first))[None], IDEAL, gain=None)
    weight = 2 * np.sinc(0.5) ** -2, np.sinc(1 / A) ** -2
    want = (weight[0] - weight[1]) / (weight[0] + weight[1])
    assert result.n_fold[0, 0].item() == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("n", [4, 6, 32, 34])
def test_doubled_harmonics_are_those_of_twice_the_order(n):
    values = torch.rand(2, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = torch.arange(n // 2 + 1)
    want = torch.fft.fft(values)[:, 2 * order % n]
    np.testing.assert_allclose(_doubled(torch.fft.rfft(values)), want, atol=1e-12)


def turned(frame, angle):
    """Turn by `angle`, radians from the row axis towards the column axis."""
    return rotate(frame, math.degrees(angle), reshape=False, order=3, mode="nearest")


def correlation(frame, copy, kind):
    a, b = frame[CIRCLE], copy[CIRCLE]
    if kind == "pearson":
        a, b = a - a.mean(), b - b.mean()
    return a @ b / np.sqrt((a @ a) * (b @ b))


def without_radial_part(frame):
    return frame - np.mean([turned(frame, 2 * np.pi * k / 72) for k in range(72)], axis=0)


@pytest.mark.parametrize("kind", ["angular", "pearson"])
@pytest.mark.parametrize("patterns", [lobes, smooth, twisted])
def test_scores_are_those_of_turned_and_mirrored_pixels(patterns, kind):
    frames = patterns()
    result = symmetry(polar_of(frames), BINS, kind=kind, gain=None)
    spread = []
    for i, frame in enumerate(frames):
        image = without_radial_part(frame) if kind == "angular" else frame
        want = [correlation(image, turned(image, 2 * np.pi / n), kind) for n in ORDERS]
        np.testing.assert_allclose(result.n_fold[i], want, atol=0.02)
        # Reversing the columns mirrors about the row axis.
        flipped = image[:, ::-1]
        mirrored = [
            correlation(image, turned(flipped, 2 * axis), kind)
            for axis in (result.mirror_axis[i].item(), *np.arange(0, np.pi, np.pi / 30))
        ]
        assert result.mirror[i].item() == pytest.approx(mirrored[0], abs=0.02)
        assert result.mirror[i].item() > max(mirrored) - 0.02
        spread.append(max(mirrored) - min(mirrored))
    assert max(spread) > 0.5


def test_nan_stays_with_its_pattern():
    polar = polar_of(1e4 * lobes())
    want = symmetry(polar, BINS)
    polar[1, 3, 5] = math.nan
    got = symmetry(polar, BINS)
    assert got.n_fold[1].isnan().all() and got.mirror[1].isnan() and got.mirror_axis[1].isnan()
    others = [0, 2, 3]
    np.testing.assert_array_equal(got.n_fold[others], want.n_fold[others])
    assert not want.n_fold.isnan().any()


def test_more_patterns_than_a_block_score_as_they_do_alone(monkeypatch):
    polar = polar_of(1e4 * smooth(7))
    want = symmetry(polar, BINS)
    monkeypatch.setattr("py4dstem_rrvae.symmetry.scores.BLOCK", 3)
    np.testing.assert_allclose(symmetry(polar, BINS).n_fold, want.n_fold, atol=1e-5)


def test_bad_input_raises():
    polar = polar_of(lobes())
    with pytest.raises(ValueError, match=r"shape \(B, 18, 64\); got \(18, 64\)"):
        symmetry(polar[0], BINS)
    with pytest.raises(ValueError, match=r"shape \(B, 18, 64\); got \(4, 17, 64\)"):
        symmetry(polar[:, 1:], BINS)
    with pytest.raises(ValueError, match=r"must be of floats; got torch.int64"):
        symmetry(polar.long(), BINS)
    with pytest.raises(ValueError, match=r"kind must be one of .*; got 'radial'"):
        symmetry(polar, BINS, kind="radial")
    for gain in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="gain must be positive"):
            symmetry(polar, BINS, gain=gain)
    odd = PolarBins(AREA[:, 1:], IDEAL.covariance[:, 1:, 1:])
    with pytest.raises(ValueError, match="even number of bins around; got 63"):
        symmetry(torch.ones(1, R, 63), odd)
