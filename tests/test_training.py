# SPDX-License-Identifier: GPL-3.0-or-later
"""The training loop: what it keeps, how it ends, and which latents it switches off."""

import copy
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from py4dstem_rrvae import synthetic
from py4dstem_rrvae.detector.bins import Detector, PolarGrid
from py4dstem_rrvae.detector.intensity import choose_intensity
from py4dstem_rrvae.detector.transform import BinTransform
from py4dstem_rrvae.model.architectures import Recipe
from py4dstem_rrvae.model.rrvae import PolarRRVAE
from py4dstem_rrvae.training.calibration import detector_noise, redraw
from py4dstem_rrvae.training.latents import settle_latents
from py4dstem_rrvae.training.loop import Schedule, _Loop, split, train

TRANSFORM = BinTransform(Detector((32, 32), (15.5, 15.5), np.eye(2)), PolarGrid(16.0, 10, 32))
# Nats that training is worth at least: each independent bin tells some.
LEARNED = 0.3 * TRANSFORM.dof.sum().item()
SCHEDULE = Schedule(max_epochs=8, batch_size=32, learning_rate=5e-3)


def stabilised(frames, like=None):
    """Patterns on the scale that suits them, or others."""
    like = TRANSFORM(frames if like is None else like)
    return choose_intensity("counts", like, 1.0, TRANSFORM.weight)(TRANSFORM(frames))


@pytest.fixture(scope="module")
def halves():
    return split(stabilised(synthetic.lobes(300, size=32).frames), seeded())


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def new_model(patterns, latent_dim=2, background="auto"):
    model = Recipe(latent_dim).build(TRANSFORM.weight, TRANSFORM.dof)
    model.initialise(patterns, background)
    return model


def run(halves, schedule=SCHEDULE, seed=1, model=None):
    model = model or new_model(halves[0])
    noises = None
    if schedule.added_noise:
        noises = detector_noise(halves[0].mean(dim=0), 300, counting(model))
    return model, train(model, *halves, schedule, seeded(seed), noises=noises)


def negative_elbo(model, patterns):
    """Held-out loss with the latent samples that training takes for it."""
    with torch.no_grad():
        noise = torch.randn((len(patterns), model.latent_dim), generator=seeded(0))
        log_likelihood, kl = model.elbo_terms(patterns, noise)
        return (kl.sum(dim=-1) - log_likelihood).mean().item()


class KeepsItsNoise(PolarRRVAE):
    """Leaves out the last step of training, so that its loss is the one it was chosen by."""

    def measure_noise(self, x):
        pass


def keeps_its_noise(patterns):
    model = new_model(patterns)
    model.__class__ = KeepsItsNoise
    return model


def test_split_holds_each_pattern_once():
    patterns = torch.arange(100.0)[:, None, None]
    training, held_out = split(patterns, seeded())
    assert (len(training), len(held_out)) == (85, 15)
    assert torch.equal(torch.cat([training, held_out]).sort(dim=0).values, patterns)
    assert not torch.equal(held_out.sort(dim=0).values, patterns[-15:])


def test_loss_falls(halves):
    _, history = run(halves)
    assert len(history.train_loss) == len(history.validation_loss) == 8
    assert history.train_loss[-1] < history.train_loss[0] - LEARNED
    assert min(history.validation_loss) < history.validation_loss[0] - LEARNED
    assert history.noise[-1] < 0.8 * history.noise[0]


def test_history_holds_the_divergence_of_each_latent(halves):
    model, history = run(halves)
    assert np.shape(history.kl) == (8, 2)
    with torch.no_grad():
        _, kl = model.latent_summary(halves[1])
    np.testing.assert_allclose(history.kl[history.best_epoch], kl, rtol=1e-4)


def test_weights_of_the_best_epoch_are_kept(halves):
    # Eight patterns are soon learned by heart: the last epoch is not the best one.
    schedule = Schedule(60, batch_size=8, learning_rate=1e-2, rate="constant")
    few = halves[0][:8], halves[1]
    model, history = run(few, schedule, model=keeps_its_noise(few[0]))
    best = min(history.validation_loss)
    assert history.validation_loss[history.best_epoch] == best < history.validation_loss[-1]
    assert negative_elbo(model, halves[1]) == pytest.approx(best, rel=1e-6)
    assert not model.training


@pytest.mark.slow
def test_added_noise_keeps_few_patterns_from_being_learned_by_heart(halves):
    schedule = Schedule(200, 8, 8e-3, beta2=0.99)

    def rise(added_noise):
        """Held-out loss after the last epoch over the lowest."""
        _, history = run((halves[0][:24], halves[1]), replace(schedule, added_noise=added_noise))
        return history.validation_loss[-1] - min(history.validation_loss)

    assert rise(1.0) < 0.3 * rise(0.0)


def test_added_noise_is_as_strong_as_the_bins_own(halves):
    model = new_model(halves[0])
    noises = detector_noise(halves[0].mean(dim=0), 1000, counting(model))
    loop = _Loop(model, replace(SCHEDULE, added_noise=0.5), len(halves[0]), seeded(), noises)
    pattern = halves[0][:1].expand(32, -1, -1)
    added = torch.cat([loop._noisy(pattern) - pattern for _ in range(300)])
    assert added.mean().abs() < 0.01
    frames = synthetic.lobes(300, size=32).frames
    own = stabilised(np.random.default_rng(3).poisson(frames.mean(axis=0), (3000, 32, 32)), frames)
    torch.testing.assert_close(added.std(dim=0), 0.5 * own.std(dim=0), rtol=0.2, atol=0)
    # Alike in neighbours, as bins share pixels.
    rings = [noise.sum(dim=-1).std(dim=0) for noise in (added, own)]
    torch.testing.assert_close(rings[0], 0.5 * rings[1], rtol=0.2, atol=0)


@pytest.mark.parametrize(("added_noise", "share"), [(0.0, 1.0), (0.5, 0.8), (1.0, 0.5)])
def test_a_latent_costs_no_more_of_what_noisy_patterns_tell(halves, added_noise, share):
    schedule = replace(SCHEDULE, added_noise=added_noise, beta=2.0, rate="constant")
    noises = torch.zeros(40, *halves[0].shape[1:])
    loop = _Loop(new_model(halves[0]), schedule, len(halves[0]), seeded(), noises)
    _, _, price = loop._pace()
    assert price == pytest.approx(2.0 * share)


def test_training_ends_after_the_last_epoch(halves):
    _, history = run(halves, Schedule(max_epochs=2, batch_size=64, learning_rate=1e-3))
    assert history.stopped == "max_epochs"
    assert len(history.validation_loss) == 2


def interrupt(monkeypatch, calls):
    """Press Ctrl-C in the middle of a later call."""
    elbo_terms, left = PolarRRVAE.elbo_terms, [calls]

    def counted(self, x, noise):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return elbo_terms(self, x, noise)

    monkeypatch.setattr(PolarRRVAE, "elbo_terms", counted)


# 255 patterns in batches of 32 are 8 calls, and the held-out ones another.
@pytest.mark.parametrize("calls", [5 * 9 + 4, 5 * 9 + 8], ids=["training", "validating"])
def test_interrupt_keeps_what_was_learned(calls, halves, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, calls)
        model, history = run(halves, model=keeps_its_noise(halves[0]))
    assert history.stopped == "interrupted"
    assert len(history.validation_loss) == 5
    untrained = negative_elbo(new_model(halves[0]).eval(), halves[1])
    kept = negative_elbo(model, halves[1])
    assert kept == pytest.approx(min(history.validation_loss), rel=1e-6)
    assert kept < untrained - LEARNED
    assert not model.training


def test_lists_of_an_interrupted_history_have_one_length(halves, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 3 * 9 + 8)
        _, history = run(halves)
    lists = (history.train_loss, history.validation_loss, history.noise, history.kl)
    assert {len(values) for values in lists} == {3}


def test_interrupt_in_the_first_epoch_leaves_a_usable_model(halves, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 5)
        model, history = run(halves)
    assert history.stopped == "interrupted"
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert torch.isfinite(model.infer(halves[1]).z).all()


def fit(halves, background="auto", schedule=SCHEDULE):
    return run(halves, schedule, model=new_model(halves[0], background=background))


@pytest.mark.parametrize(
    ("done", "free"), [(0.0, 0.5), (0.4, 0.5), (0.5, 0.25), (0.6, 0.0), (1.0, 0.0)]
)
def test_latents_cost_nothing_up_to_half_a_nat_until_they_are_learned(done, free, halves):
    loop = _Loop(new_model(halves[0]), SCHEDULE, len(halves[0]), seeded())
    loop.done = round(done * loop.total)
    # 64 steps are done in whole ones.
    assert loop._free() == pytest.approx(free, abs=0.5 / 0.2 / loop.total)


@pytest.mark.parametrize("end", [None, KeyboardInterrupt, RuntimeError])
def test_training_takes_one_thread_and_gives_the_others_back(end, halves, monkeypatch):
    before, seen, elbo_terms = torch.get_num_threads(), set(), PolarRRVAE.elbo_terms

    def watched(self, x, noise):
        seen.add(torch.get_num_threads())
        if end is not None:
            raise end
        return elbo_terms(self, x, noise)

    monkeypatch.setattr(PolarRRVAE, "elbo_terms", watched)
    torch.set_num_threads(3)
    try:
        with pytest.raises(RuntimeError) if end is RuntimeError else nullcontext():
            run(halves, Schedule(max_epochs=1, batch_size=64, learning_rate=1e-3))
        assert (seen, torch.get_num_threads()) == ({1}, 3)
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("background", ["auto", "mean", "radial", None])
def test_a_fixed_background_is_the_one_it_starts_with(background, halves):
    model, _ = fit(halves, background)
    expected = Recipe(2).build(TRANSFORM.weight, TRANSFORM.dof)
    expected.initialise(halves[0], background)
    assert torch.equal(model.background, expected.background)


def test_other_exceptions_are_not_swallowed(halves, monkeypatch):
    def broken(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(PolarRRVAE, "elbo_terms", broken)
    with pytest.raises(RuntimeError, match="broken"):
        run(halves)


@pytest.mark.slow
def test_same_seed_gives_the_same_weights_bit_for_bit(halves):
    (one, first), (same, second), (other, _) = (run(halves, seed=s) for s in (1, 1, 2))
    assert first == second
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    weights = one.decoder.input.weight, other.decoder.input.weight
    assert not torch.equal(*weights)


def test_training_leaves_the_global_generator_alone(halves):
    before = torch.random.get_rng_state()
    run(halves)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_progress_is_shown_when_wanted_and_to_somebody(halves, capsys, monkeypatch):
    model, short = new_model(halves[0]), Schedule(max_epochs=1, batch_size=64, learning_rate=1e-3)
    train(model, *halves, short, seeded())
    assert capsys.readouterr().err == ""
    train(model, *halves, short, seeded(), progress=True)
    assert capsys.readouterr().err == ""  # a log
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    train(model, *halves, short, seeded(), progress=True)
    assert "training: " in capsys.readouterr().err
    train(model, *halves, short, seeded())
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    monkeypatch.setattr("py4dstem_rrvae.progress.IN_NOTEBOOK", True)
    train(model, *halves, short, seeded(), progress=True)
    assert "training: " in capsys.readouterr().err


def counting(model, like=None):
    """The detector, counting a model's patterns on the scale of the patterns trained on."""
    like = TRANSFORM(synthetic.lobes(300, size=32).frames if like is None else like)
    intensity = choose_intensity("counts", like, 1.0, TRANSFORM.weight)
    chance = seeded()
    return lambda x, draws: redraw(x, draws, model, TRANSFORM, intensity, chance)


@pytest.fixture(scope="module")
def learned(halves):
    """Trained with two latents, both of which carry something."""
    schedule = Schedule(max_epochs=30, batch_size=16, learning_rate=5e-3)
    return run(halves, schedule)


def test_latents_that_carry_something_stay(learned, halves):
    model, history = copy.deepcopy(learned)
    settle_latents(model, halves[1], history, counting(model))
    assert history.collapsed == [False, False]
    assert min(history.repeatability) > 0.8
    with torch.no_grad():
        _, kl = model.latent_summary(halves[1])
    assert kl[0] > kl[1] > 0.5


def _first_latent_from_parity(_, inputs, outputs):
    """Let one random bit of every pattern be its first latent, and its most divergent one."""
    mean, log_variance = outputs
    noisy = 8.0 * (torch.remainder(1e3 * inputs[0].sum(dim=(1, 2)), 2) > 1) - 4
    return torch.stack([noisy, mean[:, 1]], dim=1), log_variance


def test_a_latent_of_noise_is_switched_off_and_reported(learned, halves):
    model, history = copy.deepcopy(learned)
    hook = model.encoder.register_forward_hook(_first_latent_from_parity)
    before = model.infer(halves[1])
    assert before.z[:, 0].std() > 0.9
    settle_latents(model, halves[1], history, counting(model))
    hook.remove()
    assert history.collapsed == [False, True]
    assert history.repeatability[1] < 0.5 < history.repeatability[0]
    after = model.infer(halves[1])
    assert (after.z[:, 1] == 0).all() and (after.z_std[:, 1] == 1).all()
    np.testing.assert_allclose(after.z[:, 0], before.z[:, 1], atol=1e-5)


def test_a_latent_that_carries_nothing_is_switched_off_and_reported(learned, halves):
    model, history = copy.deepcopy(learned)
    with torch.no_grad():
        model.encoder.output.weight[1] *= 1e-3
    settle_latents(model, halves[1], history, counting(model))
    assert history.collapsed == [False, True]
    assert model.kept.tolist() == [1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("counts", [5000.0, 60.0])
def test_repeatability_is_the_correlation_between_two_noise_draws(counts):
    # At a dose many times as high, a draw is its own expectation.
    exact = synthetic.lobes(600, size=32, counts=1e6, random_state=5).frames * (counts / 1e6)
    rng = np.random.default_rng(0)
    drawn = [rng.poisson(exact) for _ in range(3)]
    first, one, two = (stabilised(frames, like=drawn[0]) for frames in drawn)
    schedule = Schedule(max_epochs=15, batch_size=32, learning_rate=5e-3)
    model, history = run(split(first, seeded()), schedule)
    settle_latents(model, one, history, counting(model, drawn[0]))
    one, two = model.infer(one).z, model.infer(two).z
    between = 1 - (one - two).square().mean(dim=0) / 2 / one.var(dim=0)
    kept = ~np.array(history.collapsed)
    assert kept.any()
    np.testing.assert_allclose(np.array(history.repeatability)[kept], between[kept], atol=0.1)
