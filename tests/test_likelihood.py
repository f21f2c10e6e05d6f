# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen of the rings; gradients in closed form against numerical ones, in float64."""

import pytest
import torch
from torch.autograd import gradcheck

from py4dstem_rrvae.model import angle, likelihood

RINGS, ORDERS = 4, 8


def harmonics():
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn((2, 3, RINGS, ORDERS), generator=generator, dtype=torch.float64)
    return torch.complex(*parts)


def test_rings_that_are_seen_in_part_are_told_from_the_others():
    weight = torch.ones(4, 8)
    weight[1, 3], weight[3] = 0.5, 0.0
    assert likelihood.partly_seen(weight).tolist() == [1, 3]


@pytest.mark.parametrize("height", [0.1, 0.5])
def test_log_mean_exp_has_its_gradient(height):
    coefficients = height * harmonics()[:, 0]
    coefficients[:, 0] = coefficients[:, 0].real.to(coefficients.dtype)
    assert gradcheck(lambda c: angle.log_mean_exp(c)[0], coefficients.requires_grad_(), atol=1e-3)


def test_gradients_are_the_posterior_s_moments_however_narrow_the_peak():
    # At this height the peak is a twentieth of the grid's step wide.
    order = torch.arange(9, dtype=torch.float64)
    concentrated = 1e5 * torch.exp(-1j * 0.3 * order) * torch.exp(-order / 3)
    coefficients = concentrated[None].requires_grad_()
    value, theta = angle.log_mean_exp(coefficients)
    value.sum().backward()
    curvature = 2 * (order.square() * concentrated.abs()).sum()
    moments = torch.exp(-1j * 0.3 * order - 0.5 * order.square() / curvature)
    moments[1:] *= 2
    torch.testing.assert_close(coefficients.grad[0], moments, rtol=1e-3, atol=1e-3)
    assert theta.item() == pytest.approx(0.3, abs=1e-3)
    assert not theta.requires_grad
