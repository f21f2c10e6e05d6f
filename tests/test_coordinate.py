# SPDX-License-Identifier: GPL-3.0-or-later
"""The published model: its numbers by hand, on square pixels."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from py4dstem_rrvae.detector.bins import Detector, SquareGrid, center_of_mass
from py4dstem_rrvae.detector.transform import BinTransform
from py4dstem_rrvae.model.coordinate import CoordinateRRVAE, turned_back

SIZE, DIM = 10, 2


def new_model(seed=0, size=SIZE, **options):
    torch.manual_seed(seed)
    model = CoordinateRRVAE(
        DIM,
        torch.ones(size, size),
        torch.full((size,), float(size)),
        **{"angle_prior": 0.1, "noise": "learned"} | options,
    )
    return model.eval()


@pytest.fixture
def patterns():
    return torch.from_numpy(np.random.default_rng(0).normal(3.0, 2.0, (40, SIZE, SIZE))).float()


@pytest.fixture
def model(patterns):
    model = new_model()
    model.initialise(patterns, "mean")
    return model


# Square bins


@pytest.mark.parametrize(
    ("center", "n", "rows"), [((7.5, 7.5), 16, (0, 16)), ((7.5, 4.5), 10, (3, 13))]
)
def test_pixels_that_are_the_bins_already_are_left_alone(center, n, rows):
    frames = np.random.default_rng(0).poisson(9.0, (3, 16, 16)).astype(np.uint16)
    detector = Detector((16, 16), center, np.eye(2))
    grid = SquareGrid.for_detector(detector)
    assert grid.shape == (n, n)
    binned = BinTransform(detector, grid)(frames).numpy()
    np.testing.assert_allclose(binned, frames[:, slice(*rows), :n], atol=1e-5)


def test_larger_bins_keep_every_count():
    frames = np.random.default_rng(0).poisson(9.0, (2, 16, 16))
    detector = Detector((16, 16), (7.5, 7.5), np.eye(2))
    binned = BinTransform(detector, SquareGrid(8.0, 8))(frames).numpy()
    np.testing.assert_allclose(binned, frames.reshape(2, 8, 2, 8, 2).sum(axis=(2, 4)), atol=1e-4)


def test_a_large_detector_gets_64_bins_a_side():
    detector = Detector((256, 256), (127.5, 127.5), np.eye(2))
    assert SquareGrid.for_detector(detector).shape == (64, 64)


def test_unequal_pixels_become_square():
    """A disc that is round in q is round in the bins."""
    matrix = np.diag([1.0, 0.5])
    detector = Detector((24, 48), (11.5, 23.5), matrix)
    index = np.moveaxis(np.indices((24, 48)), 0, -1) - detector.center
    disc = (np.linalg.norm(index @ matrix.T, axis=-1) < 8).astype(float)
    binned = BinTransform(detector, SquareGrid.for_detector(detector))(disc[None])[0]
    np.testing.assert_allclose(binned, binned.T, atol=0.51)
    spread = [float((binned.sum(dim=d) > 1).sum()) for d in (0, 1)]
    assert spread[0] == pytest.approx(spread[1], abs=2)


def test_the_centre_of_mass_is_in_units_of_q():
    grid = SquareGrid(3.0, 6)
    binned = torch.zeros(1, 6, 6)
    binned[0, 5, 0] = 4.0
    assert complex(center_of_mass(binned, grid)[0]) == pytest.approx(2.5 - 2.5j)


# The decoder


def test_places_turn_from_the_row_axis_towards_the_column_axis():
    theta = 0.3
    ahead = torch.tensor([[math.cos(theta), math.sin(theta)]])
    back = turned_back(ahead, torch.tensor([theta]))[0]
    torch.testing.assert_close(back, torch.tensor([[1.0, 0.0]]))


def test_a_quarter_turn_of_the_decoded_pattern_is_exact(model):
    z = torch.randn(3, DIM)
    zero, quarter = (model.decode(z, torch.full((3,), t)) for t in (0.0, math.pi / 2))
    expected = torch.rot90(zero, -1, (2, 1))
    torch.testing.assert_close(quarter, expected, atol=1e-4, rtol=1e-4)
    grid = SquareGrid(1.0, SIZE)
    before, after = (center_of_mass(p - p.min(), grid) for p in (zero, quarter))
    torch.testing.assert_close((after / before).imag.sign(), torch.ones(3))


def test_patterns_are_decoded_the_same_in_parts(model):
    z, theta = torch.randn(150, DIM), torch.randn(150)
    torch.testing.assert_close(
        model.expected(z, theta), model.background + model.decode(z, theta), atol=1e-5, rtol=1e-5
    )


# Preprocessing and loss


def test_unit_noise_sees_the_range_as_0_to_1(patterns):
    model = new_model(noise="unit")
    model.initialise(patterns, "mean")
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.encode(patterns)
    assert (seen[0].min(), seen[0].max()) == pytest.approx((0, 1), abs=1e-5)
    less_mean = patterns - patterns.mean(dim=0)
    expected = (less_mean - less_mean.min()) / (less_mean.max() - less_mean.min())
    torch.testing.assert_close(seen[0], expected.flatten(1), atol=1e-5, rtol=1e-5)


def test_learned_noise_sees_unit_signal(model, patterns):
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.encode(patterns)
    assert seen[0].square().mean() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("width", [0.1, math.pi / 2])
def test_the_loss_is_the_published_one(patterns, width):
    """Sum of squares over two, and KL divergences of Gaussians, the turn's about its own mean."""
    model = new_model(noise="unit", angle_prior=width)
    model.initialise(patterns, "mean")
    noise = torch.randn(len(patterns), 1 + DIM)
    with torch.no_grad():
        log_likelihood, kl = model.elbo_terms(patterns, noise)
        less_mean = patterns - patterns.mean(dim=0)
        low, high = less_mean.min(), less_mean.max()
        x = (less_mean - low) / (high - low)
        mean, log_std = model.encoder(x.flatten(1))
        sample = mean + noise * log_std.exp()
        decoded = model.decoder(turned_back(model.points, sample[:, 0]), sample[:, 1:])
        squares = 0.5 * (x.flatten(1) - decoded).square().sum(dim=1)
        turn, latents = Normal(0, log_std[:, 0].exp()), Normal(mean[:, 1:], log_std[:, 1:].exp())
        turn_kl = kl_divergence(turn, Normal(0, width))
        latent_kl = kl_divergence(latents, Normal(0, 1))
    # Densities of patterns in other units differ by a constant.
    units = x[0].numel() * (0.5 * math.log(2 * math.pi) + math.log(high - low))
    torch.testing.assert_close(log_likelihood + units, -squares - turn_kl, atol=0.05, rtol=1e-4)
    torch.testing.assert_close(kl, latent_kl, atol=1e-4, rtol=1e-4)


def test_only_learned_noise_follows_the_residual(patterns):
    for noise, follows in (("learned", True), ("unit", False)):
        model = new_model(noise=noise)
        model.initialise(patterns, "mean")
        before = model.noise_variance.clone()
        model.train()
        model.elbo_terms(patterns, torch.zeros(len(patterns), 1 + DIM))
        assert bool(model.noise_variance != before) is follows


def test_a_radial_start_is_the_mean_over_rings():
    model = new_model(size=21)
    places = model.points.unflatten(0, (21, 21))
    radius, angle = places.norm(dim=-1), torch.atan2(places[..., 1], places[..., 0])
    ring = (radius < 0.9) * (1 - radius)
    patterns = (ring * (1 + 0.5 * torch.cos(3 * angle)))[None].repeat(3, 1, 1)
    model.initialise(patterns, "radial")
    inside = (radius > 0.1) & (radius < 0.8)
    torch.testing.assert_close(model.background[inside], ring[inside], atol=0.03, rtol=0.05)


def test_masked_pixels_have_no_say(patterns):
    weight = torch.ones(SIZE, SIZE)
    weight[2, 3] = 0
    torch.manual_seed(0)
    model = CoordinateRRVAE(DIM, weight, weight.sum(dim=1), 0.1, "learned").eval()
    model.initialise(patterns, "mean")
    spoiled = patterns.clone()
    spoiled[:, 2, 3] = 1e4
    one, other = model.infer(patterns), model.infer(spoiled)
    for name in ("z", "angle", "error", "fold"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), equal_nan=True)
    assert model.bin_noise()[2, 3] == 0


# What is reported


def test_measured_noise_makes_the_error_one(model, patterns):
    model.measure_noise(patterns)
    assert model.infer(patterns).error.square().mean() == pytest.approx(1, rel=1e-4)


def test_latents_are_renumbered_throughout(model, patterns):
    z, theta = model.encode(patterns)[0], torch.zeros(len(patterns))
    decoded = model.decode(z, theta)
    model.order_latents(torch.tensor([1, 0]))
    renumbered = model.encode(patterns)[0]
    torch.testing.assert_close(renumbered, z.flip(-1))
    torch.testing.assert_close(model.decode(renumbered, theta), decoded)


class Lobes(torch.nn.Module):
    """In place of a decoder: lobes whose number is known."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, places, z):
        rows, cols = places.unbind(-1)
        ring = torch.exp(-0.5 * ((torch.hypot(rows, cols) - 0.5) / 0.15).square())
        return ring * (1 + torch.cos(self.number * torch.atan2(cols, rows))).expand(len(z), -1)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6, 0])
def test_the_fold_is_that_of_decoded_and_data(number):
    model = new_model(size=32)
    model.decoder = Lobes(number)
    model.scale.fill_(10.0)
    theta = torch.linspace(0, 2 * math.pi, 20)
    clean = model.expected(torch.zeros(20, DIM), theta)
    torch.manual_seed(1)
    residual = torch.randn(clean.shape)
    folds, _ = model._fold(torch.zeros(20, DIM), theta, residual)
    assert folds.tolist() == [number] * 20
    # Data without the lobes: what is decoded then stays in the residual, with the other sign.
    absent = clean.mean(dim=0) - clean + residual
    folds, reliability = model._fold(torch.zeros(20, DIM), theta, absent)
    assert folds.tolist() == reliability.tolist() == [0] * 20


def test_square_bins_lie_in_no_rings_and_are_not_made_even():
    rng = np.random.default_rng(0)
    detector = Detector((24, 24), (11.5, 11.5), np.eye(2))
    grid = SquareGrid.for_detector(detector)
    frames = rng.poisson(5.0, (10, 24, 24)).astype(float)
    plain = BinTransform(detector, grid)
    known = plain.knowing(plain.fine_mean(frames.mean(axis=0)), 0.0)
    torch.testing.assert_close(known(frames), plain(frames))
