# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the beam stands in each pattern, found from the pattern itself."""

import pickle
import warnings

import dask.array as da
import numpy as np
import py4DSTEM
import pytest
from sharp_discs import CENTER, SIZE, discs

import py4dstem_rrvae  # noqa: F401, registers the accessor
from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.camera import Camera
from py4dstem_rrvae.detector.beam import BeamFinder, Shifts, wandering
from py4dstem_rrvae.detector.bins import Detector

MIDDLE = (CENTER, CENTER)
STOP = np.ones((SIZE, SIZE), dtype=bool)
STOP[21:26, :27] = False
QUICK = {"random_state": 0, "progress": False, "device": "cpu"}


def places(n, jitter, seed=0):
    return CENTER + np.random.default_rng(seed).normal(0, jitter, (n, 2))


def lobed(n, jitter, counts, numbers=(4, 6)):
    """Rings with lobes, without a central disc."""
    camera = Camera((SIZE, SIZE), center=places(n, jitter))
    return synthetic.lobes(n, size=44, counts=counts, numbers=numbers, camera=camera)


def counted_discs(true, level, strength=0.5):
    rng = np.random.default_rng(1)
    return rng.poisson(discs(true, rng.uniform(0, 6, len(true)), strength, level))


def detector(mask=None):
    return Detector((SIZE, SIZE), MIDDLE, np.eye(2), mask)


def finder(frames):
    return BeamFinder.of(detector(), frames)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.3, 3, 100])
@pytest.mark.parametrize("jitter", [0.0, 0.3, 2.0])
def test_discs_are_found_as_well_as_counts_allow(level, jitter):
    true = places(300, jitter)
    frames = counted_discs(true, level)
    origins, shifts = finder(frames)(frames)
    promised = np.sqrt(shifts.variance.mean())
    assert np.sqrt(((origins - true) ** 2).mean()) < max(1.1 * promised, 0.02)
    # The edge of a disc of radius 17 with `level` electrons a pixel.
    assert promised < 0.13 / np.sqrt(level)


def test_rings_with_lobes_are_found_too():
    patterns = lobed(400, 0.5, 3000)
    origins, shifts = finder(patterns.frames)(patterns.frames)
    error = np.sqrt(((origins - places(400, 0.5)) ** 2).mean())
    assert error < 1.1 * np.sqrt(shifts.variance.mean()) < 0.07


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(2, 3, 6), (4, 6)])
@pytest.mark.parametrize("mask", [None, STOP], ids=["whole", "beam stop"])
@pytest.mark.parametrize("counts", [100, 1000, 10000])
def test_a_beam_that_stands_still_is_not_said_to_wander(numbers, mask, counts):
    frames = lobed(500, 0.0, counts, numbers).frames
    assert wandering(detector(mask), frames, 0.0, 1.0) == 0


@pytest.mark.parametrize("mask", [None, STOP], ids=["whole", "beam stop"])
def test_wandering_is_measured(mask):
    frames = lobed(500, 0.4, 1000).frames
    assert wandering(detector(mask), frames, 0.0, 1.0) == pytest.approx(0.4, abs=0.06)


def test_shifts_are_in_pixels_whatever_the_matrix():
    true = places(200, 0.5)
    frames = counted_discs(true, 10)
    stretched = frames[:, ::2] + frames[:, 1::2]
    matrix = 0.01 * np.diag([2.0, 1.0])
    middle = ((CENTER - 0.5) / 2, CENTER)
    found = BeamFinder.of(Detector((SIZE // 2, SIZE), middle, matrix), stretched)
    origins, _ = found(stretched)
    error = origins - np.stack([(true[:, 0] - 0.5) / 2, true[:, 1]], axis=1)
    assert (np.sqrt((error**2).mean(axis=0)) < (0.04, 0.06)).all()


def test_offset_and_gain_do_not_matter():
    true = places(200, 0.4)
    frames = counted_discs(true, 3)
    plain = finder(frames)
    recorded = BeamFinder.of(plain.detector, 20 * frames + 100, 100.0)
    origins, shifts = recorded(20 * frames + 100, 100.0, 20.0)
    expected, same = plain(frames)
    assert np.allclose(origins, expected, atol=1e-6)
    assert np.allclose(shifts.variance, same.variance)


def test_a_finder_travels_to_a_worker():
    frames = counted_discs(places(50, 0.4), 3)
    found = finder(frames)
    assert np.array_equal(pickle.loads(pickle.dumps(found))(frames)[0], found(frames)[0])


def test_a_blank_pattern_has_no_shift_and_an_infinite_variance():
    frames = counted_discs(places(50, 0.4), 3)
    found = finder(frames)
    _, shifts = found(np.zeros_like(frames[:2]))
    assert np.isinf(shifts.variance).all()
    assert (shifts.value == 0).all()


@pytest.mark.parametrize(("truth", "gain"), [("smooth", 0.35), ("free", 0.9), ("still", 0.15)])
def test_smoothing_takes_what_neighbours_know(truth, gain):
    shape, rng = (24, 20), np.random.default_rng(0)
    row, col = np.indices(shape)
    true = {
        "smooth": np.stack([np.sin(row / 5), 0.1 * col - 1], axis=-1).reshape(-1, 2),
        "free": rng.normal(0, 0.6, (480, 2)),
        "still": np.zeros((480, 2)),
    }[truth]
    noise = np.where(rng.random(480) < 0.1, 1.0, 0.3)
    measured = true + noise[:, None] * rng.normal(size=(480, 2))
    measured[7], noise[7] = 50.0, np.inf
    better = Shifts(measured, noise**2).smoothed(shape)
    known = np.arange(480) != 7
    rms = [np.sqrt(((x - true)[known] ** 2).mean()) for x in (better, measured)]
    assert rms[0] < gain * rms[1]
    assert np.abs(better[7] - true[7]).max() < 2


@pytest.mark.slow
def test_a_jitter_breaks_folds_with_a_warning_and_each_mends_them():
    patterns = lobed(900, 0.3, 2000)
    frames = patterns.frames.reshape(30, 30, SIZE, SIZE)
    with pytest.warns(UserWarning, match=r"stands 0\.(2[7-9]|3[0-3]) pixels .* center=\"each\""):
        ignored = RRVAE(**QUICK).fit(frames).encode(frames)
    model = RRVAE(center="each", **QUICK).fit(frames)
    codes = model.encode(frames)
    right = [np.mean(c.fold.ravel() == patterns.fold) for c in (ignored, codes)]
    assert right[0] < 0.5
    assert right[1] > 0.99
    assert np.median(patterns.angle_error(codes.angle.ravel()) / patterns.bound) < 0.8
    # Lazily, and as another scan, the beam is followed as well.
    lazy = model.encode(da.from_array(frames, chunks=(7, 11, -1, -1)))
    assert np.allclose(lazy.z, codes.z, atol=1e-5)
    refitted = model.encode(frames, background="refit")
    assert np.mean(refitted.fold.ravel() == patterns.fold) > 0.95


@pytest.mark.slow
def test_each_in_a_host():
    patterns = lobed(400, 0.3, 3000)
    datacube = py4DSTEM.DataCube(patterns.frames.reshape(20, 20, SIZE, SIZE))
    maps = datacube.rrvae.fit(center="each", max_epochs=20, **QUICK)
    assert np.mean(maps["fold"].data.ravel() == patterns.fold) > 0.95


def test_each_needs_something_round():
    frames = synthetic.lobes(100, size=48, counts=3000).frames[:, 20:, 20:]
    with pytest.raises(ValueError, match='center="each" needs a disc or a ring'):
        RRVAE(center="each", **QUICK).fit(frames)
    with pytest.raises(ValueError, match='"refine", "each" or None'):
        RRVAE(center="every", **QUICK).fit(frames)


@pytest.mark.parametrize("cropped", [18, 21, 23])
def test_a_beam_near_a_corner_is_told(cropped):
    frames = synthetic.lobes(300, size=48, counts=3000).frames[:, cropped:, cropped:]
    center = (CENTER - cropped, CENTER - cropped)
    with pytest.warns(UserWarning, match=r"shows [234]\d% of the circles .* of 2\d rings"):
        RRVAE(center=center, max_epochs=2, **QUICK).fit(frames)


@pytest.mark.slow
def test_a_beam_a_quarter_off_the_middle_is_not():
    frames = synthetic.lobes(300, size=48, counts=3000).frames[:, 10:, 10:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RRVAE(center=(13.5, 13.5), max_epochs=20, **QUICK).fit(frames)


@pytest.mark.slow
@pytest.mark.parametrize("off", [2.5, 5.0])
@pytest.mark.parametrize("counts", [50, 3000])
def test_a_centre_that_the_mean_pattern_contradicts_is_told(off, counts):
    frames = synthetic.lobes(300, size=48, counts=counts).frames
    with pytest.warns(UserWarning, match=r"centred on \(23\.[3-7], 23\.[3-7]\): is it in pixels"):
        RRVAE(center=(CENTER + off, CENTER), max_epochs=2, **QUICK).fit(frames)


def test_a_stale_origin_in_a_host_is_told():
    frames = synthetic.lobes(400, size=48, counts=3000).frames.reshape(20, 20, 48, 48)
    datacube = py4DSTEM.DataCube(frames)
    datacube.calibration.set_origin((23.5, 23.5))
    datacube.crop_Q((4, 46, 2, 48))  # the host leaves the origin as it was
    assert datacube.calibration.get_origin_mean() == (23.5, 23.5)
    with pytest.warns(
        UserWarning, match=r"given as \(23\.5, 23\.5\), .* on \(19\.[3-7], 21\.[3-7]\)"
    ):
        datacube.rrvae.fit(max_epochs=2, **QUICK)
