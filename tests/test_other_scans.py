# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoding scans other than the one trained on."""

import numpy as np
import pytest
from estimators import LEARNED

from py4dstem_rrvae import RRVAE, Frames, synthetic

Q_SIZE = 0.021


@pytest.fixture(scope="module")
def fine():
    """Frames of 48 x 48 pixels with a size in q, a model of such, and its codes."""
    lobes, unseen = (synthetic.lobes(n, counts=4000, random_state=n) for n in (600, 300))
    geometry = {"center": (23.5, 23.5), "matrix": Q_SIZE * np.eye(2), "q_units": "A^-1"}
    estimator = RRVAE(**LEARNED).fit(Frames(lobes.frames, **geometry))
    return unseen.frames, estimator, estimator.encode(Frames(unseen.frames, **geometry))


def binned(frames):
    count, height, width = frames.shape
    return frames.reshape(count, height // 2, 2, width // 2, 2).sum(axis=(2, 4))


def coarse(frames, size=2 * Q_SIZE):
    # The middle of four pixels is the middle of one: index 23.5 becomes 11.5.
    return Frames(binned(frames), (11.5, 11.5), size * np.eye(2), q_units="A^-1")


def assert_near(found, want):
    alive = want.z.std(axis=0) > 0
    assert alive.any()
    move = np.sqrt(np.mean((found.z - want.z)[:, alive] ** 2, axis=0))
    assert (move < 0.15 * want.z[:, alive].std(axis=0)).all()


@pytest.mark.parametrize("background", ["stored", "refit"])
def test_a_detector_of_coarser_pixels_gives_the_same_latents(background, fine):
    frames, estimator, want = fine
    found = estimator.encode(coarse(frames), background=background)
    assert_near(found, want)
    assert (found.fold == want.fold).mean() > 0.9


def test_a_detector_that_sees_less_than_the_model_is_refused(fine):
    frames, estimator, _ = fine
    with pytest.raises(
        ValueError, match=r"sees q up to 0\.504 A\^-1; the circle .* ends at 0\.252"
    ):
        estimator.encode(coarse(frames, Q_SIZE))


def test_the_centre_of_another_detector_is_found(fine):
    frames, estimator, want = fine
    moved = np.pad(frames, ((0, 0), (7, 3), (2, 5)))
    other = Frames(moved, matrix=Q_SIZE * np.eye(2), q_units="A^-1")
    assert_near(estimator.encode(other, background="refit"), want)


def test_refit_takes_the_dose_from_the_scan(trained, unseen, codes):
    other = synthetic.lobes(300, size=32, counts=6000, random_state=1)
    assert (other.label == unseen.label).all()
    refitted = trained.encode(other.frames, background="refit")

    def move(found):
        return np.median(np.abs(found.z - codes.z) / codes.z.std(axis=0), axis=0).max()

    assert move(refitted) < 0.1 < 0.3 < move(trained.encode(other.frames))
    assert np.sqrt(np.mean(refitted.error**2)) == pytest.approx(1.0, abs=0.1)


def test_refit_leaves_the_model_as_it_was(trained, lobes, unseen, codes):
    trained.encode(lobes.frames * 2, background="refit")
    np.testing.assert_array_equal(trained.encode(unseen.frames).z, codes.z)
