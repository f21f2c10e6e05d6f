# SPDX-License-Identifier: GPL-3.0-or-later
"""Symmetry scores of counts: they do not depend on the dose, nor much on a mask."""

import numpy as np
import pytest
import torch
from symmetry_patterns import (
    BINS,
    COL,
    DETECTOR,
    OPERATOR,
    ROW,
    SIZE,
    dose_bias,
    draws,
    lobes,
    polar_of,
    smooth,
    twisted,
)

from py4dstem_rrvae.detector.bin_operator import BinOperator
from py4dstem_rrvae.detector.bins import Detector
from py4dstem_rrvae.symmetry.autocorrelation import PolarBins, autocorrelation, noise_power
from py4dstem_rrvae.symmetry.scores import symmetry

BIASES = [(200, 0.06, 0.16), (1000, 0.015, 0.03), (5000, 0.01, 0.01), (1e5, 0.004, 0.004)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["angular", "pearson"])
@pytest.mark.parametrize("patterns", [lobes, twisted])
@pytest.mark.parametrize(("counts", "n_fold", "mirror"), BIASES)
def test_expected_scores_do_not_depend_on_the_dose(patterns, kind, counts, n_fold, mirror):
    bias = dose_bias(patterns(), counts, kind=kind)
    assert bias[0] < n_fold
    assert bias[1] < mirror


def test_without_the_correction_they_do():
    assert dose_bias(lobes(), 200, gain=None) > (0.4, 0.4)
    assert dose_bias(lobes(), 1000, gain=None) > (0.1, 0.1)


def test_noise_power_is_that_of_poisson_frames():
    frames = np.random.default_rng(0).poisson(3.0, (4000, SIZE, SIZE))
    density = polar_of(frames) / BINS.area
    spectrum = torch.fft.rfft(density - density.mean(dim=0))
    got = 3 * noise_power(BINS)
    error = (spectrum.abs().square().mean(dim=0) - got).abs() / got.max(dim=-1, keepdim=True)[0]
    assert error.max() < 0.12
    assert error.mean() < 0.02
    # Bins share pixels: the noise is far from white near the centre.
    assert got[0, 12] < 0.01 * got[0, 0]


def radial(width):
    pattern = np.exp(-0.5 * (np.hypot(ROW, COL) / width) ** 2)
    return pattern / pattern.sum()


@pytest.mark.slow
@pytest.mark.parametrize("pattern", [radial(1e3), radial(8.0), radial(4.0)])
@pytest.mark.parametrize("counts", [50, 1000, 1e4])
def test_a_pattern_without_angular_structure_has_no_scores(pattern, counts):
    result = symmetry(polar_of(draws(pattern, counts, 2000)), BINS)
    assert 0.9 < result.significance.std() < 1.35
    for scores in (result.n_fold[:, 0], result.mirror, result.mirror_axis):
        assert scores.isnan().double().mean() > 0.995


@pytest.mark.parametrize("gain", [1.0, None])
@pytest.mark.parametrize("counts", [0.0, 1e8])
def test_vacuum_and_flat_patterns_have_no_scores(counts, gain):
    flat = polar_of(np.full((2, SIZE, SIZE), counts / SIZE**2))
    for kind in ("angular", "pearson"):
        result = symmetry(flat, BINS, kind=kind, gain=gain)
        assert result.n_fold.isnan().all()
        assert result.mirror.isnan().all() and result.mirror_axis.isnan().all()


def test_a_radial_pattern_is_symmetric_in_pixels_but_has_no_axis():
    result = symmetry(polar_of(1e4 * radial(8.0)[None]), BINS, kind="pearson", gain=None)
    np.testing.assert_allclose(result.n_fold, 1, atol=1e-3)
    np.testing.assert_allclose(result.mirror, 1, atol=1e-3)
    assert result.mirror_axis.isnan().all()


def masked(mask):
    detector = Detector(DETECTOR.shape, DETECTOR.center, DETECTOR.matrix, mask)
    return BinOperator(detector, OPERATOR.grid)


def beam_stop():
    mask = np.ones((SIZE, SIZE), dtype=bool)
    mask[:26, 22:26] = False
    return masked(mask)


@pytest.mark.parametrize("kind", ["angular", "pearson"])
@pytest.mark.parametrize("gain", [None, 1.0])
def test_the_way_for_masks_gives_the_same_where_nothing_is_masked(monkeypatch, kind, gain):
    polar = polar_of([draws(p, 2000, 1)[0] for p in smooth(6)]).double()
    want = symmetry(polar, BINS, kind=kind, gain=gain)
    monkeypatch.setattr(PolarBins, "complete", False)
    got = symmetry(polar, BINS, kind=kind, gain=gain)
    for field in ("n_fold", "mirror", "mirror_axis"):
        np.testing.assert_allclose(getattr(got, field), getattr(want, field), atol=2e-3)


def shared_correlation(density, bins, kind, shift, mirrored):
    """Pearson correlation over the bins that a pattern and its copy both have, bin by bin."""
    area, used = bins.ring_area.numpy(), bins.used.numpy()
    bin_ = np.arange(density.shape[-1])
    partner = (shift - bin_ if mirrored else bin_ + shift) % len(bin_)
    products, places = np.zeros((3, len(density))), used * used[:, partner] > 0
    means = [0.0, 0.0]
    if kind == "pearson":
        total = (area[:, None] * places).sum()
        copies = density, density[:, partner]
        means = [(area[:, None] * places * x).sum() / total for x in copies]
    for r, place in enumerate(places):
        if kind == "angular" and place.mean() <= 0.125:
            continue
        pair = density[r, place], density[r, partner][place]
        if kind == "angular":
            means = [x.mean() if place.any() else 0.0 for x in pair]
        x, y = (value - mean for value, mean in zip(pair, means, strict=True))
        products[:, r] = x @ x, y @ y, x @ y
    one, other, both = products @ area
    return both / np.sqrt(one * other)


@pytest.mark.parametrize("kind", ["angular", "pearson"])
def test_behind_a_mask_the_bins_in_common_are_compared(monkeypatch, kind):
    # The floor under the variance of few bins is for noise; here there is none.
    monkeypatch.setattr("py4dstem_rrvae.symmetry.autocorrelation.LEAST_VARIANCE", 0.0)
    stop = beam_stop()
    bins = PolarBins.of(stop).to(torch.float64)
    density = polar_of(smooth(1), stop).double() / bins.area.clamp(min=1e-9) * SIZE**2
    harmonics = autocorrelation(
        density, torch.zeros_like(density), torch.zeros(1).double(), bins, kind
    )
    for mirrored, coefficients in enumerate(harmonics):
        got = torch.fft.irfft(coefficients.to(torch.complex128), n=64)[0]
        if not mirrored:
            whole = got[0].item()
        for shift in range(64):
            want = shared_correlation(density[0].numpy(), bins, kind, shift, bool(mirrored))
            assert got[shift].item() / whole == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("kind", ["angular", "pearson"])
@pytest.mark.parametrize("patterns", [lobes, twisted])
def test_a_symmetric_pattern_is_symmetric_behind_a_beam_stop(patterns, kind):
    frames, stop = 1e4 * patterns(), beam_stop()
    bins = PolarBins.of(stop)
    assert not bins.complete
    want = symmetry(polar_of(frames), BINS, kind=kind, gain=None)
    got = symmetry(polar_of(frames, stop), bins, kind=kind, gain=None)
    np.testing.assert_allclose(got.n_fold, want.n_fold, atol=0.05)
    exact = want.n_fold > 0.98
    assert exact.any()
    np.testing.assert_allclose(got.n_fold[exact], want.n_fold[exact], atol=0.01)
    np.testing.assert_allclose(got.mirror, want.mirror, atol=0.03)
    # Taking the stop for a dark place of the pattern must not pass.
    naive = symmetry(polar_of(frames, stop), BINS, kind=kind, gain=None)
    assert (naive.n_fold - want.n_fold)[exact].abs().max() > 0.04


def test_scores_behind_a_beam_stop_do_not_depend_on_the_dose():
    n_fold, mirror = dose_bias(lobes(), 1000, operator=beam_stop())
    assert n_fold < 0.02
    assert mirror < 0.04
    assert dose_bias(lobes(), 1000, operator=beam_stop(), gain=None) > (0.1, 0.1)


def test_a_mask_that_leaves_too_little_in_common_raises():
    half = np.arange(SIZE)[:, None] >= np.full(SIZE, SIZE // 2)
    operator = masked(half)
    with pytest.raises(
        ValueError, match=r"mask must leave .* 50% of its area in common; it leaves"
    ):
        symmetry(polar_of(lobes(), operator), PolarBins.of(operator))
