# SPDX-License-Identifier: GPL-3.0-or-later
"""The polar operator: doses are kept, turns become shifts, geometry and masks are obeyed."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from py4dstem_rrvae import synthetic
from py4dstem_rrvae.detector.bin_operator import BinOperator
from py4dstem_rrvae.detector.bins import Detector, PolarGrid, center_of_mass
from py4dstem_rrvae.detector.transform import BinTransform


def poisson(*shape):
    return np.random.default_rng(0).poisson(5.0, shape)


def detector(shape=(32, 32), center=None, matrix=None, mask=None):
    center = center or tuple((n - 1) / 2 for n in shape)
    return Detector(shape, center, np.eye(2) if matrix is None else np.asarray(matrix, float), mask)


def polar_of(frames, geometry, grid):
    return BinTransform(geometry, grid)(np.asarray(frames)).numpy()


def q_of(geometry):
    index = np.stack(np.indices(geometry.shape), axis=-1)
    return np.moveaxis((index - geometry.center) @ geometry.matrix.T, -1, 0)


def smooth(geometry, turn=0.0):
    """Counts per pixel of a lopsided, smooth density in q."""
    row, col = q_of(geometry)
    radius, angle = np.hypot(row, col), np.arctan2(col, row) - turn
    density = np.exp(-0.5 * (radius / 7) ** 2) * (1 + radius / 12 * (np.cos(angle) + radius / 12))
    density += 0.3 * np.exp(-0.5 * ((radius - 9) / 2) ** 2) * (1 + np.cos(3 * angle + 0.4))
    return density * abs(np.linalg.det(geometry.matrix))


def counts_inside(frame, geometry, radius, split=200):
    """Sum over the pixels, each cut into split x split parts, of the parts within the circle."""
    part = (np.arange(split) + 0.5) / split - 0.5
    row, col = q_of(geometry)
    pixels = zip(row.ravel(), col.ravel(), frame.ravel(), strict=True)
    return sum(
        n * np.mean((r + part[:, None]) ** 2 + (c + part) ** 2 < radius**2) for r, c, n in pixels
    )


@pytest.mark.parametrize("frame", [np.ones((32, 32)), poisson(32, 32)])
def test_dose_inside_the_circle_is_kept(frame):
    geometry = detector(center=(15.2, 16.4))
    grid = PolarGrid(11.3, 9, 32)
    got = polar_of(frame[None], geometry, grid).sum()
    assert got == pytest.approx(counts_inside(frame, geometry, 11.3), rel=1e-3)


def test_pattern_within_the_circle_keeps_its_whole_dose():
    frame = poisson(32, 32) * (np.hypot(*q_of(detector())) < 12)
    got = polar_of(frame[None], detector(), PolarGrid(14.5, 13, 32)).sum()
    assert got == pytest.approx(frame.sum(), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(32, 32), (33, 33), (32, 36), (31, 34)])
def test_quarter_turn_is_a_shift_by_a_quarter_of_the_bins(shape, dtype):
    frame = poisson(*shape).astype(dtype)
    # rot90 carries the row axis onto the column axis: +90 degrees in this package's sense.
    turned = np.rot90(frame)
    grid = PolarGrid(15.0, 13, 64)
    before = polar_of(frame[None], detector(shape), grid)
    after = polar_of(turned[None], detector(shape[::-1]), grid)
    np.testing.assert_allclose(after, np.roll(before, 16, axis=-1), rtol=1e-6)


def test_quarter_turn_about_a_centre_between_pixels():
    frame = poisson(40, 37)
    row, col = 18.3, 19.85
    grid = PolarGrid(15.0, 13, 64)
    before = polar_of(frame[None], detector((40, 37), (row, col)), grid)
    after = polar_of(np.rot90(frame)[None], detector((37, 40), (36 - col, row)), grid)
    np.testing.assert_allclose(after, np.roll(before, 16, axis=-1), atol=1e-4)


def test_turn_by_one_bin_is_a_shift_by_one_bin():
    grid = PolarGrid(15.0, 12, 32)
    before = polar_of(smooth(detector())[None], detector(), grid)
    after = polar_of(smooth(detector(), turn=2 * np.pi / 32)[None], detector(), grid)
    difference = np.abs(after - np.roll(before, 1, axis=-1)).max()
    assert difference < 0.03 * before.max()
    assert np.abs(after - before).max() > 5 * difference


STRETCH = np.diag([0.8, 1.25])
ELLIPSE = np.array([[1.1, 0.15], [0.15, 0.9]])
TURN = np.array([[0.6, -0.8], [0.8, 0.6]])


@pytest.mark.parametrize("matrix", [STRETCH, ELLIPSE, 0.5 * np.eye(2), TURN])
def test_same_density_gives_the_same_bins_on_any_pixel_grid(matrix):
    grid = PolarGrid(14.0, 10, 32, degree=0)  # splines would smooth larger pixels more
    reach = 2 * 15 * np.linalg.norm(np.linalg.inv(matrix), axis=1)
    shape = tuple(int(np.ceil(n)) + 2 for n in reach)
    plain = detector((34, 35), (16.4, 17.2))
    other = detector(shape, tuple((n - 1) / 2 + 0.3 for n in shape), matrix)
    want = polar_of(smooth(plain)[None], plain, grid)
    got = polar_of(smooth(other)[None], other, grid)
    assert np.abs(got - want).max() < 0.05 * want.max()
    # Ignoring the geometry must not pass.
    wrong = polar_of(smooth(other)[None], detector(shape, other.center), grid)
    assert np.abs(wrong - want).max() > 0.1 * want.max()


def turned_discs(turn, size, radius):
    """Expected counts of a bright disc and six around it, each pixel in 10 x 10 parts."""
    part = (np.arange(10 * size) + 0.5) / 10 - size / 2
    row, col = np.meshgrid(part, part, indexing="ij")
    density = 1.0 * (np.hypot(row, col) < radius)
    for k in range(6):
        place = 1.2 * radius * np.exp(1j * (k * np.pi / 3 + turn))
        density += 0.3 * (np.hypot(row - place.real, col - place.imag) < radius)
    return density.reshape(size, 10, size, 10).mean(axis=(1, 3))


@pytest.mark.parametrize(("size", "radius", "share"), [(25, 4.3, 0.25), (39, 6.7, 0.5)])
def test_sharp_discs_turn_among_few_pixels(size, radius, share):
    """What the pixels leave of a turn by whole bins is a fraction of what they leave unsmoothed."""
    geometry, left = detector((size, size)), []
    for degree in (0, 2):
        grid = replace(PolarGrid.within(geometry.inscribed_radius(), geometry), degree=degree)
        step = 2 * np.pi / grid.n_angular
        turns = range(0, grid.n_angular, 3)
        frames = [turned_discs(k * step, size, radius) for k in turns]
        bins = polar_of(frames, geometry, grid)
        back = np.stack([np.roll(b, -k, axis=-1) for k, b in zip(turns, bins, strict=True)])
        mean = back.mean(axis=0)
        left.append((np.square(back - mean).mean(axis=0) / (mean + 0.01 * mean.max())).sum())
    assert left[1] < share * left[0]


def test_flipped_axis_reverses_the_angle():
    grid = PolarGrid(14.0, 10, 32)
    frame = poisson(1, 32, 32)
    plain = polar_of(frame, detector(), grid)
    flipped = polar_of(frame, detector(matrix=np.diag([1.0, -1.0])), grid)
    np.testing.assert_array_equal(flipped, np.roll(plain[..., ::-1], 1, axis=-1))


def beam_stop(shape=(32, 32)):
    mask = np.ones(shape, dtype=bool)
    mask[:17, 14:17] = False
    return mask


def test_weight_is_the_share_of_each_bin_that_the_mask_leaves():
    grid = PolarGrid(15.0, 10, 32)
    seen = polar_of(1.0 * beam_stop()[None], detector(), grid)[0]
    area = polar_of(np.ones((1, 32, 32)), detector(), grid)[0]
    share = np.where(seen / area < 0.2, 0, seen / area)
    weight = BinOperator(detector(mask=beam_stop()), grid).weight.numpy()
    np.testing.assert_allclose(weight, share, atol=1e-6)
    assert 0 < (weight == 0).sum() < (weight < 1).sum() < weight.size


def test_masked_bins_are_scaled_to_full_coverage():
    grid = PolarGrid(15.0, 10, 32)
    geometry = detector(mask=beam_stop())
    frame = np.full((1, 32, 32), 7.0)
    frame[:, ~beam_stop()] = 1e6
    got = polar_of(frame, geometry, grid)[0]
    want = polar_of(np.full((1, 32, 32), 7.0), detector(), grid)[0]
    used = BinOperator(geometry, grid).weight.numpy() > 0
    np.testing.assert_allclose(got, np.where(used, want, 0), rtol=1e-5)


def test_mask_that_leaves_nothing_inside_the_circle_raises():
    mask = np.hypot(*q_of(detector())) > 15
    with pytest.raises(ValueError, match="mask must leave pixels within the circle"):
        BinOperator(detector(mask=mask), PolarGrid(10.0, 8, 32))


def test_degrees_of_freedom_count_a_pixel_once():
    grid = PolarGrid(15.0, 12, 64)
    dof = BinOperator(detector(), grid).dof.numpy()
    noise = np.random.default_rng(0).normal(size=(2000, 32, 32))
    variance = polar_of(noise, detector(), grid).var(axis=0)
    area = polar_of(np.ones((1, 32, 32)), detector(), grid)[0]
    np.testing.assert_allclose(dof, (variance / area).sum(axis=1), rtol=0.05)
    assert dof[0] < 5 and dof[-1] > 20


def test_origin_of_each_pattern_equals_an_operator_of_its_own():
    grid = PolarGrid(12.0, 10, 32)
    origins = 15.5 + np.random.default_rng(1).integers(-8, 9, (5, 2)) * 0.125
    frames = poisson(5, 32, 32).astype(np.float32)
    got = BinTransform(detector(), grid, wander=1.0)(frames, origins).numpy()
    area = BinOperator(detector(), grid).area
    for frame, origin, polar in zip(frames, origins, got, strict=True):
        alone = BinOperator(detector(center=tuple(origin)), grid)
        # Bins hold as many pixels as about the middle, to the parts that pixels are cut into.
        want = alone(torch.from_numpy(frame[None]))[0] * area / alone.area
        np.testing.assert_allclose(polar, want.numpy(), rtol=1e-6)


def test_wandering_origins_leave_every_used_bin_filled_under_a_mask():
    grid = PolarGrid(12.0, 10, 32)
    origins = 15.5 + np.array([[0, 0], [2, 0], [-2, 0], [0, 2], [0, -2], [2, -2.0]])
    frames = np.full((6, 32, 32), 3.0)
    frames[:, ~beam_stop()] = 1e6
    transform = BinTransform(detector(mask=beam_stop()), grid, wander=2.0)
    used = transform.weight.numpy() > 0
    plain = polar_of(np.full((1, 32, 32), 3.0), detector(), grid)[0]
    for polar in transform(frames, origins).numpy():
        np.testing.assert_allclose(polar, np.where(used, plain, 0), rtol=1e-4)


def test_render_returns_a_smooth_frame():
    geometry = detector((33, 34), (15.7, 16.9))
    operator = BinOperator(geometry, PolarGrid(15.0, 13, 64))
    frame = torch.tensor(smooth(geometry)[None], dtype=torch.float32)
    inside = np.hypot(*q_of(geometry)) < 14
    error = (operator.render(operator(frame)) - frame)[0].numpy()[inside]
    assert np.abs(error).max() < 0.05 * frame.max()
    assert np.sqrt(np.mean(error**2)) < 0.02 * frame.max()


def test_render_keeps_the_dose():
    operator = BinOperator(detector(), PolarGrid(15.0, 10, 32))
    polar = torch.rand(2, 10, 32, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(
        operator.render(polar).sum(dim=(1, 2)), polar.sum(dim=(1, 2)), rtol=1e-5
    )


@pytest.mark.parametrize("mask", [None, "beam stop"])
def test_unfolded_frames_have_the_bins_they_were_made_from(mask):
    geometry = detector(mask=None if mask is None else beam_stop())
    operator = BinOperator(geometry, PolarGrid(15.0, 13, 64))
    sharp = np.hypot(*q_of(geometry)) < 9
    bins = operator(torch.tensor(sharp[None] * 300.0, dtype=torch.float32))

    def misfit(frames):
        """Mean square in units of counting noise, over the bins that are used."""
        apart = (operator(frames) - bins).square() / (bins + 1)
        return apart[:, operator.weight > 0].mean()

    assert misfit(operator.render(bins)) > 1
    unfolded = operator.unfold(bins)
    assert misfit(unfolded) < 0.02
    assert (unfolded >= 0).all()


def test_a_pattern_is_unfolded_alike_alone_and_among_others():
    operator = BinOperator(Detector((24, 24), (11.5, 11.5), np.eye(2)), PolarGrid(12.0, 8, 16))
    index = np.hypot(*(np.indices((24, 24)) - 11.5))
    disc = torch.from_numpy(np.where(index < 4.3, 300.0, 1.0))[None].float()
    smooth = torch.full((20, 24, 24), 3.0)
    bins = operator(torch.cat([disc, smooth]))
    together, alone = operator.unfold(bins)[0], operator.unfold(bins[:1])[0]
    torch.testing.assert_close(together, alone)
    assert (alone - operator.render(bins[:1])[0]).abs().max() > 10


def test_rates_below_zero_upset_no_unfolding():
    # Decoders overshoot there; the ratios of the steps then grew without bound.
    operator = BinOperator(detector(), PolarGrid(15.0, 10, 32))
    rates = operator.area[None] * 2.0
    rates[:, 6] *= -0.02
    found = operator.unfold(rates)
    assert (found >= 0).all()
    assert found.max() < 3 * operator.render(rates).max()


def test_unfolding_leaves_what_is_smooth_as_it_is():
    operator = BinOperator(detector(), PolarGrid(15.0, 10, 32))
    wide = np.exp(-0.5 * (np.abs(operator.grid.bin_centers()) / 5) ** 2)
    smooth = operator.area[None] * torch.from_numpy(2 * wide).float()
    torch.testing.assert_close(operator.unfold(smooth), operator.render(smooth))


@pytest.mark.parametrize("angle", [0.0, 1.0, np.pi / 2, 2.5, -2.0])
def test_center_of_mass_points_from_the_row_axis_towards_the_column_axis(angle):
    row, col = q_of(detector())
    spot = (row - 6 * math.cos(angle)) ** 2 + (col - 6 * math.sin(angle)) ** 2
    frame = np.exp(-0.5 * spot / 2.0**2)
    grid = PolarGrid(15.5, 13, 64)
    shift = center_of_mass(BinTransform(detector(), grid)(frame[None]), grid).item()
    assert shift == pytest.approx(6 * np.exp(1j * angle), abs=0.1)


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i1", ">u2", ">i4", "<u4", "i8", "f2", ">f4", ">f8", "<f8"]
)
def test_any_dtype_and_byte_order(dtype):
    frames = poisson(3, 32, 32).astype(dtype)
    want = polar_of(frames.astype(float), detector(), PolarGrid(15.0, 12, 32))
    np.testing.assert_array_equal(polar_of(frames, detector(), PolarGrid(15.0, 12, 32)), want)


def test_grid_follows_the_size_of_the_circle_in_pixels():
    small = PolarGrid.within(8 * 0.3, detector((16, 16), matrix=0.3 * np.eye(2)))
    assert (small.radius_max, small.shape) == (pytest.approx(8 * 0.3), (6, 32))
    large = PolarGrid.within(100.0, detector((256, 200)))
    assert (large.radius_max, large.shape) == (pytest.approx(100.0), (36, 64))


def test_grid_reaches_into_the_corners():
    # Outside the inscribed circle of radius 1, 1 - 4 / pi arccos(1 / r) of a circle is left.
    farthest = 1 / math.cos(math.pi / 4 * 15 / 16)
    small = PolarGrid.for_detector(detector((16, 16), matrix=0.3 * np.eye(2)))
    assert small.radius_max == pytest.approx(8 * 0.3 * farthest, rel=0.005)
    assert small.shape == (8, 32)
    wandering = PolarGrid.for_detector(detector((16, 16)), wander=2.0)
    assert wandering.radius_max == pytest.approx(6 * farthest, rel=0.005)


CROPPED = detector((32, 40), (11.3, 21.0), ELLIPSE)


@pytest.mark.parametrize("wander", [0.0, 1.5])
@pytest.mark.parametrize("geometry", [detector(), CROPPED], ids=["square", "cropped"])
def test_covered_is_the_share_of_a_circle_on_the_detector_wherever_the_centre_goes(
    geometry, wander
):
    angle = 2 * np.pi * np.arange(20_000) / 20_000
    circle = np.linalg.inv(geometry.matrix) @ [np.cos(angle), np.sin(angle)]
    moves = np.array([(i, j) for i in (-wander, wander) for j in (-wander, wander)])
    radii = np.array([3.0, 12.0, 15.0, 17.0, 20.0, 40.0])
    for radius, share in zip(radii, geometry.covered(radii, wander), strict=True):
        pixel = np.rint(
            radius * circle + np.reshape(geometry.center, (2, 1)) + moves[:, :, None]
        )  # (4, 2, n)
        on = ((pixel >= 0) & (pixel < np.reshape(geometry.shape, (2, 1)))).all(axis=(0, 1))
        assert share == pytest.approx(on.mean(), abs=0.006)


@pytest.mark.parametrize("wander", [0.0, 1.5])
def test_the_seen_radius_is_the_last_one_of_which_a_sixteenth_is_covered(wander):
    radius = CROPPED.seen_radius(wander)
    assert radius > 1.3 * CROPPED.inscribed_radius(wander)
    inside, outside = CROPPED.covered(np.array([0.99, 1.01]) * radius, wander)
    assert inside >= 1 / 16 - 0.003 and outside < 1 / 16
    beyond = np.linspace(1.01, 2, 50) * radius
    assert (CROPPED.covered(beyond, wander) < 1 / 16).all()


def test_weight_is_the_share_of_each_bin_that_lies_on_the_detector():
    """The same detector as part of a larger one, on which every bin is whole."""
    grid = PolarGrid.for_detector(CROPPED)
    larger = detector((132, 140), (61.3, 71.0), ELLIPSE)
    there = np.zeros(larger.shape)
    there[50:82, 50:90] = 1.0
    area = polar_of(np.ones((1, 132, 140)), larger, grid)[0]
    share = polar_of(there[None], larger, grid)[0] / area
    operator = BinOperator(CROPPED, grid)
    # Pixels beyond the detector are cut into 4 x 4 parts, however near.
    np.testing.assert_allclose(operator.area, area, rtol=0.1)
    weight = operator.weight.numpy()
    clear = np.abs(share - 0.2) > 0.01
    np.testing.assert_allclose(weight[clear], np.where(share < 0.2, 0, share)[clear], atol=0.05)
    assert (weight == 0).any() and (weight == 1).any() and ((weight > 0) & (weight < 1)).any()
    # And what is left of a bin is scaled up to all of it.
    even = polar_of(np.full((1, 32, 40), 7.0), CROPPED, grid)[0]
    np.testing.assert_allclose(even, np.where(weight > 0, 7.0 * operator.area, 0), rtol=1e-5)


def test_circle_fits_the_narrower_side_of_unequal_pixels():
    geometry = detector((32, 40), (14.0, 20.0), np.diag([0.5, 0.1]))
    assert geometry.inscribed_radius() == pytest.approx(0.1 * 19.5)


@functools.cache
def known_turn_errors(to_polar, size, counts):
    """Angle error over its Cramer-Rao bound where everything but the turn is known."""
    truth = synthetic.lobes(400, size=size, counts=counts, random_state=3)
    number, still = truth.fold.astype(float), np.zeros(400)
    turned, template = (
        synthetic._expected(synthetic._lobed_ring, size, counts, t, number, truth.deformation)
        for t in (truth.angle, still)
    )
    again = np.random.default_rng(9).poisson(turned)
    signal, template = to_polar(truth.frames), to_polar(template)
    noise = (signal - to_polar(again)).var(axis=(0, 2), keepdims=True) / 2
    # Least squares over the turn, rings weighted by their noise: one correlation.
    weight = 1 / (noise + 0.02 * noise.max())
    spectrum = (weight * np.fft.rfft(signal) * np.fft.rfft(template).conj()).sum(axis=1)
    turn = np.fft.irfft(spectrum, n=8192).argmax(axis=-1) * 2 * np.pi / 8192
    period = 2 * np.pi / truth.fold
    error = np.mod(turn - truth.angle + period / 2, period) - period / 2
    return np.abs(error) / truth.bound


def summed(frames):
    geometry = detector(frames.shape[1:])
    return 2 * np.sqrt(polar_of(frames, geometry, PolarGrid.for_detector(geometry)) + 0.375)


def point_sampled(frames):
    geometry = detector(frames.shape[1:])
    grid = PolarGrid.for_detector(geometry)
    radius = (np.arange(grid.n_radial)[:, None] + 0.5) * grid.radius_max / grid.n_radial
    angle = np.arange(grid.n_angular) * 2 * np.pi / grid.n_angular
    center = geometry.center[0]
    place = np.stack([center + radius * np.cos(angle), center + radius * np.sin(angle)])
    return np.stack([map_coordinates(np.sqrt(f), place, order=1, output=float) for f in frames])


@pytest.mark.slow
@pytest.mark.parametrize(("size", "counts"), [(48, 5000.0), (128, 1000.0)])
def test_summing_counts_keeps_what_they_say_of_the_turn(size, counts):
    # A Gaussian error at the bound has a median of 0.6745 of it.
    assert np.median(known_turn_errors(summed, size, counts)) <= 0.85


@pytest.mark.slow
def test_point_sampling_loses_much_of_it_where_counts_are_few():
    point, bins = (known_turn_errors(f, 128, 1000.0) for f in (point_sampled, summed))
    assert np.median(point) > 1.4 * np.median(bins)


def test_even_light_fills_the_bins_alike_wherever_the_origin_lies():
    """Else latents of weak scatterers show the sub-pixel place of the origin."""
    detector = Detector((64, 64), (33.0, 29.0), np.eye(2))
    grid = PolarGrid.for_detector(detector, wander=1.0)
    frames = np.full((3, 64, 64), 50, dtype=np.uint16)
    origins = np.array([[33.0, 29.0], [33.375, 29.25], [32.5, 28.625]])
    bins = BinTransform(detector, grid, wander=1.0)(frames, origins)
    torch.testing.assert_close(bins[1], bins[0], rtol=1e-4, atol=0)
    torch.testing.assert_close(bins[2], bins[0], rtol=1e-4, atol=0)
