# SPDX-License-Identifier: GPL-3.0-or-later
"""One training loop for every architecture."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..model.base import LatentModel
from ..progress import progress_bar
from ..threads import one_thread
from .optimiser import Adam, one_cycle

RateKind = Literal["one-cycle", "constant"]

HELD_OUT = 0.15
# Share of the steps over which the weight of the KL divergence rises to its own. Without it a
# latent of little weight is given up early (deformation at 200 counts: R^2 0.55 and 0.83 to 0.85,
# by the seed; with it 0.84).
WARM_UP = 0.3
# What each latent may cost at no price, in nats, and from which to which share of the steps this
# falls to nothing. A latent that is worth little more is otherwise given up before the decoder has
# learned what it is good for (50 counts a pattern: three trainings of five); for good, two latents
# would share what one can say. After D. P. Kingma et al. (NeurIPS 2016).
FREE_NATS, FREE_UNTIL, PAID_FROM = 0.5, 0.4, 0.6
# Preference of each pattern for a direction (see `LatentModel.sway`) at first, and the share of the
# steps after which there is none: what breaks a symmetry by little has to be learned without.
SWAY, SWAYED_UNTIL = 0.05, 0.6


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    max_epochs : int
        Passes over the training patterns at most.
    batch_size : int
        Patterns per step.
    learning_rate : float
        Largest rate of the one-cycle schedule (Smith and Topin, 2019) of Adam.
    beta : float
        Weight of the KL divergence; with added noise a step takes it in proportion to what the
        noise leaves of a pattern's information.
    rate : {"one-cycle", "constant"}
        Whether the rate rises and falls, or stays what it is for all epochs.
    beta2 : float
        Of Adam, for squared gradients.
    added_noise : float
        Of the detector's noise, how much every step adds to its patterns; 1 is as much as they
        have. It keeps few patterns from being learned by heart (Bishop, Neural Computation 7, 108,
        1995).
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    beta: float = 1.0
    rate: RateKind = "one-cycle"
    beta2: float = 0.999
    added_noise: float = 0.0


@dataclass
class History:
    """What happened in training; losses are negative ELBOs in nats per pattern.

    Attributes
    ----------
    train_loss, validation_loss, noise : list of float
        Per epoch; noise is the standard deviation of the model's noise.
    kl : list of list of float
        Held-out KL divergence per latent, per epoch.
    best_epoch : int
        Epoch whose weights were kept.
    stopped : {"max_epochs", "interrupted"}
        Why training ended.
    repeatability : list of float
        Per latent, the correlation expected between two noise draws of the same patterns; empty
        until measured.
    collapsed : list of bool
        Per latent, whether it was switched off: it carried nothing, or noise.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    kl: list[list[float]] = field(default_factory=list)
    best_epoch: int = -1
    stopped: Literal["max_epochs", "interrupted"] = "max_epochs"
    repeatability: list[float] = field(default_factory=list)
    collapsed: list[bool] = field(default_factory=list)


def split(patterns: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Training and held-out part of ``patterns (n, R, A)``, n >= 2, drawn at random."""
    order = torch.randperm(len(patterns), generator=generator).to(patterns.device)
    held_out = max(1, round(HELD_OUT * len(patterns)))
    return patterns[order[held_out:]], patterns[order[:held_out]]


def train(
    model: LatentModel,
    training: Tensor,
    validation: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    progress: bool = False,
    noises: Tensor | None = None,
) -> History:
    """Maximise the ELBO over the parameters that require a gradient.

    An interrupt (Ctrl-C) ends training as the last epoch would. The model is left in evaluation
    mode with the weights that were best on the held-out patterns.

    Parameters
    ----------
    model
        Initialised model, changed in place.
    training, validation : Tensor, shape (n, R, A)
        Stabilised patterns on the model's device, from `split`.
    schedule
        How long and how fast.
    generator
        CPU generator of the batches and the latent samples.
    progress
        Whether to show a bar.
    noises : Tensor, shape (k, R, A), or None
        Draws of the detector's noise, more than a batch has patterns. Without them none is added.
    """
    history, loop = History(), _Loop(model, schedule, len(training), generator, noises)
    best = deepcopy(model.state_dict())
    bar = progress_bar("training" if progress else None, total=schedule.max_epochs, unit="epoch")
    with bar, one_thread() if model.small_steps else nullcontext():
        try:
            for epoch in range(schedule.max_epochs):
                loop.run(training, validation, history)
                bar.update()
                bar.set_postfix(loss=f"{history.validation_loss[-1]:.2f}", refresh=False)
                if history.validation_loss[-1] <= min(history.validation_loss):
                    history.best_epoch, best = epoch, deepcopy(model.state_dict())
        except KeyboardInterrupt:
            history.stopped = "interrupted"
        model.load_state_dict(best)
        model.eval()
        model.measure_noise(validation)
    return history


class _Loop:
    """Optimiser state and the two passes of an epoch."""

    def __init__(
        self,
        model: LatentModel,
        schedule: Schedule,
        n: int,
        generator: torch.Generator,
        noises: Tensor | None = None,
    ) -> None:
        self.model, self.schedule, self.generator = model, schedule, generator
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = Adam(trained, schedule.beta2)
        self.done, self.total = 0, -(-n // schedule.batch_size) * schedule.max_epochs
        self.added = 0.0 if noises is None else schedule.added_noise
        self.noises = None if noises is None else self.added * noises

    def _pace(self) -> tuple[float, float, float]:
        """Learning rate, momentum, and weight of the KL divergence, of the next step."""
        # Noise takes from what a pattern tells of z; at its old price z would not be worth learning
        # (of 286 patterns, the second latent of incoherent graphene in 4 trainings of 10).
        beta = self.schedule.beta / (1 + self.added**2)
        rate = self.schedule.learning_rate
        if self.schedule.rate == "constant":
            return rate, 0.9, beta
        share, momentum = one_cycle(self.done, self.total)
        return rate * share, momentum, beta * min(1.0, (self.done + 1) / (WARM_UP * self.total))

    def _free(self) -> float:
        """Nats that each latent may cost at no price, in the next step."""
        paid = (self.done / self.total - FREE_UNTIL) / (PAID_FROM - FREE_UNTIL)
        return FREE_NATS * min(max(1 - paid, 0.0), 1.0)

    def _noisy(self, x: Tensor) -> Tensor:
        if self.noises is None:
            return x
        last = len(self.noises) - len(x)
        first = int(torch.randint(last + 1, (), generator=self.generator))
        return x + self.noises[first : first + len(x)]

    def _loss(self, x: Tensor, generator: torch.Generator, beta: float) -> tuple[Tensor, Tensor]:
        noise = torch.randn((len(x), self.model.noise_dim), generator=generator).to(x.device)
        log_likelihood, kl = self.model.elbo_terms(x, noise)
        kl = kl.mean(dim=0)
        paid = kl.clamp(min=self._free()) if self.model.training else kl
        return beta * paid.sum() - log_likelihood.mean(), kl

    def run(self, training: Tensor, validation: Tensor, history: History) -> None:
        """One epoch; the history gets all of it or, if interrupted, nothing."""
        loss = self.epoch(training)
        held_out, kl = self.validate(validation)
        history.train_loss.append(loss)
        history.validation_loss.append(held_out)
        history.kl.append(kl)
        history.noise.append(self.model.noise_variance.mean().sqrt().item())

    def epoch(self, patterns: Tensor) -> float:
        self.model.train()
        order = torch.randperm(len(patterns), generator=self.generator).to(patterns.device)
        total = torch.zeros((), device=patterns.device)
        for batch in order.split(self.schedule.batch_size):
            total += self.step(patterns.index_select(0, batch)) * len(batch)
        return (total / len(patterns)).item()

    def step(self, x: Tensor) -> Tensor:
        """Loss of a batch, after which the parameters have moved."""
        rate, momentum, beta = self._pace()
        self.model.sway = SWAY * max(1 - self.done / (SWAYED_UNTIL * self.total), 0.0)
        loss, _ = self._loss(self._noisy(x), self.generator, beta)
        gradients = torch.autograd.grad(loss, self.optimiser.parameters)
        self.optimiser.step(gradients, rate, momentum)
        self.done += 1
        return loss.detach()

    @torch.no_grad()
    def validate(self, patterns: Tensor) -> tuple[float, list[float]]:
        self.model.eval()
        # The same latent samples in every epoch, so that losses compare.
        generator = torch.Generator().manual_seed(0)
        total = torch.zeros(1 + self.model.latent_dim, device=patterns.device)
        for x in patterns.split(512):
            loss, kl = self._loss(x, generator, 1.0)
            total += torch.cat([loss[None], kl]) * len(x)
        loss_per_pattern, *kl_per_latent = (total / len(patterns)).tolist()
        return loss_per_pattern, kl_per_latent
