# SPDX-License-Identifier: GPL-3.0-or-later
"""The turn by counting noise, against sums over the bins."""

import math

import numpy as np
import pytest
import torch

from py4dstem_rrvae.model.likelihood import partly_seen
from py4dstem_rrvae.model.posterior import DARKEST, log_density

RINGS, ANGLES, ORDERS = 5, 32, 15


@pytest.fixture
def chance():
    return torch.Generator().manual_seed(0)


def case(chance, masked, faint):
    """Electrons on scaled bins: what `log_density` takes, and the same in electrons."""
    level_electrons = torch.tensor([0.3, 2.0, 10.0, 40.0, 5.0]).double()[:, None]
    # Scaled as `Intensity("counts")` scales: electrons over the root of their ring's mean.
    scale = level_electrons.sqrt()
    angle = 2 * math.pi * torch.arange(ANGLES).double() / ANGLES
    structure = 0.5 * torch.cos(3 * angle) + 0.2 * torch.cos(angle + torch.arange(RINGS)[:, None])
    decoded = level_electrons * structure * (1.6 if faint else 1.0)
    harmonics = torch.fft.rfft(decoded / scale, norm="ortho")[None, :, :ORDERS]
    weight = torch.ones(RINGS, ANGLES).double()
    if masked:
        weight[2, 4:9], weight[4, :16], weight[3, 20] = 0.0, 0.6, 0.4
    expected = level_electrons + 0.7 * decoded.roll(5, -1).clamp(min=-0.99 * level_electrons)
    # A bin of which a part is seen is scaled to all of it.
    electrons = torch.poisson(expected * weight, generator=chance) / weight.clamp(min=1e-9)
    return electrons[None], harmonics, weight, level_electrons, scale


def density(x, background, harmonics, weight, level):
    """Of bins whose noise has a variance of 1 over ``weight``."""
    return log_density(x, background, harmonics, weight * level, level, partly_seen(weight))


def value(coefficients, theta):
    order = torch.arange(1, coefficients.shape[-1]).double()
    waves = coefficients[:, 1:] * torch.exp(1j * order * theta)
    return (coefficients[:, 0].real + 2 * waves.real.sum(dim=-1)).item()


def turned(harmonics, theta):
    order = torch.arange(harmonics.shape[-1]).double()
    moved = harmonics * torch.exp(-1j * order * theta)
    return torch.fft.irfft(moved, n=ANGLES, norm="ortho")


@pytest.mark.parametrize("faint", [False, True], ids=["positive", "overshooting"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_log_density_is_that_of_a_poisson_variable(masked, faint, chance):
    electrons, harmonics, weight, level, scale = case(chance, masked, faint)
    background = (level / scale).expand(RINGS, ANGLES)
    got = density(electrons / scale, background, harmonics, weight, level / scale)
    # At whole bins, where the logarithm is no less exact than the pattern.
    turns = 2 * math.pi * torch.arange(ANGLES).double() / ANGLES
    want = []
    for theta in turns:
        mean = scale * (background + turned(harmonics, theta))
        of_log = torch.maximum(mean, DARKEST * level).log()
        want.append((weight * (electrons * of_log - mean)).sum().item())
    found = np.array([value(got, theta) for theta in turns])
    want = np.array(want)
    spread = np.ptp(want)
    assert spread > 20
    # Less what is the same at all turns, and the highest orders of the logarithm.
    np.testing.assert_allclose(
        found - found.mean(), want - want.mean(), atol=(0.1 if faint else 0.01) * spread
    )
    assert found.argmax() == want.argmax()


def test_a_mask_takes_part(chance):
    electrons, harmonics, weight, level, scale = case(chance, True, False)
    background = (level / scale).expand(RINGS, ANGLES)
    one, other = (
        density(electrons / scale, background, harmonics, share, level / scale)
        for share in (weight, torch.ones_like(weight))
    )
    assert abs(value(one, 1.0) - value(one, 2.0) - value(other, 1.0) + value(other, 2.0)) > 1


def test_more_noise_than_counting_makes_the_turn_less_certain(chance):
    electrons, harmonics, weight, level, scale = case(chance, False, False)
    background = (level / scale).expand(RINGS, ANGLES)
    once, twice = (
        density(electrons / scale, background, harmonics, weight / variance, level / scale)
        for variance in (1.0, 2.0)
    )
    torch.testing.assert_close(once, 2 * twice)


def test_what_is_fixed_to_the_detector_is_taken_off(chance):
    electrons, harmonics, weight, level, scale = case(chance, False, False)
    background = (level / scale).expand(RINGS, ANGLES)
    fixed = 0.5 * torch.cos(torch.arange(ANGLES).double() / ANGLES * 4 * math.pi).expand(
        RINGS, ANGLES
    )
    x = electrons / scale
    plain = density(x, background, harmonics, weight, level / scale)
    moved = density(x + fixed, background + fixed, harmonics, weight, level / scale)
    torch.testing.assert_close(moved, plain)
