# SPDX-License-Identifier: GPL-3.0-or-later
"""What the latents of each method hold: the class, the turn, or both.

``python -m benchmarks.latent_planes RESULTS PROBLEM PNG`` draws the first two latents of methods
that `benchmarks.compare` has run on a problem.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .methods import METHODS
from .problems import PROBLEMS
from .scans import SCANS

SHOWN = ("rrvae", "atomai-best", "pyroved-best", "plain-2", "pca-2", "spectra")


def draw(folder: Path, problem: str, methods: tuple[str, ...] = SHOWN) -> Figure:
    """Above coloured by class, below by turn modulo the symmetry."""
    there = [m for m in methods if (folder / problem / f"{m}-0.npz").exists()]
    settings = json.loads((folder / problem / f"{there[0]}-0.json").read_text())["settings"]
    truth = PROBLEMS[problem](settings["patterns"]).truth
    turn = np.mod(truth.angle * truth.fold / (2 * np.pi), 1)
    figure = Figure(figsize=(2.3 * len(there), 5), layout="constrained")
    axes = figure.subplots(2, len(there), squeeze=False)
    for column, method in zip(axes.T, there, strict=True):
        z: NDArray[np.float64] = np.load(folder / problem / f"{method}-0.npz")["z"]
        above, below = column
        above.scatter(*z[:, :2].T, c=truth.label, cmap="Set1", vmin=0, vmax=8, s=2, lw=0)
        image = below.scatter(*z[:, :2].T, c=turn, cmap="twilight", vmin=0, vmax=1, s=2, lw=0)
        above.set_title(METHODS[method].label.replace(", ", "\n"), fontsize=9)
        for ax in column:
            ax.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("coloured by class")
    axes[1, 0].set_ylabel("coloured by turn")
    figure.colorbar(image, ax=axes[1], label="turn / period", pad=0.01)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("problem", choices=[p for p in PROBLEMS if p not in SCANS])
    parser.add_argument("figure", type=Path)
    options = parser.parse_args()
    draw(options.results, options.problem).savefig(options.figure, dpi=120)


if __name__ == "__main__":
    main()
