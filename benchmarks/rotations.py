# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether rotational variants of one pattern take a component each.

``python -m benchmarks.rotations [--figure PNG]`` prints how many components it takes to explain
90 % of the structure of one pattern that lies in several directions, and how many components that
were found in three classes of any direction answer when a single pattern turns.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import NMF, PCA
from sklearn.exceptions import ConvergenceWarning

from py4dstem_rrvae import RRVAE, synthetic

from .quality import Row, table

Array = NDArray[np.float64]
SIZE, COUNTS, SHARE = 48, 5000.0, 0.9
VARIANTS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
# A component answers where a turn moves it by this share of its spread over all patterns.
ANSWER = 0.25
COLOURS = {"NMF": "tab:green", "PCA": "tab:blue", "RRVAE": "tab:red"}


def _spot(radius: Array, angle: Array, sharpness: Array, _: Array) -> Array:
    """A ring with one spot, some 10 degrees wide."""
    ring = np.exp(-0.5 * ((radius - 0.55) / 0.09) ** 2)
    spotted: Array = ring * np.exp(sharpness * (np.cos(angle) - 1)) + 0.001
    return spotted


@dataclass(frozen=True)
class Turnable:
    """A pattern that can be drawn in any direction, and repeats `fold` times in a full turn."""

    shape: synthetic.Shape
    parameter: float
    fold: int

    def expected(self, turns: Array, size: int = SIZE) -> Array:
        """Counts (n, H, W) without noise."""
        parameter, still = np.full(len(turns), self.parameter), np.zeros(len(turns))
        return synthetic._expected(self.shape, size, COUNTS, turns, parameter, still)

    def directions(self, n: int) -> Array:
        """So many, evenly over what the symmetry leaves."""
        return 2 * np.pi / self.fold * np.arange(n) / n


PATTERNS = {
    "three broad lobes": Turnable(synthetic._lobed_ring, 3.0, 3),
    "one spot": Turnable(_spot, 30.0, 1),
}


def rows(frames: NDArray[np.uint16] | Array) -> Array:
    """Square roots of counts, a pattern a row."""
    roots: Array = 2 * np.sqrt(frames.reshape(len(frames), -1) + 0.375)
    return roots


def explained(found: Array, truth: Array) -> float:
    """Share of the variance about the mean pattern."""
    about = np.square(truth - truth.mean(axis=0)).sum()
    return 1.0 - float(np.square(found - truth).sum() / about)


def factors(kind: str, n: int) -> PCA | NMF:
    """Not fitted yet."""
    if kind == "PCA":
        return PCA(n, random_state=0)
    return NMF(n, init="nndsvda", max_iter=500, random_state=0)


def needed(kind: str, pattern: Turnable, directions: int) -> int:
    """Components of noise-free patterns in so many directions."""
    if directions == 1:
        return 0 if kind == "PCA" else 1  # PCA keeps the mean pattern apart
    truth = rows(pattern.expected(pattern.directions(directions)))
    for n in range(1, directions):
        model = factors(kind, n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # by then it gains nothing
            scores = model.fit_transform(truth)
        if explained(model.inverse_transform(scores), truth) >= SHARE:
            return n
    return directions


@dataclass(frozen=True)
class Ours:
    """What `RRVAE` takes.

    Attributes
    ----------
    latents
        How many of two carry something, beside the angle.
    explained
        Share of the structure.
    decoded : ndarray, shape (directions, H, W)
        What it makes of the patterns.
    """

    latents: int
    explained: float
    decoded: Array


def ours(pattern: Turnable, directions: int, patterns: int = 600, epochs: int = 25) -> Ours:
    """`RRVAE` trained on noisy patterns in so many directions."""
    clean = pattern.expected(pattern.directions(directions))
    rng = np.random.default_rng(0)
    frames = rng.poisson(clean[np.arange(patterns) % directions]).astype(np.uint16)
    model = RRVAE(
        center=((SIZE - 1) / 2, (SIZE - 1) / 2),  # few directions may not show where it is
        max_epochs=epochs,
        batch_size=32,
        random_state=0,
        progress=False,
        device="cpu",
    ).fit(frames)
    decoded = model.reconstruct(model.encode(frames[:directions]))
    carrying = sum(not collapsed for collapsed in model.history_.collapsed)
    share = explained(rows(decoded), rows(clean)) if directions > 1 else float("nan")
    return Ours(carrying, share, decoded)


def counted(pattern: Turnable, directions: Iterable[int]) -> list[Row]:
    """Components needed, a row for each number of directions."""
    found = []
    for k in directions:
        own = ours(pattern, k)
        found.append(
            {"directions": str(k)}
            | {kind: str(needed(kind, pattern, k)) for kind in ("PCA", "NMF")}
            | {"RRVAE": str(own.latents)}
            | {"RRVAE, explained": f"{own.explained:.2f}" if k > 1 else "-"}
        )
    return found


def answers(n: int = 2000, size: int = SIZE, components: int = 12) -> dict[str, Array]:
    """Learn from three classes in any direction, then turn one pattern of one of them.

    Scores (12, d) at the 12 turns, less their mean over all patterns and over their spread.
    """
    everything = synthetic.lobes(n, size=size, counts=COUNTS).frames
    pattern = PATTERNS["three broad lobes"]
    clean = pattern.expected(pattern.directions(12), size)
    one = np.random.default_rng(1).poisson(clean).astype(np.uint16)
    scores = {}
    for kind in ("PCA", "NMF"):
        model = factors(kind, components).fit(rows(everything))
        scores[kind] = (model.transform(rows(one)), model.transform(rows(everything)))
    ours = RRVAE(random_state=0, progress=False, device="cpu").fit(everything)
    scores["RRVAE"] = (ours.transform(one), ours.transform(everything))
    return {
        name: (z - every.mean(axis=0)) / every.std(axis=0) for name, (z, every) in scores.items()
    }


def moved(scores: Array) -> int:
    """Components that the turn moves, of `answers`."""
    return int((scores.std(axis=0) > ANSWER).sum())


def draw(counts: dict[str, list[Row]], turned: dict[str, Array], path: Path) -> None:
    """One pattern in six directions taken apart; components needed; scores in a turn."""
    figure = Figure(figsize=(11, 6.8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.7))
    pattern = PATTERNS["one spot"]
    frames = rows(pattern.expected(pattern.directions(6)))
    factorised = factors("NMF", 6).fit(frames).components_.reshape(6, SIZE, SIZE)
    images = [*factorised, ours(pattern, 6).decoded[0]]
    for k, (ax, image) in enumerate(zip(above.subplots(1, 7), images, strict=True)):
        ax.imshow(image, cmap="gray")
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"NMF {k + 1}" if k < 6 else "RRVAE")
    above.suptitle(
        "One spot in six directions: the components of NMF, the one pattern of the RRVAE"
    )
    *left, right = below.subplots(1, 3, width_ratios=(1, 1, 1.5))
    for ax, (name, found) in zip(left, counts.items(), strict=True):
        number = [int(row["directions"]) for row in found]
        ax.plot(number, number, color="0.7", ls="--", label="one a direction")
        for kind, marker in (("NMF", "s-"), ("PCA", "o-"), ("RRVAE", "^-")):
            label = "RRVAE, latents beside the angle" if kind == "RRVAE" else kind
            taken = [int(row[kind]) for row in found]
            ax.plot(number, taken, marker, color=COLOURS[kind], label=label)
        ax.set(xlabel="directions", title=name, ylim=(-1, 25))
    left[0].set_ylabel(f"components for {SHARE:.0%} of the structure")
    left[0].legend(fontsize=8)
    for name, colour in COLOURS.items():
        degrees = 120 * np.arange(12) / 12
        lines = right.plot(degrees, turned[name], color=colour, lw=1)
        lines[0].set_label(f"{name}: {moved(turned[name])} of {len(lines)} answer")
    right.set(xlabel="turn of one 3-fold pattern, degrees", ylabel="score / its spread")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path)
    path = parser.parse_args().figure
    counts = {name: counted(pattern, VARIANTS) for name, pattern in PATTERNS.items()}
    for name, found in counts.items():
        table(f"Components for {SHARE:.0%} of the structure, {name}", found)
    turned = answers()
    total = {name: f"{moved(scores)} of {scores.shape[1]}" for name, scores in turned.items()}
    table("Components that answer a turn", [total])
    if path is not None:
        draw(counts, turned, path)


if __name__ == "__main__":
    main()
