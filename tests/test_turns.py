# SPDX-License-Identifier: GPL-3.0-or-later
"""What turns of the patterns do to the codes of a trained model."""

import math

import numpy as np
import pytest
import torch
from estimators import rendered, scan_of


def invariance_error(encode, turned, theta):
    """Largest move of z under turns, in standard deviations of z over the patterns.

    ``turned(theta)`` gives patterns (B, R, A), ``encode`` their latents (B, d).
    """
    still = encode(turned(0.0))
    return max(((encode(turned(t)) - still).abs() / still.std(dim=0)).max().item() for t in theta)


def assert_invariant(encode, turned, theta, *, atol):
    __tracebackhide__ = True
    error = invariance_error(encode, turned, theta)
    assert error <= atol, f"turns move z by {error:.2e} standard deviations; allowed are {atol:.0e}"


def decoded(trained, unseen):
    """The trained model in float64, and its patterns of unseen latents at a turn theta."""
    model, x = scan_of(trained, unseen)
    model = model.double()
    with torch.no_grad():
        z, _ = model.encode(x.double())

    def turned(theta):
        return model.expected(z, torch.full((len(z),), theta, dtype=torch.float64))

    return model, turned


BIN = 2 * math.pi / 32
WHOLE = [BIN * bins for bins in (2, 4, 16, 30)]
BETWEEN = [BIN * bins for bins in (0.5, 1.0, 1.37, 7.1)]


@pytest.mark.parametrize(("theta", "atol"), [(WHOLE, 1e-9), (BETWEEN, 0.15)], ids=["two", "any"])
def test_encoder_ignores_turns(theta, atol, trained, unseen):
    model, turned = decoded(trained, unseen)
    # Seen all round; what the corners of the detector hide is filled, and not exactly.
    model.set_weight(torch.ones_like(model.weight), model.dof)
    with torch.no_grad():
        assert_invariant(lambda x: model.encode(x)[0], turned, theta, atol=atol)


@pytest.mark.parametrize(("theta", "atol"), [(WHOLE, 0.01), (BETWEEN, 0.15)], ids=["two", "any"])
def test_encoder_all_but_ignores_turns_where_rings_are_seen_in_part(theta, atol, trained, unseen):
    model, turned = decoded(trained, unseen)
    assert (model.weight < 1).any()
    with torch.no_grad():
        assert_invariant(lambda x: model.encode(x)[0], turned, theta, atol=atol)


@pytest.mark.parametrize("theta", [WHOLE, BETWEEN], ids=["two", "any"])
def test_judge_rejects_an_encoder_that_sees_turns(theta, trained, unseen):
    model, turned = decoded(trained, unseen)
    weight = torch.randn((model.background.numel(), 2), generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), pytest.raises(AssertionError, match="turns move z"):
        assert_invariant(lambda x: x.flatten(1) @ weight.double(), turned, theta, atol=0.15)


TURNED = np.linspace(0, 2 * np.pi, 40, endpoint=False)


@pytest.mark.parametrize("fold", [2, 3, 6])
def test_latents_of_a_pattern_turned_physically_stay(fold, trained, unseen):
    spread = trained.transform(unseen.frames).std(axis=0)
    move = np.ptp(trained.transform(rendered(fold, TURNED)), axis=0)
    assert (move <= 0.15 * spread).all()


@pytest.mark.parametrize("fold", [2, 3, 6])
def test_angle_follows_a_pattern_turned_physically(fold, trained):
    codes = trained.encode(rendered(fold, TURNED))
    assert (codes.fold == fold).all()
    ahead = np.exp(1j * fold * (codes.angle - TURNED))
    error = np.angle(ahead / ahead.mean()) / fold
    assert np.degrees(np.abs(error).max()) < 0.3


@pytest.mark.parametrize("fold", [2, 3, 6])
def test_angle_std_is_what_noise_moves_the_angle_by(fold, trained):
    draws = np.random.default_rng(0).poisson(rendered(fold, np.full(300, 0.2)))
    codes = trained.encode(draws)
    spread = np.exp(1j * fold * codes.angle)
    moved = np.angle(spread / spread.mean()) / fold
    assert moved.std() == pytest.approx(np.median(codes.angle_std), rel=0.25)
