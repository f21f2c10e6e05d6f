# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions of the turn, against direct sums and brute-force quadrature."""

import math

import numpy as np
import pytest
import torch

from py4dstem_rrvae.model import angle


def direct(coefficients, theta):
    """The trigonometric polynomial (B, n) by its definition."""
    coefficients, order = coefficients.numpy(), np.arange(1, coefficients.shape[-1])
    waves = coefficients[:, None, 1:] * np.exp(1j * np.asarray(theta)[:, None] * order)
    return coefficients[:, :1].real + 2 * waves.real.sum(axis=-1)


def random_coefficients(batch, orders):
    """Real at order 0, and without the highest order, which a grid of 2 (K - 1) folds over."""
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn(2, batch, orders, generator=generator, dtype=torch.float64)
    parts[1, :, 0], parts[:, :, -1] = 0, 0
    return torch.complex(*parts)


def cosine(height, at, order=1, orders=33):
    """``height * cos(order * (theta - at))`` in a batch of one."""
    coefficients = torch.zeros(1, orders, dtype=torch.complex128)
    coefficients[0, order] = height / 2 * np.exp(-1j * order * at)
    return coefficients


@pytest.mark.parametrize("n", [18, 19, 64])
def test_evaluate_is_the_sum_at_equidistant_angles(n):
    coefficients = random_coefficients(3, 10)
    want = direct(coefficients, 2 * np.pi * np.arange(n) / n)
    np.testing.assert_allclose(angle.evaluate(coefficients, n), want, atol=1e-12)


def test_shifted_moves_the_argument():
    coefficients, theta = random_coefficients(3, 10), np.array([0.1, -2.0, 7.0])
    got = direct(angle.shifted(coefficients, torch.tensor(theta)), [0.3])[:, 0]
    want = [direct(c[None], [0.3 + t])[0, 0] for c, t in zip(coefficients, theta, strict=True)]
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_peak_finds_the_maximum_between_the_grid_points():
    coefficients = random_coefficients(6, 10)
    fine = 2 * np.pi * np.arange(2**16) / 2**16
    want = fine[direct(coefficients, fine).argmax(axis=-1)]
    found = angle.peak(coefficients, 36 * 8)
    np.testing.assert_allclose(found, want, atol=2e-4)


def test_peak_of_a_constant_is_finite():
    assert torch.isfinite(angle.peak(torch.zeros(2, 9, dtype=torch.complex128), 16)).all()


def quadrature(coefficients, n=2**15):
    values = direct(coefficients, 2 * np.pi * np.arange(n) / n)
    top = values.max(axis=-1, keepdims=True)
    return (top + np.log(np.exp(values - top).mean(axis=-1, keepdims=True)))[:, 0]


def wide(batch):
    """Polynomials whose peaks are wider than a grid step."""
    return torch.nn.functional.pad(0.5 * random_coefficients(batch, 6), (0, 27))


def log_mean_exp(coefficients):
    return angle.log_mean_exp(coefficients)[0]


def test_log_mean_exp_against_quadrature():
    coefficients = wide(5)
    np.testing.assert_allclose(log_mean_exp(coefficients), quadrature(coefficients), atol=1e-6)


@pytest.mark.parametrize("height", [1.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize("at", [0.0, 0.3, 2 * math.pi * 5.5 / 64])
def test_log_mean_exp_of_a_peak_of_any_width_and_place(height, at):
    # The peak's width is height ** -0.5: at 1e3 a third of one of the 64 bins.
    coefficients = cosine(height, at)
    assert log_mean_exp(coefficients).item() == pytest.approx(quadrature(coefficients)[0], abs=0.05)


def test_log_mean_exp_counts_every_one_of_several_narrow_peaks():
    # Three peaks, of which a grid of 64 angles can hold but one.
    coefficients = cosine(2000.0, 0.2, order=3)
    assert log_mean_exp(coefficients).item() == pytest.approx(quadrature(coefficients)[0], abs=0.05)


def test_log_mean_exp_does_not_depend_on_where_the_peak_lies():
    values = [log_mean_exp(cosine(500.0, at)).item() for at in np.linspace(0, 0.2, 9)]
    np.testing.assert_allclose(values, values[0], atol=1e-3)


def test_log_mean_exp_has_the_gradient_of_the_integral():
    coefficients = wide(1).requires_grad_()
    log_mean_exp(coefficients).sum().backward()
    step = torch.zeros_like(coefficients.detach())
    step[0, 3] = 1e-5j
    low, high = (quadrature(coefficients.detach() + s * step)[0] for s in (-1, 1))
    assert coefficients.grad[0, 3].imag.item() == pytest.approx((high - low) / 2e-5, rel=1e-4)


def harmonics(orders, amplitude=30.0, rings=4, highest=31):
    generator = torch.Generator().manual_seed(1)
    values = torch.zeros(1, rings, highest + 1, dtype=torch.complex64)
    values[..., 0] = 1e3
    for order in orders:
        parts = torch.randn(2, rings, generator=generator)
        values[0, :, order] = amplitude * torch.complex(parts[0], parts[1])
    return values


def fold(decoded, true=None, **options):
    """Of a pattern that is true, without noise, where another one was decoded."""
    overlap = ((decoded if true is None else true) * decoded.conj()).sum(dim=1)
    overlap[:, 0] = 0
    log_likelihood = torch.nn.functional.pad(overlap, (0, 1))
    values = angle.about(log_likelihood, torch.zeros(len(decoded)))
    return angle.fold(values, decoded, **options).item()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 8, 10, 12])
def test_fold_of_exactly_n_fold_harmonics(n):
    assert fold(harmonics([n, 2 * n])) == n


@pytest.mark.parametrize(("orders", "n"), [([2, 3], 1), ([4, 6], 2), ([6, 9], 3), ([4, 12], 4)])
def test_fold_is_the_common_divisor_of_the_orders(orders, n):
    assert fold(harmonics(orders)) == n


@pytest.mark.parametrize("amplitude", [0.0, 0.05])
def test_fold_is_zero_without_structure_above_the_noise(amplitude):
    assert fold(harmonics(range(1, 32), amplitude)) == 0


def test_a_faint_pattern_is_not_taken_for_symmetric():
    # Every order for itself, and what breaks the symmetry of two, lies below the noise.
    faint = harmonics([1, 2, 3])
    energy = 2 * faint[..., 1:].abs().square().sum(dim=1)
    faint[..., 1:4] *= (12 / energy[0, :3]).sqrt()
    assert fold(faint) == 1


def test_fold_ignores_a_break_of_symmetry_below_the_noise():
    assert fold(harmonics([6]) + harmonics([1], 0.2)) == 6


def test_fold_notices_a_break_of_symmetry_above_the_noise():
    assert fold(harmonics([6]) + harmonics([1], 10.0)) == 1


def one_fold(n=1):
    return torch.tensor([n])


@pytest.mark.parametrize("orders", [17, 33, 65])
def test_a_grid_that_holds_one_peak_of_a_pattern_holds_all(orders):
    n = angle.grid_size(torch.zeros(1, orders))
    assert all(n % fold == 0 for fold in angle.FOLDS)
    assert n >= 7 * (orders - 1)


def posterior(coefficients, folds):
    theta = angle.mode(coefficients)
    return angle.posterior(angle.about(coefficients, theta), folds, theta)


@pytest.mark.parametrize("height", [20.0, 1e3, 1e5, 1e7])
def test_posterior_of_a_peak_has_its_place_and_width(height):
    theta, std = posterior(cosine(height, 1.234), one_fold())
    assert theta.item() == pytest.approx(1.234, abs=1e-4)
    # A von Mises density of this concentration has a variance of 1 / height (1 + 1 / (2 height)).
    assert std.item() == pytest.approx(height**-0.5, rel=0.05)


def test_posterior_of_a_flat_likelihood_is_that_of_a_uniform_angle():
    _, std = posterior(cosine(0.0, 0.0), one_fold())
    assert std.item() == pytest.approx(math.pi / math.sqrt(3), rel=1e-4)


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_width_of_n_equal_peaks_is_that_of_one(n):
    height = 200.0
    _, std = posterior(cosine(height, 0.1, order=n), one_fold(n))
    assert std.item() == pytest.approx(1 / (n * math.sqrt(height)), rel=0.05)


@pytest.mark.parametrize("height", [20.0, 1e4, 1e6])
def test_width_tells_that_two_distinct_peaks_are_undecided(height):
    _, std = posterior(cosine(height, 0.1, order=2), one_fold(1))
    assert std.item() == pytest.approx(math.pi / math.sqrt(2), rel=0.05)


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_posterior_of_an_n_fold_pattern_has_n_equal_peaks(n):
    values = angle.evaluate(cosine(200.0, 0.0, order=n), 120)[0].numpy()
    top = values > values.max() - 1e-9
    assert top.sum() == n
    theta, _ = posterior(cosine(200.0, 0.1, order=n), one_fold(n))
    assert math.remainder(theta.item() - 0.1, 2 * math.pi / n) == pytest.approx(0, abs=1e-4)


def test_an_undefined_angle_is_nan_and_as_wide_as_the_circle():
    theta, std = posterior(cosine(1e3, 0.1), one_fold(0))
    assert math.isnan(theta.item())
    assert std.item() == pytest.approx(math.pi / math.sqrt(3))


def reliability(coefficients, n=1):
    values = angle.about(coefficients, angle.mode(coefficients))
    return angle.reliability(values, one_fold(n)).item()


@pytest.mark.parametrize("height", [0.5, 20.0, 1e6])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_reliability_is_what_the_best_other_turn_lacks(height, share):
    # Peaks of heights 1 and 1 - share, half a turn apart.
    first, second = cosine(height * share / 2, 0.4), cosine(height * (1 - share / 2), 0.4, order=2)
    assert reliability(first + second) == pytest.approx(share, abs=0.01)
    constant = torch.zeros_like(first)
    constant[..., 0] = 1e3 * height
    assert reliability(first + second + constant) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 12])
def test_turns_by_a_symmetry_are_no_other_angle(n):
    assert reliability(cosine(30.0, 0.3, order=n), n) == 1
    if n > 1:
        assert reliability(cosine(30.0, 0.3, order=n), 1) == pytest.approx(0, abs=1e-3)


def test_reliability_of_four_fold_peaks_of_which_every_other_is_lower():
    curve = cosine(8.0, 0.2, order=8) + cosine(2.0, 0.2, order=4)
    # At half the period of the fold: 8 - 2 of 8 + 2.
    assert reliability(curve, 4) == pytest.approx(0.4, abs=0.01)


def test_without_a_direction_no_angle_is_reliable():
    assert reliability(cosine(30.0, 0.3), 0) == 0
