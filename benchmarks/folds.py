# SPDX-License-Identifier: GPL-3.0-or-later
"""How often the fold is right, behind masks and with a beam that jitters, on known patterns.

``python -m benchmarks.folds [--seeds 3]`` prints two Markdown tables: masks against doses, and
jitter against doses with one centre for all, with ``center="each"``, and with the true origins.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from py4dstem_rrvae import RRVAE, Codes, Frames
from py4dstem_rrvae.synthetic import Camera, Patterns, lobes

from . import scores
from .quality import Row, table

Array = NDArray[np.float64]

SIZE = 48
N = 1600
NUMBERS = (2, 3, 6)
DOSES = (200, 1000, 5000)
JITTERS = (0.1, 0.3, 1.0)
TRAINING: dict[str, Any] = {"progress": False, "device": "cpu"}


def masks() -> dict[str, NDArray[np.bool_]]:
    """What is left of a detector of 48 x 48 pixels (True = keep)."""
    row, col = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    return {
        "none": np.ones((SIZE, SIZE), bool),
        "direct beam, 4 pixels": np.hypot(row, col) >= 4,
        "beam stop, 6 pixels wide": ~((np.abs(col) < 3) & (row < 2)),
        "cross of a quad camera, 2 pixels": (np.abs(col) >= 1) & (np.abs(row) >= 1),
        "every tenth row": np.indices((SIZE, SIZE))[0] % 10 != 5,
    }


def row(truth: Patterns, codes: Codes) -> dict[str, Any]:
    """Share of right folds per class, angle error over the bound, share within angle_std."""
    error = truth.angle_error(codes.angle.ravel())
    own = [truth.fold == n for n in np.unique(truth.fold)]
    return {
        "fold": [float(np.mean(codes.fold.ravel()[k] == truth.fold[k])) for k in own],
        "angle": scores.angle_error_over_bound(truth, codes.angle.ravel()),
        "within": float(np.nanmean(error < codes.angle_std.ravel())),
    }


def cells(several: list[dict[str, Any]]) -> Row:
    """Median over the seeds, as cells of a table."""
    fold, angle = (np.median([s[name] for s in several], axis=0) for name in ("fold", "angle"))
    return {
        "fold right": " ".join(f"{x:.3f}" for x in fold),
        "angle error / bound": " ".join(f"{x:.2f}" for x in angle),
        "within 1 sd (0.68)": f"{np.median([s['within'] for s in several]):.2f}",
    }


def masked(seeds: Iterable[int]) -> list[Row]:
    """Trained on one draw behind the mask, scored on another."""
    rows = []
    for name, mask in masks().items():
        camera = Camera((SIZE, SIZE), gain=mask.astype(float))
        for dose in DOSES:
            several = []
            for seed in seeds:
                first, second = (
                    lobes(N, counts=dose, numbers=NUMBERS, camera=camera, random_state=2 * seed + i)
                    for i in range(2)
                )
                model = RRVAE(random_state=seed, center=camera.origin, mask=mask, **TRAINING)
                several.append(row(second, model.fit(first.frames).encode(second.frames)))
            rows.append({"mask": name, "counts": str(dose)} | cells(several))
            print("|".join(rows[-1].values()), flush=True)
    return rows


def jittering(seeds: Iterable[int]) -> list[Row]:
    """Trained and scored on one scan of 40 x 40 positions, each with a beam of its own."""
    rows = []
    for jitter in JITTERS:
        for dose in DOSES:
            found: dict[str, list[dict[str, Any]]] = {"one": [], "each": [], "true": []}
            for seed in seeds:
                true = (SIZE - 1) / 2 + np.random.default_rng(seed).normal(0, jitter, (N, 2))
                camera = Camera((SIZE, SIZE), true)
                truth = lobes(
                    N, size=44, counts=dose, numbers=NUMBERS, camera=camera, random_state=seed
                )
                scan = Frames(truth.frames.reshape(40, 40, SIZE, SIZE))
                known = Frames(scan.patterns, true.reshape(40, 40, 2))
                for way, center, frames in (
                    ("one", None, scan),
                    ("each", "each", scan),
                    ("true", None, known),
                ):
                    model = RRVAE(random_state=seed, center=center, **TRAINING).fit(frames)
                    found[way].append(row(truth, model.encode(frames)))
            for way, several in found.items():
                names = {"jitter, pixels": f"{jitter:.1f}", "counts": str(dose), "centre": way}
                rows.append(names | cells(several))
                print("|".join(rows[-1].values()), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    warnings.filterwarnings("ignore", message="the beam stands")
    table("Masks", masked(seeds))
    table("Jitter", jittering(seeds))


if __name__ == "__main__":
    main()
