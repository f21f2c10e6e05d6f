# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the frames are: finite codes of the right shape, or one sentence of ours.

Deterministic as it stands. At length, and otherwise at random:
``pytest tests/test_odd_input.py --hypothesis-profile=long --hypothesis-seed=random``
"""

from contextlib import contextmanager

import numpy as np
import pytest
from estimators import COMMON, QUICK
from hypothesis import currently_in_test_context, event, given, settings
from hypothesis import strategies as st
from odd_frames import Odd, assert_codes, fingerprint, odd_frames, only_our_words

from py4dstem_rrvae import RRVAE, Frames, describe, synthetic
from py4dstem_rrvae.estimator import NOT_FINITE

# What was found so, and mended.
FOUND = [
    Odd(matrix=((1.0, 0.0), (0.0, 1e9)), center="refine", content="smooth"),
    Odd(matrix=((1e200, 0.0), (0.0, 1e200)), center=None),
    Odd(matrix=((1e30, 0.0), (0.0, 1e30)), detector=(16, 16), content="disc"),
    Odd(matrix="matrix", center="word"),
    Odd(scan=(3, 4), detector=(15, 15), center="each far", matrix=((1.0, 0.0), (0.0, 40.0))),
    Odd(scan=(2, 2, 3), detector=(8, 40), dtype=">u2", center="each far", holder="read-only"),
    Odd(offset=-100.0, seed=3273),
    Odd(content="equal", detector=(16, 16), dtype=">f4", offset=-1e30, holes="frame"),
    Odd(scale=-1.0),
    Odd(mask="half", matrix=((1.0, 0.0), (0.0, 40.0))),
    Odd(scan=(), detector=(17, 15), mask="list"),
    Odd(scale=1e300),
]

TINY = COMMON | {"max_epochs": 1, "batch_size": 8}
MORE = settings(max_examples=20 * settings().max_examples)


def framed(odd, frames):
    """Frames with the geometry given, where a matrix is; else frames and options."""
    options = odd.geometry()
    if odd.matrix is None:
        return frames, options
    center = None if isinstance(options["center"], str) else options["center"]
    return Frames(frames, matrix=odd.matrix, center=center, mask=options["mask"]), {}


@contextmanager
def codes_or_words(odd):
    """Frames, which are to be used in the block and left as they are; what they give is noted."""
    frames = odd.frames()
    before = fingerprint(frames)
    with only_our_words() as said:
        yield frames
    assert fingerprint(frames) == before
    # That sentence is for models that somebody has spoilt.
    assert NOT_FINITE not in said
    if currently_in_test_context():
        event(said[0][:40] if said else "codes")


def fitted_or_refused(odd, **options):
    with codes_or_words(odd) as frames:
        given_frames, geometry = framed(odd, frames)
        model = RRVAE(**TINY | geometry | options)
        codes = model.fit(given_frames).encode(given_frames)
        assert_codes(codes, odd.scan, model.latent_dim)
        rendered = model.reconstruct(codes)
        assert rendered.shape == frames.shape and np.isfinite(rendered).all()


def encoded_or_refused(model, odd, background):
    with codes_or_words(odd) as frames:
        given_frames, geometry = framed(odd, frames)
        if geometry:
            center = None if isinstance(geometry["center"], str) else geometry["center"]
            given_frames = Frames(frames, center=center, mask=geometry["mask"])
        codes = model.encode(given_frames, background=background)
        assert_codes(codes, odd.scan, model.latent_dim)


def described_or_refused(odd, background, kind):
    with codes_or_words(odd) as frames:
        given_frames, geometry = framed(odd, frames)
        found = describe(
            given_frames,
            kind=kind,
            background=background,
            device="cpu",
            progress=False,
            **geometry,
        )
        assert found.rotation.shape == (*odd.scan, 11)
        assert found.mirror.shape == found.mirror_axis.shape == odd.scan
        for scores in (found.rotation, found.mirror, found.mirror_axis):
            assert not np.isinf(scores).any()


model_options = st.fixed_dictionaries(
    {},
    optional={
        "latent_dim": st.sampled_from([1, 3, 11, 40]),
        "mirror": st.booleans(),
        "intensity": st.sampled_from(["counts", "sqrt", "linear", "log"]),
        "background": st.sampled_from(["auto", "mean", "radial", None]),
        "gain": st.sampled_from([None, 1, 20.0, 1e-30, 1e30, np.float32(2.5)]),
        "offset": st.sampled_from([None, 0, 100.0, -1e20, 1e30]),
        "sample": st.sampled_from([8, 9, 100]),
        "batch_size": st.sampled_from([1, 7, 1000]),
        "schedule": st.sampled_from(["one-cycle", "constant"]),
        "beta": st.sampled_from([1e-6, 1.0, 1e6]),
        "learning_rate": st.sampled_from([1e-8, 1e-2, 10.0]),
        "fold_threshold": st.sampled_from([0, 0.002, 0.999]),
    },
)


@given(odd_frames())
def test_frames_are_fitted_or_refused(odd):
    fitted_or_refused(odd)


@pytest.mark.parametrize("odd", FOUND, ids=range(len(FOUND)))
def test_found_frames_are_fitted_described_and_encoded_or_refused(model, odd):
    fitted_or_refused(odd)
    for background in ("stored", "refit"):
        encoded_or_refused(model, odd, background)
    for background, kind in (("none", "angular"), ("mean", "pearson")):
        described_or_refused(odd, background, kind)


@pytest.mark.slow
@MORE
@given(odd_frames(), model_options)
def test_frames_are_fitted_or_refused_with_any_options(odd, options):
    fitted_or_refused(odd, **options)


@pytest.fixture(scope="module")
def model():
    return RRVAE(**QUICK).fit(synthetic.lobes(80, size=16, counts=2000).frames)


backgrounds = st.sampled_from(["stored", "refit"])
fitting = st.sampled_from([(16, 16)] * 3 + [(16, 18), (20, 20)])


@given(odd_frames((16, 16), fitting), backgrounds)
def test_frames_are_encoded_or_refused(model, odd, background):
    encoded_or_refused(model, odd, background)


@pytest.mark.slow
@MORE
@given(odd_frames((16, 16), fitting), backgrounds)
def test_more_frames_are_encoded_or_refused(model, odd, background):
    encoded_or_refused(model, odd, background)


@given(odd_frames(), st.sampled_from(["none", "mean"]), st.sampled_from(["angular", "pearson"]))
def test_frames_are_described_or_refused(odd, background, kind):
    described_or_refused(odd, background, kind)


@pytest.mark.slow
@MORE
@given(odd_frames(), st.sampled_from(["none", "mean"]), st.sampled_from(["angular", "pearson"]))
def test_more_frames_are_described_or_refused(odd, background, kind):
    described_or_refused(odd, background, kind)
