# SPDX-License-Identifier: GPL-3.0-or-later
"""What an explorer selects, reads and decodes; nothing is drawn."""

import dask.array as da
import h5py
import numpy as np
import pytest
from estimators import QUICK
from exploring import SCAN, Counting, codes_of

from py4dstem_rrvae import RRVAE, LatentMap, latent_maps, synthetic
from py4dstem_rrvae.explore import State
from py4dstem_rrvae.explore.state import at
from py4dstem_rrvae.explore.words import Scale, tell
from py4dstem_rrvae.scan.blocks import CLOSED


@pytest.fixture(scope="module")
def frames(few):
    return few.reshape(*SCAN, 16, 16)


@pytest.fixture(scope="module")
def known(quick, frames):
    return quick.encode(frames)


@pytest.fixture
def state(frames, known, quick):
    return State(frames, known, model=quick)


def test_a_position_shows_what_was_measured_and_what_is_decoded_there(state, frames, known, quick):
    state.go_to(2, 7)
    assert state.position == (2, 7)
    np.testing.assert_array_equal(state.measured, frames[2, 7])
    here = at(known, (slice(2, 3), 7))
    np.testing.assert_array_equal(state.decoded, quick.reconstruct(here)[0])
    assert state.point == tuple(known.z[2, 7])
    assert not state.moved
    assert state.near[2, 7]


def test_a_moved_point_keeps_the_turn_and_takes_the_latents(state, known, quick):
    state.go_to(2, 7)
    before = state.measured
    state.decode_at(0.5, -0.25)
    assert state.moved
    assert state.measured is before
    here = at(known, (slice(2, 3), 7))
    here.z[...] = 0.5, -0.25
    np.testing.assert_array_equal(state.decoded, quick.reconstruct(here)[0])
    state.go_to(2, 7)
    assert not state.moved


def test_a_box_selects_by_codes(state, known):
    assert not state.mask.any()
    assert state.selection.shape == (0, 2)
    middle = np.median(known.z[..., 0])
    state.select(9, middle, -9, 9)
    expected = (known.z[..., 0] >= middle) & (np.abs(known.z[..., 1]) <= 9)
    assert state.mask.dtype == bool
    np.testing.assert_array_equal(state.mask, expected)
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(state.selection, np.argwhere(expected))
    state.clear()
    assert not state.mask.any()


def test_near_is_an_ellipse_of_the_plane():
    z = np.stack(np.meshgrid(np.linspace(0, 100, 51), np.linspace(0, 1, 51)), axis=-1)
    state = State(np.ones((51, 51, 8, 8)), codes_of(z))
    state.decode_at(50, 0.5)
    assert state.near[25, 25] and state.near[25, 26] and state.near[26, 25]
    assert not state.near[25, 28] and not state.near[28, 25]
    assert state.near.sum() == 9


@pytest.mark.parametrize("kind", ["counting", "h5py", "dask", "memmap"])
def test_one_pattern_is_read_of_a_source(kind, tmp_path, frames, known, quick):
    counted = Counting(frames)
    source = counted
    if kind == "h5py":
        file = h5py.File(tmp_path / "scan.h5", "w")
        source = file.create_dataset("data", data=frames)
    elif kind == "dask":
        source = da.from_array(counted, chunks=(2, 5, -1, -1), meta=np.empty(0, frames.dtype))
    elif kind == "memmap":
        np.save(tmp_path / "scan.npy", frames)
        source = np.load(tmp_path / "scan.npy", mmap_mode="r")
    state = State(source, known, model=quick)
    counted.reads.clear()
    state.go_to(3, 4)
    np.testing.assert_array_equal(state.measured, frames[3, 4])
    most = 1 if kind == "counting" else 10  # of dask the chunk at most
    assert sum(np.prod(read[:-2]) for read in counted.reads) <= most
    read = len(counted.reads)
    state.decode_at(0, 0)
    state.select(-1, 1, -1, 1)
    assert len(counted.reads) == read


@pytest.mark.parametrize("lazy", [False, True])
def test_a_file_closed_meanwhile_is_told_in_one_sentence(lazy, tmp_path, frames, known):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        source = file.create_dataset("data", data=frames)
        source = da.from_array(source, chunks=(2, 5, 16, 16)) if lazy else source
        state = State(source, known)
    with pytest.raises(ValueError, match=CLOSED):
        state.go_to(0, 0)
    assert state.position == (SCAN[0] // 2, SCAN[1] // 2)
    with pytest.raises(ValueError, match=CLOSED):
        State(source, known)


def test_pixels_without_a_number_are_dark(known):
    frames = np.ones((*SCAN, 16, 16))
    frames[..., 0, 0], frames[..., 0, 1] = np.nan, np.inf
    masked = np.ma.masked_less(frames, -1)
    masked[..., 5, 5] = np.ma.masked
    assert State(frames, known).measured.sum() == 254
    assert State(masked, known).measured.sum() == 253


def test_the_pedestal_is_taken_off():
    few = synthetic.lobes(80, size=16, counts=2000).frames * 5 + 100
    model = RRVAE(**QUICK, gain=5, offset=100).fit(few)
    frames = few.reshape(*SCAN, 16, 16)
    state = State(frames, model.encode(frames), model=model)
    assert model.response_.dark_level == 100
    np.testing.assert_array_equal(state.measured, frames[4, 5] - 100)
    assert state.decoded.sum() == pytest.approx(state.measured.sum(), rel=0.1)


def test_the_dose_of_another_scan_is_followed(frames, known, quick):
    state = State(3 * frames, known, model=quick, rescale=True)
    assert state.factor == pytest.approx(3, rel=0.1)
    assert state.decoded.sum() == pytest.approx(3 * frames[4, 5].sum())
    dark = State(0 * frames, known, model=quick, rescale=True)
    assert dark.factor == 0
    assert not dark.decoded.any()


def test_the_mean_is_that_of_decoded_patterns(state, known, quick):
    every = quick.reconstruct(known).reshape(80, 16, 16)
    assert np.abs(state.mean - every.mean(0)).max() < 0.1 * every.mean(0).max()
    assert State(state.patterns, known).mean is None


def test_one_latent_is_drawn_against_the_error(frames):
    model = RRVAE(1, **QUICK).fit(frames.reshape(-1, 16, 16))
    codes = model.encode(frames)
    state = State(frames, codes, model=model, collapsed=[False])
    assert state.plane.names == ("z1", "error")
    state.decode_at(0.7, 99.0)  # the error decodes to nothing
    here = at(codes, (slice(4, 5), 5))
    here.z[...] = 0.7
    np.testing.assert_array_equal(state.decoded, model.reconstruct(here)[0])
    state.select(-9, 9, 0, np.median(codes.error))
    np.testing.assert_array_equal(state.mask, codes.error <= np.median(codes.error))


def test_latents_that_live_span_the_plane(frames):
    codes = codes_of(np.random.default_rng(0).normal(size=(*SCAN, 4)))
    plane = State(frames, codes, collapsed=[True, False, True, False]).plane
    assert plane.names == ("z2", "z4")
    assert State(frames, codes, collapsed=[True, True, False, True]).plane.names == ("z3", "error")
    assert State(frames, codes, latents=(4, 1)).plane.names == ("z4", "z1")
    with pytest.raises(ValueError, match=r"latents must be one or two numbers from 1 to 4; got"):
        State(frames, codes, latents=(1, 5))


def test_collapsed_latents_leave_the_maps(frames, known, quick):
    state = State(frames, known, model=quick, collapsed=[True, True])
    assert state.plane.startswith("all latents are switched off, so there is no latent plane")
    assert state.decoded is not None
    assert not state.mask.any() and not state.near.any()
    for act in (lambda: state.decode_at(0, 0), lambda: state.select(0, 1, 0, 1)):
        with pytest.raises(ValueError, match="all latents are switched off"):
            act()
    assert tell(state, Scale())["z1"] == "switched off"


def test_codes_that_are_not_finite(frames, known, quick):
    z = known.z.copy()
    z[4, 5] = np.nan
    z[0, 0, 1] = np.inf
    codes = codes_of(z)
    state = State(frames, codes, model=quick, collapsed=())
    assert state.point is None and state.decoded is None
    state.select(*state.plane.limits[0], *state.plane.limits[1])
    assert state.mask.sum() == 78
    assert "alike" not in tell(state, Scale())
    state.decode_at(0.0, 0.0)
    assert state.decoded is not None
    nothing = State(frames, codes_of(np.full((*SCAN, 2), np.nan)), collapsed=())
    assert nothing.plane == "no position has finite latents, so there is no latent plane"


def test_blank_frames_have_codes_but_no_direction(frames, known):
    codes = codes_of(known.z, fold=0)
    codes.angle[...] = np.nan
    state = State(0 * frames, codes)
    assert tell(state, Scale())["angle"] == "none above the noise"
    assert state.measured.max() == 0


def test_what_is_read_of_a_position(state, known):
    state.go_to(3, 8)
    said = tell(state, Scale(0.5, "nm", 2.0))
    assert said["position"] == "row 3, column 8"
    assert said["at"] == "3, 4 nm"
    assert tell(state, Scale(0.5, "nm", 2.0, (-1.0, 2.0)))["at"] == "2, 6 nm"
    assert "at" not in tell(state, Scale(0.5, "nm", 2.0, None))
    z, std = known.z[3, 8, 0], known.z_std[3, 8, 0]
    assert said["z1"] == f"{z:.2f} ± {std:.2f}"
    degrees = f"{np.degrees(known.angle[3, 8]):.1f}° ± {np.degrees(known.angle_std[3, 8]):.1f}°"
    assert said["angle"].startswith(degrees) or known.fold[3, 8] == 0
    assert said["fold"] == str(known.fold[3, 8])
    assert not {"decoded at", "in the box"} & set(said)
    state.decode_at(0.25, -1)
    state.select(-9, 9, -9, 9)
    said = tell(state, Scale())
    assert "at" not in said
    assert said["decoded at"] == "z1 = 0.25, z2 = -1.00"
    assert said["in the box"] == "80 of 80"


@pytest.mark.parametrize("position", [(-1, 0), (0, 10), (8, 0)])
def test_positions_outside_the_scan(state, position):
    with pytest.raises(IndexError, match=r"within the scan of 8 rows and 10 columns; got \("):
        state.go_to(*position)


def test_points_and_boxes_must_be_finite(state):
    with pytest.raises(ValueError, match=r"the point must be finite; got \(nan, 0\)"):
        state.decode_at(np.nan, 0)
    with pytest.raises(ValueError, match="the box must be finite"):
        state.select(0, np.inf, 0, 1)


def test_what_does_not_belong_together(frames, known, quick):
    with pytest.raises(ValueError, match=r"shape \(rows, cols, H, W\).* got \(80, 16, 16\)"):
        State(frames.reshape(-1, 16, 16), known)
    with pytest.raises(ValueError, match=r"codes must be those of this scan of \(4, 10\) posit"):
        State(frames[:4], known)
    maps = latent_maps(known) | {"com_x": LatentMap("com_x", np.ones((3, 4)), "", None, "")}
    with pytest.raises(ValueError, match=r"maps must be those .*; 'com_x' is of \(3, 4\)"):
        State(frames, known, maps=maps)
    with pytest.raises(ValueError, match="gave the codes, of 3 latents; it has 2"):
        State(frames, codes_of(np.zeros((*SCAN, 3))), model=quick)
