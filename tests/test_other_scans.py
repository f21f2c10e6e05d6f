# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoding scans other than the one trained on."""

import numpy as np
import pytest
from estimators import COMMON, LEARNED

from py4dstem_rrvae import RRVAE, Frames, synthetic

Q_SIZE = 0.021


@pytest.fixture(scope="module")
def fine(on_camera):
    """Frames of 48 x 48 pixels with a size in q, a model of such, and its codes."""
    truth, _ = recorded("48 pixels", 300, 1)
    return truth.frames, *on_camera("48 pixels")


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
        ValueError, match=r"sees q up to 0\.504 A\^-1 all round; the circle .* ends at 0\.252"
    ):
        estimator.encode(coarse(frames, Q_SIZE))


def test_the_centre_of_another_detector_is_found(fine):
    frames, estimator, want = fine
    moved = np.pad(frames, ((0, 0), (7, 3), (2, 5)))
    other = Frames(moved, matrix=Q_SIZE * np.eye(2), q_units="A^-1")
    assert_near(estimator.encode(other, background="refit"), want)


@pytest.mark.slow
def test_refit_takes_the_dose_from_the_scan(trained, lobes, unseen):
    # How far z of the weaker latent moves differs from training to training: the median of three.
    brighter = synthetic.lobes(300, size=32, counts=9000, random_state=1)
    assert (brighter.label == unseen.label).all()
    others = [RRVAE(**COMMON | {"random_state": seed}).fit(lobes.frames) for seed in (1, 2)]

    def moves(model):
        was = model.encode(unseen.frames)
        seen = model.encode(brighter.frames, background="refit"), model.encode(brighter.frames)
        assert np.sqrt(np.mean(seen[0].error ** 2)) == pytest.approx(1.0, abs=0.1)
        return [np.median(np.abs(c.z - was.z) / was.z.std(axis=0), axis=0).max() for c in seen]

    refitted, stored = np.median([moves(model) for model in (trained, *others)], axis=0)
    assert refitted < 0.1 < 0.3 < stored


def test_refit_leaves_the_model_as_it_was(trained, lobes, unseen, codes):
    trained.encode(lobes.frames * 2, background="refit")
    np.testing.assert_array_equal(trained.encode(unseen.frames).z, codes.z)


CAMERAS = {
    "48 pixels": synthetic.Camera((48, 48)),
    "96 pixels": synthetic.Camera((96, 96), matrix=np.eye(2) / 2),
    "camera length x 1.25": synthetic.Camera((60, 60), matrix=np.eye(2) / 1.25),
    "camera length / 1.25": synthetic.Camera((40, 40), matrix=np.eye(2) * 1.25),
}


def recorded(name, n, seed):
    camera = CAMERAS[name]
    truth = synthetic.lobes(n, counts=4000, random_state=seed, camera=camera)
    return truth, Frames(
        truth.frames, camera.origin, Q_SIZE * camera.matrix, camera.mask, q_units="A^-1"
    )


@pytest.fixture(scope="module")
def on_camera():
    """Model trained on a camera and its codes of unseen patterns, made once per camera."""
    made = {}

    def of(name):
        if name not in made:
            estimator = RRVAE(**LEARNED).fit(recorded(name, 600, 0)[1])
            made[name] = estimator, estimator.encode(recorded(name, 300, 1)[1])
        return made[name]

    return of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trained", "other"),
    [
        ("48 pixels", "96 pixels"),
        pytest.param("96 pixels", "48 pixels", marks=pytest.mark.slow),
        ("48 pixels", "camera length x 1.25"),
        ("48 pixels", "camera length / 1.25"),
        pytest.param("96 pixels", "camera length / 1.25", marks=pytest.mark.slow),
    ],
)
def test_codes_of_another_camera_agree(trained, other, on_camera):
    estimator, want = on_camera(trained)
    truth, frames = recorded(other, 300, 1)
    found = estimator.encode(frames, background="refit")
    # The draws differ in their noise too.
    alive = want.z.std(axis=0) > 0
    moved = np.abs(found.z - want.z)[:, alive] / want.z[:, alive].std(axis=0)
    assert np.median(moved) < 0.15
    assert (found.fold == truth.fold).mean() > 0.9
    # Both angles are of the model's own zero.
    apart = np.abs(np.angle(np.exp(1j * truth.fold * (found.angle - want.angle)))) / truth.fold
    assert np.nanmedian(apart / truth.bound) < 3


def test_a_camera_length_that_is_not_calibrated_moves_the_latents(on_camera):
    """What shows that the test above can fail."""
    estimator, want = on_camera("48 pixels")
    _, right = recorded("camera length x 1.25", 300, 1)
    wrong = Frames(right.patterns, right.center, Q_SIZE * np.eye(2), q_units="A^-1")
    moved = [
        np.median(np.abs(estimator.encode(f, background="refit").z - want.z) / want.z.std(axis=0))
        for f in (right, wrong)
    ]
    assert moved[1] > 2 * moved[0]


def test_a_camera_that_sees_less_is_refused_in_one_sentence(on_camera):
    estimator, _ = on_camera("48 pixels")
    _, frames = recorded("96 pixels", 8, 1)
    less = Frames(frames.patterns, frames.center, 0.5 * frames.matrix, q_units="A^-1")
    refused = r"the model sees q up to .* A\^-1 all round; the circle on this"
    with pytest.raises(ValueError, match=refused):
        estimator.encode(less, background="refit")
