# SPDX-License-Identifier: GPL-3.0-or-later
"""The generative model against brute force, and what it adopts, measures and infers."""

import copy
import math

import numpy as np
import pytest
import torch
from estimators import rendered, scan_of

from py4dstem_rrvae import synthetic
from py4dstem_rrvae.detector.bins import Detector, PolarGrid
from py4dstem_rrvae.detector.transform import BinTransform
from py4dstem_rrvae.model.architectures import Recipe
from py4dstem_rrvae.model.base import LatentModel, kl_divergence
from py4dstem_rrvae.model.rrvae import DRIFT_STEP

GRID = PolarGrid(11.0, 6, 32)
ANGLES = 2 * math.pi * torch.arange(32, dtype=torch.float64) / 32
# Between bins as well as on them: the likelihood once was right on bins alone.
TURNS = torch.tensor([0.0, 0.05, 0.098, 1.0, math.pi / 2, 2.7, 4.0, 6.2], dtype=torch.float64)


def mask_of(kind):
    mask = np.ones((24, 24), dtype=bool)
    if kind == "masked":
        mask[:13, 10:13] = False
        mask[5, 17] = False
    return mask


def new_model(kind="plain", latent_dim=3, mirror=False):
    """Untrained, in float64, with every number that a formula could drop set to its own value.

    All bins of a ring have one variance.
    """
    detector = Detector((24, 24), (11.5, 11.5), np.eye(2), mask_of(kind))
    transform = BinTransform(detector, GRID)
    recipe = Recipe(latent_dim, mirror=mirror, intensity="sqrt")
    model = recipe.build(transform.weight, transform.dof).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.background.copy_(torch.randn(GRID.shape, generator=generator))
        model.noise_variance.copy_(torch.linspace(0.5, 2.0, 6))
        model.scale.fill_(7.0)
    return model


def normal(*shape, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def turned_in_real_space(harmonics, theta):
    """Patterns (B, R, A) at the turn theta, by the sum over the orders in every bin."""
    order = torch.arange(harmonics.shape[-1], dtype=torch.float64)
    waves = torch.exp(1j * order[:, None] * (ANGLES - theta))
    count = torch.where(order == 0, 1.0, 2.0)
    return ((harmonics * count) @ waves).real / math.sqrt(len(ANGLES))


def density_in_real_space(model, x, harmonics, theta):
    residual = x - model.background - turned_in_real_space(harmonics, theta)
    squared = model.weight * residual.square() / model.noise_variance[:, None]
    return -0.5 * squared.sum(dim=(1, 2))


def value(coefficients, theta):
    order = torch.arange(1, coefficients.shape[-1], dtype=torch.float64)
    waves = coefficients[:, 1:] * torch.exp(1j * order * theta)
    return coefficients[:, 0].real + 2 * waves.real.sum(dim=-1)


@pytest.mark.parametrize("kind", ["plain", "masked"])
def test_log_density_is_the_weighted_residual_at_every_turn(kind):
    model, x = new_model(kind), normal(4, *GRID.shape)
    with torch.no_grad():
        harmonics = model.decode(normal(4, 3))
        constant, turned = model.log_density(x, harmonics)
        for theta in TURNS:
            want = density_in_real_space(model, x, harmonics, theta)
            np.testing.assert_allclose(constant + value(turned, theta), want, rtol=1e-10)
            assert want.std() > 0.1


def test_mask_takes_part_in_the_density():
    x, z = normal(4, *GRID.shape), normal(4, 3)
    with torch.no_grad():
        plain, masked = (m.log_density(x, m.decode(z)) for m in (new_model(), new_model("masked")))
    assert ((plain[0] - masked[0]).abs() > 1).all()
    assert (value(plain[1], 1.0) - value(masked[1], 1.0)).abs().max() > 0.1


def test_masked_bins_do_not_matter():
    model, x, z = new_model("masked"), normal(4, *GRID.shape), normal(4, 3)
    other = torch.where(model.weight > 0, x, 1e3)
    assert not torch.equal(x, other)
    for name in ("z", "z_std", "angle", "angle_std", "error"):
        np.testing.assert_allclose(
            getattr(model.infer(x), name), getattr(model.infer(other), name), rtol=1e-9
        )
    with torch.no_grad():
        np.testing.assert_allclose(
            model.log_likelihood(x, model.decode(z)), model.log_likelihood(other, model.decode(z))
        )


def test_set_weight_makes_the_model_of_another_mask():
    model, masked, x, z = new_model(), new_model("masked"), normal(4, *GRID.shape), normal(4, 3)
    model.set_weight(masked.weight, masked.dof)
    with torch.no_grad():
        np.testing.assert_array_equal(
            model.log_likelihood(x, model.decode(z)), masked.log_likelihood(x, masked.decode(z))
        )


@pytest.mark.parametrize("scale", [0.7, 7.0], ids=["wide", "narrow"])
@pytest.mark.parametrize("kind", ["plain", "masked"])
def test_marginal_likelihood_against_quadrature(kind, scale):
    model, z = new_model(kind), normal(4, 3)
    model.scale.fill_(scale)
    with torch.no_grad():
        harmonics = model.decode(z)
        x = model.expected(z, torch.tensor([0.0, 1.0, 2.03, 3.3], dtype=torch.float64))
        x = x + normal(*x.shape)
        turns = 2 * math.pi * torch.arange(2048) / 2048
        values = torch.stack([density_in_real_space(model, x, harmonics, t) for t in turns])
        want = torch.logsumexp(values, dim=0) - math.log(2048)
        want = want - 0.5 * (model.dof * (2 * math.pi * model.noise_variance).log()).sum()
        np.testing.assert_allclose(model.log_likelihood(x, model.decode(z)), want, atol=0.02)
    assert (values.max(dim=0).values - values.mean(dim=0)).min() > 0.1


def test_expected_is_the_background_and_the_turned_pattern():
    model, z = new_model(), normal(1, 3)
    with torch.no_grad():
        for theta in TURNS:
            got = model.expected(z, theta[None])
            want = model.background + turned_in_real_space(model.decode(z), theta)
            np.testing.assert_allclose(got, want, atol=1e-12)


def test_kl_divergence_against_torch():
    mean, log_variance = normal(5, 3), normal(5, 3, seed=3)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
    want = torch.distributions.kl_divergence(posterior, prior)
    np.testing.assert_allclose(kl_divergence(mean, log_variance), want, rtol=1e-12)


@pytest.mark.parametrize("kind", ["plain", "masked"])
def test_every_parameter_gets_a_finite_gradient(kind):
    model = new_model(kind).train()
    log_likelihood, kl = model.elbo_terms(normal(8, *GRID.shape), normal(8, 3))
    (kl.sum() - log_likelihood.sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_gradient_of_the_likelihood_is_its_slope():
    model, x, z = new_model(), normal(4, *GRID.shape), normal(4, 3).requires_grad_()
    model.scale.fill_(0.7)
    assert torch.autograd.gradcheck(
        lambda z: model.log_likelihood(x, model.decode(z)), z, atol=1e-2
    )


def test_latents_switched_off_are_standard_normal_and_do_not_reach_the_pattern():
    model, x, noise = new_model(), normal(4, *GRID.shape), normal(4, 3)
    model.kept.copy_(torch.tensor([1.0, 0.0, 1.0]))
    found = model.infer(x)
    assert (found.z[:, 1] == 0).all() and (found.z_std[:, 1] == 1).all()
    assert (found.z[:, [0, 2]] != 0).all()
    with torch.no_grad():
        one, _ = model.elbo_terms(x, noise)
        noise[:, 1] += 3.0
        other, kl = model.elbo_terms(x, noise)
    np.testing.assert_array_equal(one, other)
    assert (kl[:, 1] == 0).all()


class Turning(torch.nn.Module):
    """Decoder of one pattern, turned by 0.3 times the first latent and scaled by the second."""

    def __init__(self, harmonics):
        super().__init__()
        self.harmonics = harmonics

    def forward(self, z, scale):
        phase = -0.3 * z[:, :1] * torch.arange(self.harmonics.shape[-1])
        return scale * self.harmonics * (torch.exp(1j * phase) * (1 + 0.2 * z[:, 1:2]))[:, None]


def test_a_decoder_that_turns_its_pattern_as_z_moves_pays_for_it():
    harmonics = torch.complex(normal(6, 16), normal(6, 16, seed=3))
    harmonics = harmonics * torch.exp(-torch.arange(16) / 3)
    model = new_model()
    model.decoder, z = Turning(harmonics), torch.zeros(2, 3, dtype=torch.float64)
    step = DRIFT_STEP * torch.eye(3, dtype=torch.float64)[:2]
    here, there = model.decode(z), model.decode(z + step)
    turning, scaling = model._drift(here, there - here)
    # What a turn by 0.3 costs: half the Fisher information of the turn, times 0.3 squared.
    slope = torch.arange(16) * harmonics.abs() * model.scale
    cost = 0.3**2 * slope.square().sum() / model.noise_variance.mean()
    assert turning.item() == pytest.approx(cost.item(), rel=0.01)
    assert scaling.item() == pytest.approx(0, abs=1e-9)


def test_shift_by_two_bins_changes_no_latent():
    model, x = new_model(), normal(8, *GRID.shape)
    with torch.no_grad():
        model.background.zero_()
        np.testing.assert_allclose(model.encode(x.roll(2, -1))[0], model.encode(x)[0], atol=1e-12)
        assert (model.encode(x.roll(1, -1))[0] - model.encode(x)[0]).abs().max() > 1e-6


def test_renumbering_the_latents_permutes_z_and_nothing_else():
    model, x = new_model(), normal(8, *GRID.shape)
    model.kept.copy_(torch.tensor([1.0, 1.0, 0.0]))
    before, order = model.infer(x), torch.tensor([2, 0, 1])
    with torch.no_grad():
        pattern = model.decode(before.z)
        model.order_latents(order)
        after = model.infer(x)
        np.testing.assert_allclose(after.z, before.z[:, order], atol=1e-12)
        np.testing.assert_allclose(after.z_std, before.z_std[:, order], atol=1e-12)
        np.testing.assert_allclose(model.decode(before.z[:, order]), pattern, atol=1e-12)
    np.testing.assert_allclose(after.angle, before.angle, atol=1e-9)


def test_adopting_a_scan_of_few_turns_does_not_take_the_patterns_for_background(trained):
    frames = np.concatenate([rendered(fold, np.full(100, 0.4)) for fold in (2, 3, 6)])
    scan = synthetic.Patterns(np.random.default_rng(0).poisson(frames), *[None] * 5)
    model, x = scan_of(trained, scan)
    want = model.infer(x)
    model.adopt_scan(x, "auto")
    assert (model.infer(x).z - want.z).abs().median() < 0.05 * want.z.std()
    model.adopt_scan(x, "mean")
    assert (model.infer(x).z - want.z).abs().median() > 0.4 * want.z.std()


def test_adopting_the_scan_trained_on_changes_little(trained, lobes):
    model, x = scan_of(trained, lobes)
    before = model.infer(x)
    model.adopt_scan(x, "auto")
    after = model.infer(x)
    assert (before.z - after.z).abs().median() < 0.05 * before.z.std()
    assert after.error.mean().item() == pytest.approx(before.error.mean().item(), rel=0.05)


def test_choices_of_background():
    x = normal(20, *GRID.shape) + torch.linspace(0, 5, 32)
    rings = x.mean(dim=(0, 2))[:, None].expand(GRID.shape)
    for background, want in [
        (None, torch.zeros(6, 32)),
        ("mean", x.mean(dim=0)),
        ("auto", rings),
        ("radial", rings),
    ]:
        model = new_model()
        model.initialise(x, background)
        np.testing.assert_allclose(model.background.detach(), want, atol=1e-12)


@pytest.mark.parametrize("kind", ["plain", "masked"])
def test_noise_is_measured_ring_by_ring(kind):
    model, sigma = new_model(kind), torch.linspace(0.5, 2.0, 6).double()
    with torch.no_grad():
        # A decoder of one pattern, so that the noise alone is left.
        model.decoder.input.weight.zero_()
        theta = 2 * math.pi * torch.arange(400).double() / 400
        x = model.expected(torch.zeros(400, 3).double(), theta)
        scatter = torch.where(model.weight > 0, model.weight.clamp(min=1e-9).rsqrt(), 0.0)
        x = x + sigma[:, None] * scatter * normal(*x.shape)
    model.measure_noise(x)
    # `dof` counts independent bins; here all that the mask leaves are.
    independent = (model.weight > 0).sum(dim=1) / model.dof
    np.testing.assert_allclose(model.noise_variance, sigma.square() * independent, rtol=0.1)


def test_error_is_one_where_the_model_explains_the_pattern(trained, unseen):
    model, x = scan_of(trained, unseen)
    assert model.infer(x).error.square().mean().sqrt().item() == pytest.approx(1.0, abs=0.1)
    assert (model.infer(x.roll(3, dims=1)).error > 1.5).float().mean() > 0.9


def test_building_a_model_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    new_model()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_model_follows_from_its_seed():
    detector = Detector((24, 24), (11.5, 11.5), np.eye(2))
    transform = BinTransform(detector, GRID)
    one, same, other = (
        Recipe(2).build(transform.weight, transform.dof, seed).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["decoder.input.weight"], other["decoder.input.weight"])


def test_inference_changes_no_weight(trained, unseen):
    model = trained.fitted_.model
    before = copy.deepcopy(model.state_dict())
    codes = trained.encode(unseen.frames)
    trained.encode(unseen.frames, background="refit")
    trained.reconstruct(codes)
    after = model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_other_architectures_must_keep_the_contract():
    x, model = torch.zeros(1), LatentModel(1, torch.ones(1, 1), torch.ones(1), torch.ones(()))
    calls = {
        "initialise": (x, None),
        "elbo_terms": (x, x),
        "measure_noise": (x,),
        "adopt_scan": (x, None),
        "encode": (x,),
        "expected": (x, x),
        "infer": (x,),
    }
    for name, arguments in calls.items():
        with pytest.raises(NotImplementedError):
            getattr(model, name)(*arguments)
