# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of array gives the same patterns, block by block; what is no scan is refused."""

import math
import threading

import dask.array as da
import h5py
import numpy as np
import pytest

from py4dstem_rrvae.scan import blocks
from py4dstem_rrvae.scan.frames import Frames

SHAPE = (3, 5, 9, 11)
PATTERNS = np.random.default_rng(0).poisson(5.0, SHAPE).astype(np.uint16)


def memmap(values, tmp_path):
    array = np.memmap(tmp_path / "patterns.raw", values.dtype, "w+", shape=values.shape)
    array[:] = values
    array.flush()
    return np.memmap(tmp_path / "patterns.raw", values.dtype, "r", shape=values.shape)


def hdf5(values, tmp_path):
    return h5py.File(tmp_path / "patterns.h5", "w").create_dataset("patterns", data=values)


def dask_in_one(values, _):
    return da.from_array(values, chunks=-1)


def dask_split_detector(values, _):
    """Chunks that divide nothing evenly, the detector axes least of all."""
    return da.from_array(values, chunks=(*(2,) * (values.ndim - 2), 4, 7))


def plain(values, _):
    return values


KINDS = [plain, memmap, hdf5, dask_in_one, dask_split_detector]


def both(patterns, positions):
    return patterns, positions


def joined(frames):
    """All patterns, after a check that the blocks cover the scan once."""
    found = np.full((len(frames), *frames.detector_shape), 99, frames.patterns.dtype)
    seen = []
    for where, (block, positions) in frames.walk(both):
        assert isinstance(block, np.ndarray)
        np.testing.assert_array_equal(where, positions)
        found[where] = block
        seen.append(where)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(len(frames)))
    return found


def sample(frames, n, seed):
    where = frames.choose(n, np.random.default_rng(seed))
    return where, frames.read(where)


@pytest.fixture(params=[None, 3, 1], ids=["one block", "few patterns", "one pattern"])
def small_blocks(request, monkeypatch):
    """Let a block hold so many patterns at most."""
    if request.param is not None:
        monkeypatch.setattr(blocks, "BLOCK_BYTES", request.param * PATTERNS[0, 0].nbytes)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leading", [(), (7,), (3, 5), (2, 3, 4)])
def test_blocks_cover_any_array_once(kind, leading, tmp_path):
    values = np.random.default_rng(1).poisson(5.0, (*leading, 9, 11)).astype(np.uint16)
    frames = Frames(kind(values, tmp_path))
    assert (frames.scan_shape, frames.detector_shape) == (leading, (9, 11))
    np.testing.assert_array_equal(joined(frames), values.reshape(-1, 9, 11))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 6, 15, 99])
def test_sample_is_the_same_from_any_array(kind, n, tmp_path):
    frames = Frames(kind(PATTERNS, tmp_path))
    where, patterns = sample(frames, n, 3)
    want, _ = sample(Frames(PATTERNS), n, 3)
    np.testing.assert_array_equal(where, want)
    np.testing.assert_array_equal(patterns, PATTERNS.reshape(-1, 9, 11)[where])
    assert len(np.unique(where)) == len(where) == min(n, 15)
    assert (np.diff(where) > 0).all()


def test_sample_is_drawn_from_the_whole_scan():
    drawn = [sample(Frames(PATTERNS), 3, seed)[0] for seed in range(40)]
    assert set(np.concatenate(drawn)) == set(range(15))


@pytest.mark.parametrize("leading", [(60,), (6, 10), (2, 3, 10)])
def test_blocks_are_bounded(leading, monkeypatch):
    values = np.zeros((*leading, 9, 9), dtype=np.float32)
    for patterns in (1, 4, 10, 25):
        limit = patterns * 9 * 9 * 4
        monkeypatch.setattr(blocks, "BLOCK_BYTES", limit)
        sizes = [block.nbytes for _, (block, _) in Frames(values).walk(both)]
        assert max(sizes) <= limit
        assert max(sizes) > limit / 2 or patterns > math.prod(leading) / 2


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4", ">f8", "?", "f2", "u1", "i8"])
def test_any_dtype_is_passed_on_as_it_is(dtype):
    values = (PATTERNS % 2).astype(dtype)
    frames = Frames(values)
    np.testing.assert_array_equal(joined(frames), values.reshape(-1, 9, 11))
    _, drawn = sample(frames, 4, 0)
    assert drawn.dtype == values.dtype.newbyteorder("=")


def test_the_next_block_is_read_while_one_is_worked_on():
    events = [threading.Event() for _ in range(3)]

    def reads():
        for event in events:
            event.set()
            yield event

    worked_on = []
    for event in blocks._ahead(reads()):
        worked_on.append(event)
        assert all(e.wait(10) for e in events[: len(worked_on) + 1])
    assert worked_on == events


def test_a_file_that_breaks_off_gives_the_blocks_before_and_its_error():
    def reads():
        yield 1
        yield 2
        raise OSError("truncated file")

    walked = blocks._ahead(reads())
    assert [next(walked), next(walked)] == [1, 2]
    with pytest.raises(OSError, match="truncated file"):
        next(walked)


def test_who_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    walked = blocks._ahead(iter([1, 2, 3]))
    assert next(walked) == 1
    walked.close()
    assert threading.active_count() == before


def test_a_view_in_another_order_is_read_right():
    values = np.asfortranarray(PATTERNS)[::-1, ::2]
    np.testing.assert_array_equal(joined(Frames(values)), values.reshape(-1, 9, 11))


def test_a_list_of_patterns_is_an_array():
    frames = Frames(PATTERNS[0].tolist())
    np.testing.assert_array_equal(joined(frames), PATTERNS[0])


def test_single_pattern():
    frames = Frames(PATTERNS[0, 0])
    assert len(frames) == 1
    np.testing.assert_array_equal(sample(frames, 5, 0)[1], PATTERNS[0, :1])


def test_nothing_is_computed_before_blocks_are_asked_for():
    def fail(_):
        raise RuntimeError("computed")

    lazy = da.from_array(PATTERNS, chunks=2).map_blocks(fail, meta=np.empty(0, PATTERNS.dtype))
    frames = Frames(lazy, center=(4.0, 5.0))
    with pytest.raises(RuntimeError, match="computed"):
        next(frames.walk(both))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_patterns_are_refused(kind, bad, tmp_path):
    values = PATTERNS.astype(np.float32)
    values[2, 4, 8, 10] = bad
    frames = Frames(kind(values, tmp_path))
    with pytest.raises(ValueError, match=r"patterns must be finite, .* got 1 pixels in 1 frames"):
        list(frames.walk(both))
    with pytest.raises(ValueError, match=r"patterns must be finite, .* got 1 pixels in 1 frames"):
        sample(frames, 15, 0)


@pytest.mark.parametrize(
    ("patterns", "error", "match"),
    [
        (np.ones(9), ValueError, r"patterns must have shape \(\.\.\., H, W\); got \(9,\)"),
        (np.ones((9, 9), complex), TypeError, "patterns must be real numbers; got dtype complex"),
        (np.full((9, 9), "a"), TypeError, "patterns must be real numbers; got dtype <U1"),
        (np.full((9, 9), None), TypeError, "patterns must be real numbers; got dtype object"),
        (np.ones((3, 7, 9)), ValueError, "at least 8 x 8 pixels; got 7 x 9"),
        (np.ones((3, 9, 7)), ValueError, "at least 8 x 8 pixels; got 9 x 7"),
        (np.ones((0, 9, 9)), ValueError, r"at least one position; got shape \(0, 9, 9\)"),
        (np.ones((3, 0, 9, 9)), ValueError, r"at least one position; got shape \(3, 0, 9, 9\)"),
        (None, (TypeError, ValueError), "patterns must"),
    ],
)
def test_what_is_no_scan_is_refused(patterns, error, match):
    with pytest.raises(error, match=match):
        Frames(patterns)


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"center": (4.0, 5.0, 6.0)}, r"center must be \(row, col\) or have shape \(3, 5, 2\)"),
        ({"center": np.ones((5, 3, 2))}, r"got shape \(5, 3, 2\)"),
        ({"center": (4.0, 10.5)}, r"center must lie on the detector of \(9, 11\) pixels; .*10\.5"),
        ({"center": (-0.1, 5.0)}, "center must lie on the detector"),
        ({"center": (np.nan, 5.0)}, "center must be known; 1 of 1"),
        ({"center": np.full((3, 5, 2), 9.0)}, "center must lie on the detector"),
        ({"mask": np.ones((11, 9), bool)}, r"mask must be boolean of shape \(9, 11\).*\(11, 9\)"),
        ({"mask": np.ones((9, 11))}, "mask must be boolean .* got float64"),
        ({"mask": np.zeros((9, 11), bool)}, "mask must keep at least one pixel"),
        ({"matrix": np.ones((2, 2))}, r"matrix must be an invertible \(2, 2\) array"),
        ({"matrix": np.eye(3)}, r"matrix must be an invertible \(2, 2\) array"),
        ({"matrix": np.full((2, 2), np.nan)}, r"matrix must be an invertible \(2, 2\) array"),
    ],
)
def test_geometry_that_cannot_be_is_refused(option, match):
    with pytest.raises(ValueError, match=match):
        Frames(PATTERNS, **option)


def test_of_puts_what_is_given_by_hand_first():
    mask = np.ones((9, 11), dtype=bool)
    frames = Frames(PATTERNS, center=(4.0, 5.0), q_units="A^-1")
    assert tuple(Frames.of(frames).center) == (4.0, 5.0)
    other = Frames.of(frames, center=(3.0, 6.0), mask=mask)
    assert tuple(other.center) == (3.0, 6.0)
    assert other.mask is mask
    assert (other.q_units, tuple(frames.center)) == ("A^-1", (4.0, 5.0))


def test_of_checks_what_is_given_by_hand():
    with pytest.raises(ValueError, match="center must lie on the detector"):
        Frames.of(PATTERNS, center=(40.0, 5.0))


def test_origins_of_positions():
    center = np.stack(np.meshgrid(np.linspace(3, 4, 3), np.linspace(5, 6, 5), indexing="ij"), -1)
    frames = Frames(PATTERNS, center=center)
    np.testing.assert_array_equal(frames.origins()[7], center[1, 2])
    assert frames.detector().center == pytest.approx((3.5, 5.5))
    assert frames.wander(frames.detector()) == pytest.approx(0.5)


def test_one_centre_serves_all_positions():
    frames = Frames(PATTERNS, center=(3.3, 5.6))
    assert frames.origins() is None
    assert frames.detector().center == (3.3, 5.6)
    assert frames.wander(frames.detector()) == 0.0


def test_unknown_centre_has_to_be_located_first():
    with pytest.raises(ValueError, match="the centre is unknown"):
        Frames(PATTERNS).detector()
