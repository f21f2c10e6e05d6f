# SPDX-License-Identifier: GPL-3.0-or-later
"""The model that takes a pattern and its mirror image for one, against sums over bins."""

import math

import numpy as np
import pytest
import torch
from test_model import (
    GRID,
    TURNS,
    Turning,
    density_in_real_space,
    new_model,
    normal,
    turned_in_real_space,
)

from py4dstem_rrvae.detector.bins import Detector, PolarGrid
from py4dstem_rrvae.detector.transform import BinTransform
from py4dstem_rrvae.model import angle, evidence
from py4dstem_rrvae.model.networks import mirror_image
from py4dstem_rrvae.model.rrvae import DRIFT_STEP

KINDS = pytest.mark.parametrize("kind", ["plain", "masked"])


def mirrored(x):
    """Patterns (..., A) at minus the angle, bin by bin."""
    return x[..., [-k % x.shape[-1] for k in range(x.shape[-1])]]


def mirror_model(kind="plain", scale=7.0, background=True):
    model = new_model(kind, mirror=True)
    model.scale.fill_(scale)
    if not background:
        with torch.no_grad():
            model.background.zero_()
    return model


def densities(model, x, harmonics, n=2048):
    """Log-densities (2, n, B) of both hands at n turns, by sums over bins."""
    turns = 2 * math.pi * torch.arange(n) / n
    plain = [density_in_real_space(model, x, harmonics, t) for t in turns]
    twin = []
    for t in turns:
        residual = x - model.background - mirrored(turned_in_real_space(harmonics, -t))
        squared = model.weight * residual.square() / model.noise_variance[:, None]
        twin.append(-0.5 * squared.sum(dim=(1, 2)))
    return torch.stack([torch.stack(plain), torch.stack(twin)])


def noisy(model, z, seed=2):
    """Patterns of latents (4, d) at four turns, two of them mirrored, with unit noise."""
    hand, theta = torch.tensor([0, 1, 0, 1]) > 0, torch.tensor([0.0, 1.0, 2.03, 3.3]).double()
    with torch.no_grad():
        x = model.expected(z, theta, hand)
    return x + normal(*x.shape, seed=seed)


# Mirror images


def test_a_mirrored_detector_gives_the_mirrored_bins():
    frames = np.random.default_rng(0).poisson(5.0, (4, 24, 24))
    transform = BinTransform(Detector((24, 24), (11.5, 11.5), np.eye(2)), PolarGrid(12.0, 6, 32))
    np.testing.assert_allclose(
        transform(frames[:, :, ::-1]), mirror_image(transform(frames)), rtol=1e-5, atol=1e-4
    )


def test_expected_is_the_mirrored_pattern_turned():
    model, z = mirror_model(), normal(1, 3)
    with torch.no_grad():
        for theta in TURNS:
            got = model.expected(z, theta[None], torch.tensor([True]))
            turned = mirrored(turned_in_real_space(model.decode(z), -theta))
            np.testing.assert_allclose(got, model.background + turned, atol=1e-12)
            plain = model.expected(z, theta[None], torch.tensor([False]))
            np.testing.assert_array_equal(plain, model.expected(z, theta[None]))


# The encoder


def twin_move(model, x):
    """Largest difference in mean or log-variance of z between patterns and their mirror images."""
    with torch.no_grad():
        pairs = zip(model.encode(x), model.encode(mirrored(x)), strict=True)
        return max((one - other).abs().max().item() for one, other in pairs)


@pytest.mark.parametrize("background", [0.0, 1.0], ids=["none", "symmetric"])
def test_a_pattern_and_its_mirror_image_have_one_z(background):
    x, symmetric = normal(8, *GRID.shape), normal(*GRID.shape, seed=5)
    for model, same in ((mirror_model(), True), (new_model(), False)):
        with torch.no_grad():
            model.background.copy_(background * (symmetric + mirrored(symmetric)))
        assert (twin_move(model, x) < 1e-12) == same
        assert same or twin_move(model, x) > 1e-3


def test_turns_and_other_mirrors_leave_z():
    model, x = mirror_model(background=False), normal(8, *GRID.shape)
    with torch.no_grad():
        z = model.encode(x)[0]
        for other in (x.roll(6, -1), mirrored(x).roll(8, -1), x.flip(-1).roll(-1, -1)):
            np.testing.assert_allclose(model.encode(other)[0], z, atol=1e-12)
        assert (model.encode(x.flip(-2))[0] - z).abs().max() > 1e-3


# The likelihood


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2.0, 7.0], ids=["wide", "narrow"])
@KINDS
def test_marginal_likelihood_against_quadrature_over_both_hands(kind, scale):
    model, z = mirror_model(kind, scale), normal(4, 3)
    x = noisy(model, z)
    with torch.no_grad():
        values = densities(model, x, model.decode(z))
        want = torch.logsumexp(values.flatten(0, 1), dim=0) - math.log(2 * 2048)
        want = want - 0.5 * (model.dof * (2 * math.pi * model.noise_variance).log()).sum()
        np.testing.assert_allclose(model.log_likelihood(x, model.decode(z)), want, atol=0.02)
    # One hand alone, or the twin under the other's mask, would be off by more than is allowed.
    hands = torch.logsumexp(values, dim=1)
    assert (hands[0] - hands[1]).abs().max() > 0.5


@KINDS
def test_mirror_image_is_as_likely_as_the_pattern(kind):
    model, z = mirror_model(kind, background=False), normal(4, 3, seed=7)
    x = noisy(model, z)
    with torch.no_grad():
        want = model.log_likelihood(x, model.decode(z))
        if kind == "masked":
            assert (model.log_likelihood(mirrored(x), model.decode(z)) - want).abs().min() > 0.1
        model.set_weight(mirrored(model.weight), model.dof)
        np.testing.assert_allclose(
            model.log_likelihood(mirrored(x), model.decode(z)), want, rtol=1e-12
        )


def test_background_is_not_mirrored():
    model, z = mirror_model(), normal(4, 3)
    x = noisy(model, z)
    other = model.background + mirrored(x - model.background)
    with torch.no_grad():
        want = model.log_likelihood(x, model.decode(z))
        np.testing.assert_allclose(model.log_likelihood(other, model.decode(z)), want, rtol=1e-12)
        assert (model.log_likelihood(mirrored(x), model.decode(z)) - want).abs().min() > 0.1


@KINDS
def test_every_parameter_gets_a_finite_gradient(kind):
    model = mirror_model(kind).train()
    log_likelihood, kl = model.elbo_terms(normal(8, *GRID.shape), normal(8, 3))
    (kl.sum() - log_likelihood.sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_gradient_of_the_likelihood_is_its_slope():
    model, z = mirror_model(scale=0.7), normal(4, 3)
    x = noisy(model, z)
    z.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: model.log_likelihood(x, model.decode(z)), z, atol=1e-2
    )


# Handedness and angle


@KINDS
def test_handedness_against_quadrature(kind, monkeypatch):
    monkeypatch.setattr(angle, "DETECTABLE", 0.0)
    model = mirror_model(kind, scale=2.0)
    x = noisy(model, normal(4, 3, seed=7))
    found = model.infer(x)
    with torch.no_grad():
        plain, twin = torch.logsumexp(densities(model, x, model.decode(found.z)), dim=1)
    np.testing.assert_allclose(found.handedness, torch.sigmoid(twin - plain), atol=0.01)
    assert found.handedness.std() > 0.1


def test_codes_of_the_mirror_image(monkeypatch):
    # An untrained decoder has little to do with the data, which would leave the angle undefined.
    monkeypatch.setattr(angle, "DETECTABLE", 0.0)
    monkeypatch.setattr(angle, "EVIDENCE", -math.inf)
    monkeypatch.setattr(evidence, "undirected", lambda _, over_fixed: over_fixed > math.inf)
    model = mirror_model(scale=1.0, background=False)
    x = noisy(model, normal(4, 3, seed=7))
    one, other = model.infer(x), model.infer(mirrored(x))
    np.testing.assert_allclose(other.handedness, 1 - one.handedness, atol=1e-9)
    assert (one.handedness - 0.5).abs().min() > 1e-3
    for name in ("z", "z_std", "angle_std", "fold", "error", "reliability"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-7, atol=1e-12)
    around = torch.remainder(one.angle + other.angle + 1, 2 * math.pi) - 1
    np.testing.assert_allclose(around, torch.zeros(4), atol=1e-9)


def one_pattern(model, harmonics):
    """Let the model decode one pattern, whatever the latent."""
    model.decoder = Turning(harmonics)
    model.kept.zero_()
    return model


def chiral_harmonics(seed=2):
    harmonics = torch.complex(normal(6, 16, seed=seed), normal(6, 16, seed=seed + 1))
    harmonics[:, 0] = 3
    return harmonics * torch.exp(-torch.arange(16) / 3)


def achiral_harmonics(line=0.4):
    """Of one pattern that is its own mirror image about a line."""
    return chiral_harmonics().real * torch.exp(-1j * line * torch.arange(16).double())


def at_turns(model, n=200, noise=0.0):
    """Patterns at n turns, every other one mirrored: (x, theta, whether mirrored)."""
    theta = 2 * math.pi * torch.arange(n).double() / n
    hand = torch.arange(n) % 2 > 0
    with torch.no_grad():
        x = model.expected(torch.zeros(n, 3).double(), theta, hand)
    return x + noise * normal(*x.shape), theta, hand


@KINDS
def test_hand_and_turn_of_a_chiral_pattern(kind):
    model = one_pattern(mirror_model(kind), chiral_harmonics())
    x, theta, hand = at_turns(model)
    found = model.infer(x)
    np.testing.assert_allclose(found.handedness, hand.double(), atol=1e-6)
    assert torch.equal(found.mirrored, hand)
    around = torch.remainder(found.angle - theta + 1, 2 * math.pi) - 1
    np.testing.assert_allclose(around, torch.zeros(200), atol=1e-3)
    np.testing.assert_allclose(found.error, torch.zeros(200), atol=1e-2)


@KINDS
def test_hands_of_an_achiral_pattern_are_as_likely(kind):
    model = one_pattern(mirror_model(kind), achiral_harmonics())
    x, _, _ = at_turns(model, noise=1.0)
    harmonics = model.decode(torch.zeros(200, 3).double())
    with torch.no_grad():
        plain, twin = model._log_evidence(x, harmonics)
    np.testing.assert_allclose(twin - plain, torch.zeros(200), atol=0.02)
    found = model.infer(x)
    assert (found.handedness == 0.5).all() and not found.mirrored.any()


def test_angle_of_an_achiral_pattern_is_the_one_without_mirror():
    model, plain = (one_pattern(m, achiral_harmonics()) for m in (mirror_model(), new_model()))
    x, _, hand = at_turns(model, noise=1.0)
    np.testing.assert_array_equal(model.infer(x).angle, plain.infer(x).angle)
    # The mirror image is the pattern turned by twice the angle of its mirror line.
    _, theta, _ = at_turns(model)
    want = theta - 0.8 * hand
    around = torch.remainder(model.infer(x).angle - want + 1, 2 * math.pi) - 1
    assert around.abs().max() < 0.1


def odd_part(energy, line=0.4):
    """Angular harmonics odd about a line, with this energy in units of the noise."""
    odd = torch.zeros(1, 6, 16, dtype=torch.complex128)
    odd[0, 2, 3] = 1j * (energy / 2) ** 0.5
    return odd * torch.exp(-1j * line * torch.arange(16).double())


@pytest.mark.parametrize("scale", [30.0, 300.0])
def test_a_pattern_is_chiral_by_what_is_odd_about_its_mirror_line(scale):
    even = scale * achiral_harmonics()[None]
    assert angle.achiral(even).item()
    assert angle.achiral(even + odd_part(0.9 * angle.DETECTABLE)).item()
    assert not angle.achiral(even + odd_part(1.2 * angle.DETECTABLE)).item()


def test_what_has_no_angular_structure_is_achiral():
    assert angle.achiral(1e-3 * chiral_harmonics()[None]).item()
    assert not angle.achiral(1e3 * chiral_harmonics()[None]).item()


@pytest.mark.parametrize(("twist", "achiral"), [(0, True), (30, False), (60, True), (90, False)])
def test_two_rings_are_achiral_at_twists_that_a_mirror_repeats(twist, achiral):
    harmonics = torch.zeros(1, 2, 16, dtype=torch.complex128)
    harmonics[0, :, 3] = 30 * torch.exp(-3j * torch.tensor([0.2, 0.2 + math.radians(twist)]))
    assert angle.achiral(harmonics).item() == achiral


# What is estimated at the better hand


def known_noise(hands):
    """A model of one chiral pattern, with noise of its own in each ring."""
    model, sigma = mirror_model(), torch.linspace(0.5, 2.0, 6).double()
    one_pattern(model, chiral_harmonics())
    x, _, hand = at_turns(model, 400)
    x = x[hand] if hands == "mirrored" else x
    return model, x + sigma[:, None] * normal(*x.shape), sigma.square() * GRID.n_angular


@pytest.mark.parametrize("hands", ["both", "mirrored"])
def test_noise_is_what_the_better_hand_leaves(hands):
    model, x, squared = known_noise(hands)
    model.measure_noise(x)
    np.testing.assert_allclose(model.noise_variance * model.dof, squared, rtol=0.15)
    model.noise_variance.fill_(1.0)
    with torch.no_grad():
        for _ in range(60):
            model.train().log_likelihood(x, model.decode(torch.zeros(len(x), 3).double()))
    want = squared.sum() / model.dof.sum()
    np.testing.assert_allclose(model.noise_variance, want.expand(6), rtol=0.1)


def test_a_turning_decoder_pays_alike_for_either_hand():
    model, z = mirror_model(), torch.zeros(1, 3).double()
    costs = []
    for harmonics in (chiral_harmonics(), chiral_harmonics().conj()):
        model.decoder = Turning(harmonics)
        here, there = model.decode(z), model.decode(z + DRIFT_STEP * torch.eye(3).double()[:1])
        costs.append(model._drift(here, there - here).item())
    assert costs[0] == pytest.approx(costs[1], rel=1e-9) and costs[0] > 1
