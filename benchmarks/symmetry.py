# SPDX-License-Identifier: GPL-3.0-or-later
"""Symmetry scores against turned and mirrored pixel patterns, and against the dose.

``python -m benchmarks.symmetry`` prints how far the scores lie from those of brute force, how far
their mean at a dose lies from the scores without noise, how many patterns without angular structure
pass for having some, and the speed.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, rotate

from py4dstem_rrvae import Frames, datasets, describe, synthetic
from py4dstem_rrvae.detector.bin_operator import BinOperator
from py4dstem_rrvae.detector.bins import Detector, PolarGrid
from py4dstem_rrvae.symmetry.autocorrelation import SYMMETRY_KINDS, PolarBins, SymmetryKind
from py4dstem_rrvae.symmetry.scores import ORDERS, Symmetry, symmetry

from .quality import Row, table

Array = NDArray[np.float64]
SIZE, RADIUS = 48, 22.0
GRID = PolarGrid(RADIUS, 18, 64, degree=0)
DETECTOR = Detector((SIZE, SIZE), (23.5, 23.5), np.eye(2))
ROW, COL = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
DISTANCE = np.hypot(ROW, COL)


def normalised(patterns: Array) -> Array:
    scaled: Array = patterns / patterns.sum(axis=(1, 2), keepdims=True)
    return scaled


def lobes() -> Array:
    fold = np.array([2.0, 3.0, 4.0, 6.0])
    return synthetic._expected(synthetic._lobed_ring, SIZE, 1.0, np.full(4, 0.2), fold, np.zeros(4))


def twisted_rings() -> Array:
    twist, still = np.radians([0.0, 10.0, 25.0, 40.0]), np.zeros(4)
    return synthetic._expected(synthetic._twisted_rings, SIZE, 1.0, still, twist, still)


def random() -> Array:
    rng = np.random.default_rng(0)
    noise = np.stack([gaussian_filter(x, 3.0) for x in rng.normal(size=(8, SIZE, SIZE))])
    return normalised(np.exp(noise / noise.std()) * np.exp(-2 * (DISTANCE / 24) ** 2))


def weak() -> Array:
    """A disc with a contrast of some 30 %."""
    contrast = random() / np.exp(-2 * (DISTANCE / 24) ** 2)
    disc = 1 / (1 + np.exp((DISTANCE - 18) * 2))
    return normalised(disc * (1 + 0.3 * normalised(contrast) * SIZE**2))


def scores(frames: NDArray[np.generic], operator: BinOperator, **options: object) -> Symmetry:
    polar = operator(torch.from_numpy(frames.astype(np.float32)))
    return symmetry(polar, PolarBins.of(operator), **options)  # type: ignore[arg-type]


def turned(frame: Array, degrees: float) -> Array:
    result: Array = rotate(frame, degrees, reshape=False, order=3, mode="nearest")
    return result


def by_pixels(frame: Array, axis: float, kind: SymmetryKind) -> Array:
    """Scores for `ORDERS`, and of the mirror axis at `axis` radians, from turned pixels."""
    inside = DISTANCE <= RADIUS
    if kind == "angular":
        frame = frame - np.mean([turned(frame, 5 * k) for k in range(72)], axis=0)
    copies = [turned(frame, 360 / n) for n in ORDERS]
    copies.append(turned(frame[:, ::-1], np.degrees(2 * axis)))
    pairs = [(frame[inside], copy[inside]) for copy in copies]
    if kind == "pearson":
        pairs = [(a - a.mean(), b - b.mean()) for a, b in pairs]
    return np.array([a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in pairs])


def agreement(patterns: Callable[[], Array], kind: SymmetryKind) -> Row:
    frames = patterns()
    ours = scores(frames, BinOperator(DETECTOR, GRID), kind=kind, gain=None)
    found = torch.cat([ours.n_fold, ours.mirror[:, None]], dim=1).numpy()
    axes = ours.mirror_axis.tolist()
    want = np.stack([by_pixels(f, a, kind) for f, a in zip(frames, axes, strict=True)])
    error = np.abs(found - want)
    return {
        "patterns": patterns.__name__,
        "kind": kind,
        "largest n-fold difference": f"{error[:, :-1].max():.3f}",
        "mean": f"{error[:, :-1].mean():.3f}",
        "largest mirror difference": f"{error[:, -1].max():.3f}",
    }


def dose(patterns: Callable[[], Array], operator: BinOperator, counts: float) -> Row:
    row = {"patterns": patterns.__name__, "counts": f"{counts:g}"}
    frames, rng = patterns(), np.random.default_rng(0)
    truth = scores(1e4 * frames, operator, gain=None)
    noisy = rng.poisson(counts * frames, (1000, *frames.shape)).reshape(-1, SIZE, SIZE)
    for gain, name in ((1.0, "corrected"), (None, "raw")):
        result = scores(noisy, operator, gain=gain)
        n_fold = result.n_fold.unflatten(0, (1000, -1)).nanmean(dim=0) - truth.n_fold
        mirror = result.mirror.unflatten(0, (1000, -1)).nanmean(dim=0) - truth.mirror
        row[f"n-fold bias, {name}"] = f"{n_fold.abs().nanmean():.3f}"
        row[f"largest, {name}"] = f"{np.nanmax(n_fold.abs().numpy()):.3f}"
        row[f"mirror bias, {name}"] = f"{mirror.nanmean():.3f}"
        if gain:
            row["undefined"] = f"{result.mirror.isnan().double().mean():.1%}"
    return row


def structureless(counts: float) -> Row:
    operator = BinOperator(DETECTOR, GRID)
    row = {"counts": f"{counts:g}"}
    for width in (1e3, 8.0, 3.0):
        pattern = normalised(np.exp(-0.5 * (DISTANCE[None] / width) ** 2))[0]
        drawn = np.random.default_rng(0).poisson(counts * pattern, (4000, SIZE, SIZE))
        passed = scores(drawn, operator).mirror_axis.isfinite().double().mean()
        row[f"Gaussian of {width:g} pixels"] = f"{passed:.2%}"
    return row


def speed(operator: BinOperator, name: str) -> Row:
    bins, polar = PolarBins.of(operator), torch.rand(20000, *GRID.shape) * 10
    symmetry(polar[:1000], bins)
    start = time.perf_counter()
    symmetry(polar, bins)
    rate = len(polar) / (time.perf_counter() - start)
    return {"bins": name, "patterns a second": f"{rate:,.0f}"}


def draw(path: Path) -> None:
    """Scores against the dose, with and without the share of noise; and their map of graphene."""
    from matplotlib.figure import Figure

    operator, pattern = BinOperator(DETECTOR, GRID), lobes()[-1:]
    doses = np.geomspace(100, 1e5, 13)
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    left, *right = figure.subplots(1, 4, width_ratios=(1.5, 1, 1, 1))
    for gain, label, colour in ((1.0, "noise taken out", "C0"), (None, "as counted", "C3")):
        drawn = [np.random.default_rng(0).poisson(n * pattern, (400, SIZE, SIZE)) for n in doses]
        found = [scores(frames, operator, gain=gain).n_fold[:, 4].numpy() for frames in drawn]
        low, middle, high = np.array([np.nanpercentile(f, (16, 50, 84)) for f in found]).T
        left.plot(doses, middle, color=colour, label=label)
        left.fill_between(doses, low, high, color=colour, alpha=0.2, lw=0)
    left.axhline(1, color="0.6", lw=0.8, ls="--")
    left.set(xscale="log", xlabel="counts per pattern", ylabel="6-fold score of six lobes")
    left.legend()
    simulation = datasets.graphene("numpy")
    frames = Frames(simulation.patterns, center=simulation.center)
    raw, moving = (describe(frames, background=b, progress=False) for b in ("none", "mean"))
    maps = {
        "3-fold score": raw.rotation[..., 1],
        "6-fold score": raw.rotation[..., 4],
        "2-fold score, mean left out": moving.rotation[..., 0],
    }
    silicon = simulation.positions[np.array(simulation.symbols) == "Si"]
    for ax, (name, values) in zip(right, maps.items(), strict=True):
        low, high = np.nanpercentile(values, (1, 99))
        image = ax.imshow(values, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
        for places, colour in ((simulation.vacancies, "white"), (silicon, "red")):
            ax.plot(*places[:, ::-1].T, "o", ms=14, mfc="none", mec=colour)
        ax.set(title=name, xticks=[], yticks=[], xlim=(-0.5, 63.5), ylim=(63.5, -0.5))
        figure.colorbar(image, ax=ax, shrink=0.8)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="draw this instead of printing the tables")
    figure = parser.parse_args().figure
    if figure is not None:
        draw(figure)
        return
    whole = BinOperator(DETECTOR, GRID)
    mask = (ROW > 2) | (np.abs(COL) > 2)
    stop = BinOperator(dataclasses.replace(DETECTOR, mask=mask), GRID)
    drawn = (lobes, twisted_rings, random, weak)
    kinds: tuple[SymmetryKind, ...] = SYMMETRY_KINDS  # type: ignore[assignment]
    table("Against turned pixels", [agreement(p, k) for p in drawn for k in kinds])
    doses = (200, 1000, 5000, 1e5)
    table("Mean over draws less noise-free", [dose(p, whole, n) for p in drawn for n in doses])
    table("Behind a beam stop", [dose(p, stop, n) for p in (lobes, random) for n in doses])
    table("No structure, yet scored", [structureless(n) for n in (20, 200, 2000, 20000)])
    threads = torch.get_num_threads()
    table(f"Speed, {threads} threads", [speed(whole, "all"), speed(stop, "behind a beam stop")])


if __name__ == "__main__":
    main()
