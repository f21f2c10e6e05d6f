# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard deviations against noise drawn again and again."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks.uncertainty import (
    angle_deviations,
    confusion,
    coverage,
    deviations,
    rings,
    simulated,
    uneven,
)
from py4dstem_rrvae import RRVAE, simulate, synthetic
from py4dstem_rrvae.detector.intensity import Intensity
from py4dstem_rrvae.detector.transform import BinTransform
from py4dstem_rrvae.model.inference import Inference
from py4dstem_rrvae.model.widths import log_variance_layer
from py4dstem_rrvae.training.calibration import OUTER, _apart, _factor, calibrate, redraw

TWO = np.array([0.6827, 0.95])


def expected_lobes(truth, counts):
    shape, parameters = synthetic._lobed_ring, (truth.fold.astype(float), truth.deformation)
    return synthetic._expected(shape, truth.frames.shape[-1], counts, truth.angle, *parameters)


@pytest.mark.slow
def test_z_std_covers_the_scatter_over_noise_draws(trained, unseen):
    found = deviations(trained, expected_lobes(unseen, 3000)[:60], 50)
    for deviation in (*found.z.T, found.angle):
        np.testing.assert_allclose(coverage(deviation, TWO), TWO, atol=0.05)
        # Ranks say it of the whole distribution, and of either side.
        assert uneven(deviation) < 0.06
    assert found.changed < 0.01


def test_ranks_tell_a_bias_that_coverage_misses():
    normal = np.random.default_rng(0).normal(size=20_000)
    assert uneven(normal) < 0.02
    assert uneven(np.abs(normal)) > 0.4, "all on one side, and as often within each interval"
    assert uneven(2 * normal) > 0.1, "bars half as long as they should be"


def test_angle_std_covers_the_error(trained, unseen):
    deviation = angle_deviations(unseen, trained.encode(unseen.frames))
    np.testing.assert_allclose(coverage(deviation, TWO), TWO, atol=0.06)


def spoilt(trained):
    """A model that gives every pattern the same widths of z, far too small."""
    model = copy.deepcopy(trained.fitted_.model)
    model.spread.fill_(1.0)
    model.width_range.copy_(torch.tensor([-np.inf, np.inf])[:, None].expand(2, 2))
    with torch.no_grad():
        model.encoder.output.weight[model.latent_dim :] = 0.0
        model.encoder.output.bias[model.latent_dim :] = -9.0
    return model


def calibrated(trained, unseen, model):
    fitted = trained.fitted_
    transform = BinTransform(fitted.detector, fitted.grid, mean=fitted.mean)
    chance = torch.Generator().manual_seed(0)
    x = fitted.intensity(transform(unseen.frames))
    calibrate(model, x, lambda c, n: redraw(c, n, model, transform, fitted.intensity, chance))
    return model


def with_model(trained, model):
    estimator = copy.deepcopy(trained)
    estimator.fitted_ = replace(trained.fitted_, model=model)
    return estimator


@pytest.mark.slow
def test_widths_are_fitted_pattern_by_pattern(trained, unseen):
    expected = expected_lobes(unseen, 3000)[:60]
    before = spoilt(trained)
    wrong = deviations(with_model(trained, before), expected, 20).z
    assert np.abs(coverage(wrong, TWO) - TWO).max() > 0.1
    after = calibrated(trained, unseen, spoilt(trained))
    right = deviations(with_model(trained, after), expected, 20).z
    for one in right.T:
        # Of a short training, 20 draws of 60 patterns: 74 and 96 % at most.
        np.testing.assert_allclose(coverage(one, TWO), TWO, atol=0.07)
    x = torch.randn(50, *trained.fitted_.grid.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(after.encode(x)[0], before.encode(x)[0])


def test_calibration_forgets_an_earlier_one(trained, unseen):
    spreads = []
    for start in (1.0, 7.0):
        model = copy.deepcopy(trained.fitted_.model)
        model.spread.fill_(start)
        model.angle_spread.fill_(start)
        calibrated(trained, unseen, model)
        spreads.append((*model.spread.tolist(), model.angle_spread.item()))
    assert spreads[0] == spreads[1]
    assert spreads[0] != (1.0, 1.0, 1.0)


def test_layer_of_widths_finds_those_that_the_squares_were_drawn_from():
    rng = torch.Generator().manual_seed(0)
    features = 3 + 0.5 * torch.randn(20_000, 4, generator=rng)
    weight = torch.tensor([[1.0, 0.0, -0.5, 0.0], [0.0, 0.3, 0.0, 0.8]])
    truth = features @ weight.T - 5
    squares = truth.exp() * torch.randn(20_000, 2, generator=rng).square()
    found, bias = log_variance_layer(features, squares)
    np.testing.assert_allclose(features @ found.T + bias, truth, atol=0.2)


def test_layer_of_widths_takes_a_latent_that_never_moves():
    features = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    weight, bias = log_variance_layer(features, torch.zeros(200, 2))
    assert torch.isfinite(weight).all() and torch.isfinite(bias).all()
    assert (features @ weight.T + bias < -20).all()


def test_a_feature_that_hardly_varied_decides_nothing():
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(2000, 3, generator=rng) * torch.tensor([1.0, 1.0, 1e-4])
    squares = torch.exp(features[:, :1]) * torch.randn(2000, 1, generator=rng).square()
    weight, _ = log_variance_layer(features, squares)
    assert weight[0, 0] == pytest.approx(1.0, abs=0.15)
    assert abs(weight[0, 2]) < 1.0


def test_widths_stay_within_those_that_were_fitted(trained):
    model = copy.deepcopy(trained.fitted_.model)
    strange = 50 * torch.randn(200, *trained.fitted_.grid.shape)
    low, high = ((0.5 * w).exp() * model.spread for w in model.width_range)
    std = model.infer(strange).z_std
    assert (std >= low * 0.999).all() and (std <= high * 1.001).all()
    model.width_range[0], model.width_range[1] = -np.inf, np.inf
    assert (model.infer(strange).z_std > high).any() or (model.infer(strange).z_std < low).any()


def test_one_factor_shares_out_what_it_cannot_mend():
    normal = torch.randn(40_000, generator=torch.Generator().manual_seed(0)).abs()
    assert _factor(1.7 * normal).item() == pytest.approx(1.7, rel=0.02)
    # Half of the patterns are judged three times too narrow.
    tails = torch.cat([normal, 3 * normal])
    shares = coverage((tails / _factor(tails)).numpy(), TWO) - TWO
    assert shares[0] == pytest.approx(-OUTER * shares[1], abs=0.01)
    assert shares[0] > 0.01


@pytest.mark.parametrize("brightness", [0.1, 1.0, 20.0])
def test_redrawn_patterns_are_counted_ones(trained, brightness):
    fitted, chance = trained.fitted_, torch.Generator().manual_seed(0)
    transform = BinTransform(fitted.detector, fitted.grid, mean=fitted.mean)
    counted = np.random.default_rng(0).poisson(np.full((400, 32, 32), brightness))
    one = fitted.intensity(transform(counted))
    clean = one.mean(dim=0).expand(400, -1, -1)
    (other,) = redraw(clean, 1, fitted.model, transform, fitted.intensity, chance)
    # No counts come from beyond the circle, where the last ring's pixels reach.
    inside = slice(0, -1)
    counts = fitted.intensity.invert(other).mean(dim=(0, 2))[inside]
    want = fitted.intensity.invert(one).mean(dim=(0, 2))[inside]
    assert counts.sum().item() == pytest.approx(want.sum().item(), rel=0.03)
    scatter = other.var(dim=0).mean(dim=-1)
    np.testing.assert_allclose(scatter, one.var(dim=0).mean(dim=-1), rtol=0.15)


def disc(fitted, counts):
    """Expected counts of a disc with the sharp edge that no pattern of `synthetic` has."""
    index = np.moveaxis(np.indices(fitted.detector.shape), 0, -1)
    q = np.linalg.norm((index - fitted.detector.center) @ fitted.detector.matrix.T, axis=-1)
    inside = q < 0.6 * fitted.grid.radius_max
    return inside * (counts / inside.sum())


def test_redrawing_keeps_sharp_edges(trained):
    fitted, chance = trained.fitted_, torch.Generator().manual_seed(0)
    transform = BinTransform(fitted.detector, fitted.grid, mean=fitted.mean)
    bins = transform(disc(fitted, 2e5)[None])
    clean, root = fitted.intensity(bins), Intensity("sqrt", torch.ones(()))
    again = redraw(clean, 50, fitted.model, transform, fitted.intensity, chance)

    # Noise of 50 draws is 0.14 standard deviations; `render` alone is off by 3 at the edge.
    def off(other):
        """Mean square in units of counting noise."""
        one, other = (root(fitted.intensity.invert(x)) for x in (clean[0], other))
        return (other - one).square().mean()

    assert off(again[:, 0].mean(dim=0)) < 0.1
    assert off(fitted.intensity(transform(transform.render(bins).numpy()))[0]) > 1


def test_data_that_are_no_counts_get_the_noise_of_the_model(trained):
    fitted, chance = trained.fitted_, torch.Generator().manual_seed(0)
    clean = torch.zeros(400, *fitted.grid.shape)
    noisy, other = redraw(clean, 2, fitted.model, None, Intensity("linear", torch.ones(())), chance)
    assert not torch.equal(noisy, other)
    want = fitted.model.bin_noise().square().mean(dim=-1)
    np.testing.assert_allclose(noisy.var(dim=0).mean(dim=-1), want, rtol=0.1)


def test_halves_without_an_angle_calibrate_nothing():
    one = torch.ones(4)
    fold = torch.tensor([1, 2, 0, 1])
    seen = Inference(one[:, None], one[:, None], one, one, fold, one, one)
    halves = torch.tensor([[1.0, 0.1, 1.0, np.nan], [1.6, np.pi, 2.0, 1.0]])
    apart = _apart(seen, halves, torch.tensor([[0.3] * 4, [0.4] * 4]))
    assert apart.tolist() == pytest.approx([0.6 / 0.5, 0.1 / 0.5])


def test_calibration_is_saved_with_the_model(trained, unseen, tmp_path):
    trained.save(tmp_path / "a.rrvae")
    other = RRVAE.load(tmp_path / "a.rrvae")
    codes = [e.encode(unseen.frames[:20]) for e in (trained, other)]
    np.testing.assert_array_equal(codes[0].z_std, codes[1].z_std)
    np.testing.assert_array_equal(codes[0].angle_std, codes[1].angle_std)


def test_coverage_of_a_normal_deviation_is_nominal():
    deviation = np.abs(np.random.default_rng(0).standard_normal(100_000))
    np.testing.assert_allclose(coverage(deviation, TWO), TWO, atol=0.01)
    assert coverage(1.5 * deviation, TWO)[0] < 0.52


def test_rows_of_a_confusion_table_are_shares():
    table = confusion(np.array([1, 1, 2, 3, 4, 6, 0, 0]), np.array([1, 5, 2, 3, 2, 6, 0, 1]))
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert table[0, 0] == 0.5 and table[0, -1] == 0.5 and table[3, 1] == 1


@pytest.mark.slow
@pytest.mark.parametrize("counts", [200, 1000, 5000, 20_000, 100_000])
def test_coverage_and_angle_at_full_size(counts):
    from benchmarks.uncertainty import measure

    result = measure(counts, 0, 50)
    # Trainings differ: all 30 pairs in the report are within 5 points.
    for deviation in (*result.deviations.z.T, result.deviations.angle):
        np.testing.assert_allclose(coverage(deviation, TWO), TWO, atol=0.06)
    # The median of a normal error is 0.674 standard deviations.
    assert max(result.ratio) <= 1.2 * 0.674


def one_snapshot(name):
    """A case whose crystal stands still: simulated in a minute, and as good as any other truth."""
    case = simulate.CASES[name]
    return replace(case, microscope=replace(case.microscope, phonon_configurations=1))


SCENES = {
    "twisted rings": (rings, 100_000),
    "graphene": (partial(simulated, one_snapshot("graphene")), 100_000),
    "wandering beam": (partial(simulated, one_snapshot("measured_silicon")), 200_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_coverage_on_other_patterns(scene):
    measured, counts = SCENES[scene]
    for seed in (0, 1):
        found = measured(counts, seed, 50)
        assert found.z.shape[1] >= 1
        for deviation in (*found.z.T, found.angle):
            np.testing.assert_allclose(coverage(deviation, TWO), TWO, atol=0.06)
