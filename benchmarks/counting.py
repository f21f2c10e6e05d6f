# SPDX-License-Identifier: GPL-3.0-or-later
"""Which likelihood suits counts: ring by ring, square roots, plain counts, or Poisson.

``python -m benchmarks.counting [--seeds N] [--counts 50 200 ...] [--figure PNG]`` trains the same
networks with the same schedule on rings of lobes (2-, 3- and 6-fold, else alike) and scores them on
a second draw. There is no detector-fixed background in these patterns and none in the models.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from py4dstem_rrvae import Frames, synthetic
from py4dstem_rrvae.detector.bins import Detector, PolarGrid
from py4dstem_rrvae.detector.intensity import Intensity, choose_intensity
from py4dstem_rrvae.model.base import Background
from py4dstem_rrvae.model.rrvae import PolarRRVAE
from py4dstem_rrvae.scan.binning import Binner
from py4dstem_rrvae.training.loop import Schedule, split, train

from . import scores
from .quality import Row, table

KINDS = ("counts", "sqrt", "linear", "poisson")
LABELS = {
    "counts": "Gaussian on n over the root of its ring's mean, turn by Poisson (default)",
    "sqrt": "Gaussian on 2 sqrt(n + 3/8)",
    "linear": "Gaussian on n",
    "poisson": "Poisson on n",
}


class PoissonRRVAE(PolarRRVAE):
    """Counts n of bins, Poisson with the rate ``exp(turn(decoder(z), theta))``.

    The log-likelihood as a function of the turn is one correlation too, of n with the log-rate;
    the summed rate does not depend on the turn.
    """

    log_mean: Tensor

    def initialise(self, patterns: Tensor, background: Background) -> None:
        """Start at the mean counts of each ring."""
        super().initialise(patterns, background)
        self.register_buffer("log_mean", patterns.mean(dim=(0, 2)).clamp(min=1e-3).log())
        self.scale.fill_(1.0)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder sees what the default model's sees."""
        mean, log_variance = self.encoder(2 * (x + 0.375).sqrt())
        return mean, log_variance

    def decode(self, z: Tensor, exponent: float = 1.0) -> Tensor:  # noqa: ARG002, all is kept
        """Harmonics of the log-rate."""
        return self._over_mean(self.decoder(z, self.scale))

    def decode_with_change(self, z: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """The same."""
        harmonics, change = super().decode_with_change(z, step)
        return self._over_mean(harmonics), change

    def _over_mean(self, harmonics: Tensor) -> Tensor:
        ring = torch.zeros_like(harmonics)
        ring[..., 0] = self.log_mean * math.sqrt(self.n_angular)
        return harmonics + ring

    def log_density(self, x: Tensor, harmonics: Tensor) -> tuple[Tensor, Tensor]:
        """``log p(n | D, theta)`` as a function of the turn, less log n!."""
        spectrum = torch.fft.rfft(x, norm="ortho")[..., : harmonics.shape[-1]]
        still = torch.zeros(len(x), device=x.device)
        rate = self.polar(harmonics, still).clamp(max=30).exp()
        correlation = (spectrum * harmonics.conj()).sum(dim=1)
        return -rate.sum(dim=(1, 2)), torch.nn.functional.pad(correlation, (0, 1))

    def _track_noise(self, highest: Tensor) -> None:
        """Poisson noise has no size of its own."""

    def measure_noise(self, x: Tensor) -> None:
        """Poisson noise has no size of its own."""


@dataclass(frozen=True)
class Found:
    """Latents (n, d) and angles (n,)."""

    z: np.ndarray
    angle: np.ndarray


def _inscribed(detector: Detector, wander: float) -> PolarGrid:
    return PolarGrid.within(detector.inscribed_radius(wander), detector)


def found_by(kind: str, training: np.ndarray, fresh: np.ndarray, seed: int) -> Found:
    """Train with one likelihood and encode another draw."""
    height, width = training.shape[1:]
    center = ((height - 1) / 2, (width - 1) / 2)
    # Whole rings: the summed rate would else depend on the turn.
    binner = Binner.of(Frames(training, center), _inscribed, device="cpu")
    transform = binner.transform
    positions = np.arange(len(training))
    counts, unseen = (binner.polar(frames, positions) for frames in (training, fresh))
    if kind == "poisson":
        scale = Intensity("linear", torch.ones(()))
    else:
        scale = choose_intensity(kind, counts, 1.0, transform.weight)
    x, y = scale(counts), scale(unseen)

    torch.manual_seed(seed)
    made = PoissonRRVAE if kind == "poisson" else PolarRRVAE
    model = made(2, transform.weight, transform.dof, kind == "counts")
    electrons = scale.mean_electrons(x, transform.weight)
    if electrons is not None:
        model.know_counts(electrons)
    parts, schedule = split(x, torch.Generator().manual_seed(seed)), Schedule(45, 64, 5e-3, 1.0)
    model.initialise(parts[0], None)
    train(model, *parts, schedule, torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        fit = model.fit(y)
    return Found(fit.z.double().numpy(), fit.theta.double().numpy())


def compare(counts: float, seed: int) -> list[Row]:
    """One row a likelihood."""
    training, fresh = (synthetic.lobes(2000, counts=counts, random_state=k) for k in (0, 1))
    rows = []
    for kind in KINDS:
        found = found_by(kind, training.frames, fresh.frames, seed)
        ratio = scores.angle_error_over_bound(fresh, found.angle)
        rows.append(
            {
                "counts": f"{counts:g}",
                "seed": str(seed),
                "likelihood": LABELS[kind],
                "10-NN accuracy": f"{scores.accuracy(found.z, fresh.label):.4f}",
                "ARI": f"{scores.ari(found.z, fresh.label):.4f}",
                "deformation R2": f"{scores.deformation(found.z, fresh):.3f}",
                "angle error / bound": " ".join(f"{r:.2f}" for r in ratio),
            }
        )
    return rows


def draw(rows: list[Row], path: Path) -> None:
    """Class accuracy and angle error against the dose, medians over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    doses = sorted({float(row["counts"]) for row in rows})
    for kind, marker in zip(KINDS, "dos^", strict=True):
        own = [
            [row for row in rows if row["likelihood"] == LABELS[kind] and float(row["counts"]) == d]
            for d in doses
        ]
        accuracy = [np.median([float(r["10-NN accuracy"]) for r in part]) for part in own]
        ratio = [
            np.median([np.mean([float(v) for v in r["angle error / bound"].split()]) for r in part])
            for part in own
        ]
        left.plot(doses, accuracy, f"{marker}-", label=LABELS[kind])
        right.plot(doses, ratio, f"{marker}-", label=LABELS[kind])
    left.axhline(1 / 3, color="0.6", lw=0.8, ls="--")
    left.text(doses[-1], 1 / 3, "chance", ha="right", va="bottom", color="0.4")
    right.axhline(0.6745, color="0.6", lw=0.8, ls="--")
    right.text(doses[-1], 0.6745, "best possible", ha="right", va="top", color="0.4")
    left.set_ylabel("class accuracy (10-NN on z)")
    right.set_ylabel("median angle error / Cramer-Rao bound")
    right.set_yscale("log")
    right.set_yticks([0.6, 1, 2, 5, 10], labels=["0.6", "1", "2", "5", "10"])
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xlabel("counts per pattern")
    left.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--counts", type=float, nargs="+", default=[50, 100, 200, 1000, 5000])
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    rows = [row for c in options.counts for s in range(options.seeds) for row in compare(c, s)]
    table("likelihoods of counts", rows)
    if options.figure is not None:
        draw(rows, options.figure)


if __name__ == "__main__":
    main()
