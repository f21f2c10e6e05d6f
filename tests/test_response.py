# SPDX-License-Identifier: GPL-3.0-or-later
"""Gain, pedestal and read-out noise are found from frames; and where there is no noise, that."""

import numpy as np
import pytest
from odd_frames import Odd

from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.detector.response import estimate_response

# Kind of pattern, pixels along a side, expected electrons per pattern.
SCANS = [("lobes", 48, 50), ("twisted_rings", 48, 1000), ("folds", 24, 50), ("lobes", 24, 1e5)]


def drawn(kind, size, counts, n=192):
    patterns = getattr(synthetic, kind)(n, size=size, counts=counts, random_state=1)
    return patterns.frames.astype(np.int64)


def recorded(electrons, gain, offset, readout, clipped=True):
    values = (
        electrons * gain + offset + np.random.default_rng(3).normal(0, readout, electrons.shape)
    )
    return np.maximum(np.rint(values), 0).astype(np.uint32) if clipped else values


@pytest.fixture(scope="module", params=SCANS, ids=lambda scan: "{}-{}-{:g}".format(*scan))
def electrons(request):
    return drawn(*request.param)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["<u2", ">f4"])
def test_counts_are_counts(electrons, dtype):
    found = estimate_response(electrons.astype(dtype))
    assert (found.gain, found.offset, found.readout) == (1, 0, 0)
    assert found.source == "counted"


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "dtype"), [(20, ">u4"), (20.3, "f4"), (0.01, "f8")])
def test_multiples_of_counts(electrons, unit, dtype):
    found = estimate_response((electrons * unit).astype(dtype))
    assert found.gain == pytest.approx(unit, rel=0.05)
    assert (found.offset, found.readout) == (0, 0)


def test_read_out_noise_cut_off_at_zero(electrons):
    found = estimate_response(recorded(electrons, 20, 0, 3))
    assert found.gain == pytest.approx(20, rel=0.1)
    assert found.offset == pytest.approx(0, abs=1.5)
    assert found.source == "estimated"


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0, 100])
def test_pedestal(electrons, offset):
    found = estimate_response(recorded(electrons, 20, offset, 5, clipped=offset > 0))
    assert found.gain == pytest.approx(20, rel=0.1)
    assert found.offset == pytest.approx(offset, abs=1.0)
    assert found.readout == pytest.approx(5, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(("offset", "readout"), [(0, 3), (100, 5)])
def test_an_electron_in_two_hundred_pixels(offset, readout):
    found = estimate_response(recorded(drawn("folds", 96, 50, n=96), 20, offset, readout))
    assert found.gain == pytest.approx(20, rel=0.1)
    assert found.offset == pytest.approx(offset, abs=1)


def sharp_discs(counts, n=192, size=32):
    """Discs with sharp edges, turned at random, on a faint ground."""
    rng = np.random.default_rng(5)
    at = np.moveaxis(np.indices((size, size)), 0, -1) - (size - 1) / 2
    patterns = np.full((n, size, size), 0.005)
    for pattern, turn in zip(patterns, rng.uniform(0, 2 * np.pi, n), strict=True):
        pattern[np.hypot(*np.moveaxis(at, -1, 0)) < 3] += 1
        for angle in turn + np.arange(6) * np.pi / 3:
            disc = np.hypot(*np.moveaxis(at - 10 * np.array([np.cos(angle), np.sin(angle)]), -1, 0))
            pattern[disc < 3] += rng.uniform(0.05, 0.5)
    return rng.poisson(counts * patterns / patterns.sum(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("counts", [1000, 1e5])
def test_sharp_edges_are_no_noise(counts):
    electrons = sharp_discs(counts)
    assert estimate_response(electrons).source == "counted"
    assert estimate_response(electrons * 20.3).gain == pytest.approx(20.3, rel=0.1)


def test_bad_pixels_and_frames_do_not_matter():
    frames = recorded(drawn("twisted_rings", 48, 1000), 20, 100, 5)
    frames[:, [3, 30], [7, 21]] = 0
    frames[:, [13, 20], [17, 41]] = 60_000
    frames[[4, 90]], frames[17] = 65_535, 0
    found = estimate_response(frames)
    assert found.gain == pytest.approx(20, rel=0.1)
    assert found.offset == pytest.approx(100, abs=1)


def test_masked_pixels_do_not_matter():
    electrons = drawn("lobes", 48, 1000)
    spoilt, mask = electrons * 20.3, np.ones((48, 48), dtype=bool)
    mask[:10] = False
    spoilt[:, :10] = np.random.default_rng(0).normal(0, 1e4, (192, 10, 48))
    assert estimate_response(spoilt, mask).gain == pytest.approx(20.3, rel=0.05)


def test_evenly_lit_frames():
    electrons = np.random.default_rng(0).poisson(30, (100, 32, 32))
    assert estimate_response(electrons).source == "counted"
    found = estimate_response(electrons * 7.7)
    assert found.gain == pytest.approx(7.7, rel=0.05)
    assert found.offset == 0


def test_few_small_frames():
    electrons = drawn("lobes", 16, 500, n=8)
    assert estimate_response(electrons).source == "counted"
    assert estimate_response(electrons * 20.3).gain == pytest.approx(20.3, rel=0.05)


def grains(size, width, strain, n=192):
    """Noise-free spots of four grains, strained a little from place to place."""
    rng = np.random.default_rng(2)
    axis = np.arange(size) - (size - 1) / 2
    index = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 2), -1).reshape(-1, 2) * 0.17 * size
    weight, angle = rng.uniform(0.05, 1, (4, 25)), rng.uniform(0, np.pi, 4)
    patterns = []
    for place in range(n):
        grain, turn = place * 4 // n, angle[place * 4 // n] + strain * np.cos(place / 20)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        row, col = (index @ rotation.T * (1 + strain * np.sin(place / 30))).T
        rows, cols = (np.exp(-((axis - at[:, None]) ** 2) / 2 / width**2) for at in (row, col))
        pattern = np.einsum("k,kr,kc->rc", weight[grain], rows, cols)
        patterns.append(pattern / pattern.sum())
    return np.array(patterns)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("strain", [0.003, 0.02])
@pytest.mark.parametrize("width", [0.8, 1.5])
def test_simulated_spots_are_noise_free(width, strain, dtype):
    assert estimate_response(grains(48, width, strain).astype(dtype)).noise_free


@pytest.mark.parametrize("counts", [1.0, 5000.0])
@pytest.mark.parametrize("size", [24, 48])
def test_expected_patterns_are_noise_free_and_counts_are_not(size, counts):
    patterns = synthetic.twisted_rings(128, size=size, counts=5000, random_state=0)
    expected = synthetic.expected_twisted_rings(patterns, counts=counts)
    assert estimate_response(expected).noise_free
    assert not estimate_response(patterns.frames * 0.01).noise_free


@pytest.mark.slow
def test_what_is_given_is_kept(electrons):
    frames = recorded(electrons, 20, 100, 5)
    found = estimate_response(frames, gain=18.0)
    assert (found.gain, found.source) == (18.0, "given")
    assert found.offset == pytest.approx(100, abs=1)
    found = estimate_response(frames, offset=100.0)
    assert found.offset == 100
    assert found.gain == pytest.approx(20, rel=0.1)
    found = estimate_response(frames, gain=20.0, offset=100.0)
    assert (found.gain, found.offset) == (20.0, 100.0)
    assert found.readout == pytest.approx(5, rel=0.15)


@pytest.mark.parametrize("wrong", [0, -1.0, np.nan, np.inf])
def test_a_gain_is_a_positive_number(wrong):
    with pytest.raises(ValueError, match=f"gain must be a positive finite number, got {wrong}"):
        estimate_response(np.zeros((8, 8, 8)), gain=wrong)


@pytest.mark.parametrize("wrong", [np.nan, -np.inf])
def test_an_offset_is_a_finite_number(wrong):
    with pytest.raises(ValueError, match=f"offset must be a finite number, got {wrong}"):
        estimate_response(np.zeros((8, 8, 8)), offset=wrong)


@pytest.mark.parametrize("mask", [None, np.zeros((8, 8), dtype=bool)])
def test_nothing_to_see_counts_as_counts(mask):
    assert estimate_response(np.zeros((8, 8, 8)), mask).source == "counted"


@pytest.mark.parametrize("size", [0.5, 5])
@pytest.mark.parametrize("alike_in", [None, 0, 1])
@pytest.mark.parametrize("counts", [500, 5000])
def test_pedestals_of_their_own_are_noticed(counts, alike_in, size):
    """One for each pixel, row or column, in electrons; where there are none, that."""
    electrons = drawn("lobes", 48, counts, n=400)
    shape = [1 if axis == alike_in else 48 for axis in (0, 1)]
    pedestals = 10 * size * np.random.default_rng(5).normal(size=shape)
    found = estimate_response(recorded(electrons, 10, 100 + pedestals, 3))
    assert found.uneven == pytest.approx(10 * size, rel=0.4)
    assert estimate_response(recorded(electrons, 10, 100, 3)).uneven == 0


def test_neither_counts_nor_noise_free_patterns_have_pedestals(electrons):
    assert estimate_response(electrons).uneven == 0
    assert estimate_response(electrons / 1e9).uneven == 0


def test_a_dark_frame_that_was_not_subtracted_is_told():
    electrons = drawn("lobes", 48, 5000, n=400)
    columns = 10 * np.random.default_rng(5).normal(size=48)
    quick = {"random_state": 0, "progress": False, "max_epochs": 1}
    with pytest.warns(UserWarning, match="differ by 1?[0-9.]+ units .* dark frame"):
        model = RRVAE(**quick).fit(recorded(electrons, 10, 100 + columns, 3))
    assert model.mask_.all()  # pixels that stand out so are no defects


def test_levels_without_noise_are_no_division_by_zero():
    frames = Odd(scan=(12,), detector=(8, 10), content="smooth", dtype="i1").frames()
    with np.errstate(divide="raise", invalid="raise"):
        estimate_response(frames)
