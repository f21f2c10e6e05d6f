# SPDX-License-Identifier: GPL-3.0-or-later
"""A bright disc off the middle with a weak tail: what few electrons say should reach the latents.

``python -m benchmarks.tail [--seeds 5]`` prints, for each seed, R^2 of the tail and of the disc's
own modulation from z by 10 nearest neighbours, on patterns that were not trained on. Before them
comes an ideal reader: the most likely tail and modulation of a pattern, of which all else is known.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from py4dstem_rrvae import RRVAE, Frames

Array = NDArray[np.float64]

CENTER, RADIUS, SIZE = (30.0, 34.5), 25.0, 64
DISC, TAIL, VARIES = 2e5, 100.0, 0.4
"""Electrons in the disc and in the tail, and the standard deviation of the latter's share."""


@dataclass(frozen=True)
class Tails:
    """Patterns (n, H, W) and what varies in them, each (n,)."""

    frames: Frames
    modulation: Array
    tail: Array


def _parts() -> tuple[Array, Array, Array, Array]:
    """Disc, how much of its lobes each pixel has, azimuth, and tail in electrons."""
    row, col = (i - c for i, c in zip(np.indices((SIZE, SIZE)), CENTER, strict=True))
    radius = np.hypot(row, col)
    disc = 1 / (1 + np.exp((radius - RADIUS) / 0.5))
    tail = np.where(radius > RADIUS + 1, np.exp(-(radius - RADIUS - 1) / 8), 0.0)
    return disc, np.clip(radius / RADIUS, 0, 1), np.arctan2(col, row), tail * TAIL / tail.sum()


def draw(n: int, random_state: int) -> Tails:
    """Discs with three weak lobes, turned at random, whose strength varies, and a tail around."""
    rng = np.random.default_rng(random_state)
    disc, lobes, phi, tail = _parts()
    turn, modulation = rng.uniform(0, 2 * np.pi, n), rng.uniform(-1, 1, n)
    share = rng.standard_normal(n).clip(-1 / VARIES, 1 / VARIES)
    frames = np.empty((n, SIZE, SIZE), np.uint16)
    for k in range(n):
        strength = 0.05 * (1 + 0.4 * modulation[k])
        bright = disc * (1 + strength * lobes * np.cos(3 * (phi - turn[k])))
        bright *= DISC / bright.sum()
        frames[k] = rng.poisson(bright + tail * (1 + VARIES * share[k]))
    return Tails(Frames(frames, center=CENTER), modulation, share)


def ideal(tails: Tails) -> Array:
    """Most likely tail and strength of the lobes (n, 2), each up to a line."""
    disc, lobes, phi, tail = _parts()
    counts = tails.frames.patterns.astype(float)
    weight = tail / (DISC * disc / disc.sum() + tail)
    strength = np.abs(np.sum(counts * lobes * np.exp(3j * phi), axis=(1, 2)))
    return np.stack([np.sum(counts * weight, axis=(1, 2)), strength], axis=-1)


def explained(z: Array, truth: Array) -> float:
    """R^2 of ``truth (n,)`` from ``z (n, d)`` by 10 nearest neighbours."""
    spread = np.where(z.std(axis=0) > 0, z.std(axis=0), 1.0)
    order = np.random.default_rng(0).permutation(len(z))
    guess = cross_val_predict(KNeighborsRegressor(10), (z / spread)[order], truth[order], cv=5)
    return float(r2_score(truth[order], guess))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    trained, fresh = draw(2000, 0), draw(2000, 1)
    best = ideal(fresh)
    print("| seed | R2 of the tail | R2 of the modulation |\n|---|---|---|")
    print(
        f"| ideal | {explained(best, fresh.tail):.3f} | {explained(best, fresh.modulation):.3f} |"
    )
    for seed in range(options.seeds):
        model = RRVAE(random_state=seed, progress=False).fit(trained.frames)
        z = model.transform(fresh.frames)
        tail, modulation = explained(z, fresh.tail), explained(z, fresh.modulation)
        print(f"| {seed} | {tail:.3f} | {modulation:.3f} |", flush=True)


if __name__ == "__main__":
    main()
