# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of merit of the defaults on data whose truth is known.

``python -m benchmarks.quality [--seeds 3] [--simulated] [--cache DIR]`` prints one Markdown table a
data set. ``--simulated`` adds MoS2 turned by 17 degrees and weakly scattering h-BN, which take
abTEM some minutes unless ``--cache`` holds them.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

from py4dstem_rrvae import RRVAE, Codes, Frames, synthetic

from . import scores

Row = dict[str, str]


def classes(
    draw: Callable[..., synthetic.Patterns], counts: float, seeds: Iterable[int]
) -> list[Row]:
    """Train on one draw, score on another."""
    trained, fresh = draw(2000, counts=counts), draw(2000, counts=counts, random_state=1)
    rows = []
    for seed in seeds:
        start = time.perf_counter()
        model = RRVAE(random_state=seed, progress=False).fit(trained.frames)
        seconds = time.perf_counter() - start
        codes = model.encode(fresh.frames)
        ratio = scores.angle_error_over_bound(fresh, codes.angle)
        rows.append(
            {
                "seed": str(seed),
                "10-NN accuracy": f"{scores.accuracy(codes.z, fresh.label):.4f}",
                "ARI": f"{scores.ari(codes.z, fresh.label):.4f}",
                "deformation R2": f"{scores.deformation(codes.z, fresh):.3f}",
                "angle error / bound": " ".join(f"{r:.2f}" for r in ratio),
                "fold right": f"{np.mean(codes.fold == fresh.fold):.3f}",
                "fit, s": f"{seconds:.1f}",
            }
        )
    return rows


def spectrum_baseline(draw: Callable[..., synthetic.Patterns]) -> list[Row]:
    """PCA of angular power spectra, the strong hand-made invariant."""
    fresh = draw(2000, random_state=1)
    z = PCA(2, random_state=0).fit_transform(scores.angular_spectra(fresh.frames))
    accuracy, ari = scores.accuracy(z, fresh.label), scores.ari(z, fresh.label)
    return [{"method": "PCA of |FFT|", "10-NN accuracy": f"{accuracy:.4f}", "ARI": f"{ari:.4f}"}]


def polycrystals(seeds: Iterable[int]) -> list[Row]:
    rows = []
    for seed, grains in zip(seeds, (6, 3, 10, 6, 6), strict=False):
        scan = synthetic.polycrystal(grains=grains, random_state=seed)
        codes = RRVAE(random_state=0, progress=False).fit(scan.frames).encode(scan.frames)
        inside = scan.inside
        error = scores.grain_angle_error(scan, codes.angle)
        rows.append(
            {
                "seed": str(seed),
                "grains": str(grains),
                "phase ARI": f"{scores.ari(codes.z[inside], scan.phase[inside], 2):.4f}",
                "median angle error, degrees": f"{math.degrees(np.nanmedian(error)):.3f}",
            }
        )
    return rows


def simulated(case: str, turn: float, cache: Path | None) -> Frames:
    """Noise-free patterns of a case, computed or read from `cache`."""
    from py4dstem_rrvae import simulate

    file = cache / f"{case}_{round(math.degrees(turn))}.npz" if cache else None
    if file and file.exists():
        stored = np.load(file)
        return Frames(stored["patterns"], center=tuple(stored["center"]))
    scan = simulate.intensities(case, turn=turn, random_state=0)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        truth = {name: getattr(scan, name) for name in ("center", "q_per_pixel", "vacancies")}
        np.savez(file, patterns=scan.patterns, **truth)
    return Frames(scan.patterns, center=scan.center)


def _noisy(clean: Frames, seed: int, electrons: float = 1e5) -> Frames:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(clean.patterns * electrons).astype(np.uint16)
    return Frames(counts, center=clean.center)


def _agreement(first: Codes, second: Codes) -> str:
    d = first.z.shape[-1]
    r2 = r2_score(first.z.reshape(-1, d), second.z.reshape(-1, d), multioutput="raw_values")
    return " ".join(f"{r:.3f}" for r in r2)


def turned(seeds: Iterable[int], cache: Path | None) -> list[Row]:
    """MoS2 trained at 0 and encoded at 17 degrees."""
    flat, tilted = (simulated("mos2", math.radians(t), cache) for t in (0, 17))
    rows = []
    for seed in seeds:
        model = RRVAE(random_state=seed, progress=False).fit(_noisy(flat, 0))
        own = model.encode(_noisy(flat, 0))
        again = model.encode(_noisy(flat, 1), background="refit")
        other = model.encode(_noisy(tilted, 2), background="refit")
        rows.append(
            {
                "seed": str(seed),
                "R2, second noise draw": _agreement(own, again),
                "R2, turned": _agreement(own, other),
                "turn found, degrees": f"{math.degrees(scores.turn(own, other)):.2f}",
            }
        )
    return rows


def weak_scatterer(seeds: Iterable[int], cache: Path | None) -> list[Row]:
    """h-BN: every latent repeats between noise draws or is reported as collapsed."""
    clean = simulated("hbn", 0.0, cache)
    rows = []
    for seed in seeds:
        model = RRVAE(random_state=seed, progress=False).fit(_noisy(clean, 0))
        first, second = model.encode(_noisy(clean, 0)), model.encode(_noisy(clean, 1))
        rows.append(
            {
                "seed": str(seed),
                "R2, second noise draw": _agreement(first, second),
                "collapsed": " ".join("yes" if c else "no" for c in model.history_.collapsed),
                "std of z": " ".join(f"{s:.2f}" for s in first.z.std(axis=(0, 1))),
            }
        )
    return rows


def table(title: str, rows: list[Row]) -> None:
    """Print rows as Markdown."""
    head = list(rows[0])
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row[k] for k in head)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    seeds = range(options.seeds)
    table("Lobes, 5,000 counts", classes(synthetic.lobes, 5000, seeds))
    table("Lobes, 200 counts", classes(synthetic.lobes, 200, seeds))
    table("Twisted rings, 5,000 counts", classes(synthetic.twisted_rings, 5000, seeds))
    table("Twisted rings, hand-made invariant", spectrum_baseline(synthetic.twisted_rings))
    table("Polycrystal, 300 counts", polycrystals(seeds))
    if options.simulated:
        table("MoS2 turned by 17 degrees", turned(seeds, options.cache))
        table("h-BN", weak_scatterer(seeds, options.cache))


if __name__ == "__main__":
    main()
