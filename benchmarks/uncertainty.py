# SPDX-License-Identifier: GPL-3.0-or-later
"""What `fold`, `z_std` and `angle_std` are worth, where the truth is known.

``python -m benchmarks.uncertainty [--seeds 2] [--draws 50] [--figure-dir DIR]`` trains the defaults
on `synthetic.folds` (1-, 2-, 3-, 4-, 6-fold and rotation-free patterns of one radial profile) at
five doses, and prints confusion tables of the fold, the share of noise draws within 1 and 1.96
standard deviations, and the angle's error over its Cramer-Rao bound. Coverage alone is repeated on
twisted rings and on simulated scans, which are simulated once (8 minutes) and kept.

Two shares say little of a whole distribution. So each deviation also gets its rank, the probability
that the claimed normal distribution gives to smaller ones: ranks of error bars that hold are
uniform (simulation-based calibration, S. Talts et al., arXiv:1804.06788).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import kstest, mode, norm

from py4dstem_rrvae import RRVAE, Frames, simulate, synthetic
from py4dstem_rrvae.simulate import Case

from .cases import frames
from .quality import table

Array = NDArray[np.float64]
# Deviations of z and angle of a scene, counts and seed.
Others = dict[tuple[str, int, int], "Deviations"]
DOSES = (200, 1000, 5000, 20_000, 100_000)
ORDERS = (1, 2, 3, 4, 6, 0)
NOMINAL = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6827, 0.8, 0.9, 0.95, 0.99])
# Patterns whose noise is drawn again and again.
REPEATED = 200
# Bars of a histogram of ranks.
BARS = 20


@dataclass(frozen=True)
class Deviations:
    """In units of the standard deviation that was claimed, with their sign."""

    z: Array  # (moves, d), about the mean over noise draws
    angle: Array  # (moves,), about the truth, or the mean over noise draws of one fold
    undecided: Array  # (moves,), the same of patterns whose fold is not that of all their draws
    changed: float  # share of noise draws with another fold than most draws of their pattern


@dataclass(frozen=True)
class Result:
    """Of one seed and dose."""

    counts: int
    seed: int
    confusion: Array  # rows: true order; columns: ORDERS and another
    ratio: Array  # per order but 0
    deviations: Deviations


def measure(counts: int, seed: int, draws: int) -> Result:
    """Train on one draw; score on others."""
    trained = synthetic.folds(2000, counts=counts)
    model = RRVAE(random_state=seed, progress=False, device="cpu").fit(trained.frames)
    fresh = synthetic.folds(2000, counts=counts, random_state=1)
    codes = model.encode(fresh.frames)
    error = fresh.angle_error(np.where(codes.fold > 0, codes.angle, 0.0))
    defined = [order for order in ORDERS if order]
    ratio = [np.median((error / fresh.bound)[fresh.fold == n]) for n in defined]
    repeated = synthetic.folds(REPEATED, counts=counts, random_state=2)
    expected = synthetic.expected_folds(repeated, counts=counts)
    found = replace(deviations(model, expected, draws), angle=angle_deviations(fresh, codes))
    return Result(counts, seed, confusion(fresh.fold, codes.fold), np.array(ratio), found)


def rings(counts: int, seed: int, draws: int) -> Deviations:
    """The same on twisted rings."""
    trained = synthetic.twisted_rings(2000, counts=counts)
    model = RRVAE(random_state=seed, progress=False, device="cpu").fit(trained.frames)
    fresh = synthetic.twisted_rings(2000, counts=counts, random_state=1)
    repeated = synthetic.twisted_rings(REPEATED, counts=counts, random_state=2)
    expected = synthetic.expected_twisted_rings(repeated, counts=counts)
    angle = angle_deviations(fresh, model.encode(fresh.frames))
    return replace(deviations(model, expected, draws), angle=angle)


def simulated(case: str | Case, counts: int, seed: int, draws: int) -> Deviations:
    """The same of a simulated scan, a draw of it trained on; angles against their mean."""
    clean = simulate.noise_free(case)
    expected = clean.patterns * (counts / clean.patterns.sum((2, 3)).mean(dtype=float))
    rng = np.random.default_rng([seed, 1])
    scan = frames(replace(clean, patterns=rng.poisson(expected)))
    model = RRVAE(random_state=seed, progress=False, device="cpu").fit(scan)
    where = rng.choice(expected[..., 0, 0].size, REPEATED, False)
    center = np.broadcast_to(scan.center, (*scan.scan_shape, 2)).reshape(-1, 2)[where]
    return deviations(
        model,
        expected.reshape(-1, *expected.shape[2:])[where],
        draws,
        lambda drawn: replace(scan, patterns=drawn, center=center),
    )


SCENES: dict[str, tuple[Callable[[int, int, int], Deviations], tuple[int, ...]]] = {
    "twisted rings": (rings, DOSES),
    "graphene": (partial(simulated, "graphene"), DOSES[-1:]),
    "measured-like silicon": (partial(simulated, "measured_silicon"), (200_000,)),
}
"""Other data, and the doses it is shown at."""


def confusion(truth: NDArray[np.int64], found: NDArray[np.int64]) -> Array:
    """Share of each true order (rows) that was given each of `ORDERS`, or another (last column)."""
    rows = [[np.mean(found[truth == n] == k) for k in ORDERS] for n in ORDERS]
    shares = np.array(rows)
    return np.column_stack([shares, 1 - shares.sum(axis=1)])


def deviations(
    model: RRVAE,
    expected: Array,
    draws: int,
    placed: Callable[[Array], Array | Frames] = lambda drawn: drawn,
) -> Deviations:
    """Of z and of the angle from their means over noise draws.

    Of the latents that were not switched off, and of the angle in the draws with the fold that most
    draws of their pattern have: of patterns where these are all, and of the others.
    ``placed`` gives counts their geometry.
    """
    rng = np.random.default_rng(0)
    codes = [model.encode(placed(rng.poisson(expected))) for _ in range(draws)]
    z, z_std, angle, angle_std, fold = (
        np.stack([getattr(c, name) for c in codes])
        for name in ("z", "z_std", "angle", "angle_std", "fold")
    )
    kept = ~np.array(model.history_.collapsed)
    z, z_std = z[..., kept], z_std[..., kept]
    # The mean of the same draws is nearer to each of them than the true one.
    less = np.sqrt(draws / (draws - 1))
    most = mode(fold, axis=0).mode
    same = (fold == most) & (fold > 0)
    turn = np.where(same, np.exp(1j * fold * np.nan_to_num(angle)), 0)
    mean = np.broadcast_to(turn.sum(axis=0), fold.shape)[same]
    off = np.angle(turn[same] / mean) / fold[same]
    turns = less * off / angle_std[same]
    one_fold = np.broadcast_to((fold == most).all(axis=0), fold.shape)[same]
    moves = less * (z - z.mean(axis=0)) / z_std
    return Deviations(
        moves.reshape(fold.size, -1),
        turns[one_fold],
        turns[~one_fold],
        float(np.mean(fold != most)),
    )


def angle_deviations(truth: synthetic.Patterns, codes) -> Array:
    """Signed error of the angle over `angle_std`, where the fold is right."""
    right = (codes.fold == truth.fold) & (truth.fold > 0)
    error = truth.angle_difference(np.where(codes.fold > 0, codes.angle, 0.0))
    return (error / codes.angle_std)[right]


def coverage(deviation: Array, nominal: Array = NOMINAL) -> Array:
    """Share of deviations within the interval that a normal one keeps to with `nominal`."""
    return np.array([np.mean(np.abs(deviation) <= norm.ppf(0.5 + p / 2)) for p in nominal])


def uneven(deviation: Array) -> float:
    """How far ranks are from uniform: the largest difference of the two distributions.

    As of Kolmogorov and Smirnov, without a test: draws of one pattern are not independent.
    """
    return float(kstest(deviation, norm.cdf).statistic)


def report(results: list[Result]) -> None:
    for r in results:
        head = [*(str(k) for k in ORDERS), "other"]
        rows = [
            {"true fold": str(n), **{k: f"{v:.3f}" for k, v in zip(head, row, strict=True)}}
            for n, row in zip(ORDERS, r.confusion, strict=True)
        ]
        table(f"Fold found, {r.counts:,} counts, seed {r.seed}", rows)
    table("Coverage of 68 % and 95 % intervals (ranks: points from uniform), and median error", [
        {
            "counts": f"{r.counts:,}",
            "seed": str(r.seed),
            **said(r.deviations),
            "error / bound, 1-, 2-, 3-, 4-, 6-fold": " ".join(f"{x:.2f}" for x in r.ratio),
        }
        for r in results
    ])  # fmt: skip


def report_others(found: Others) -> None:
    table("Coverage on other data", [
        {
            "patterns": scene,
            "counts": f"{counts:,}",
            "seed": str(seed),
            **said(deviations),
        }
        for (scene, counts, seed), deviations in found.items()
    ])  # fmt: skip


def said(found: Deviations) -> dict[str, str]:
    """Coverage of each latent and of the angle, and how often the fold changed."""
    latents = dict(zip(("z1", "z2"), found.z.T, strict=False))
    rows = {name: covered(latents[name]) if name in latents else "off" for name in ("z1", "z2")}
    for name, deviation in {
        "angle": found.angle,
        "where the fold changes": found.undecided,
    }.items():
        rows[name] = covered(deviation) if deviation.size else "none"
    return rows | {"fold changed, %": f"{100 * found.changed:.1f}"}


def covered(deviation: Array) -> str:
    one, two = coverage(deviation, np.array([0.6827, 0.95]))
    return f"{100 * one:.0f} / {100 * two:.0f} ({100 * uneven(deviation):.0f})"


def figures(results: list[Result], found: Others, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in (
        ("fold_confusion", draw_confusion(results)),
        ("coverage", draw_coverage(results, found)),
        ("ranks", draw_ranks(results, found)),
        ("angle_error", draw_error(results)),
    ):
        FigureCanvasAgg(figure)
        figure.savefig(folder / f"{name}.png", dpi=110)


def draw_confusion(results: list[Result]) -> Figure:
    """Mean over the seeds, one panel a dose."""
    doses = sorted({r.counts for r in results})
    figure = Figure(figsize=(2.6 * len(doses) + 0.6, 3.1), layout="constrained")
    axes = figure.subplots(1, len(doses), squeeze=False, sharey=True)[0]
    for ax, dose in zip(axes, doses, strict=True):
        share = np.mean([r.confusion for r in results if r.counts == dose], axis=0)
        image = ax.imshow(share, vmin=0, vmax=1, cmap="Blues")
        for (i, j), value in np.ndenumerate(share):
            if value >= 0.0005:
                colour = "white" if value > 0.5 else "black"
                text = f"{100 * value:.1f}".removesuffix(".0")
                ax.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
        ax.set_xticks(range(len(ORDERS) + 1), [*ORDERS, "else"])
        ax.set_yticks(range(len(ORDERS)), ORDERS)
        ax.set(title=f"{dose:,} counts", xlabel="fold found")
    axes[0].set_ylabel("true fold (0: no direction)")
    figure.colorbar(image, ax=axes, label="share of the patterns", shrink=0.8)
    return figure


def draw_coverage(results: list[Result], found: Others) -> Figure:
    """Of z and the angle of `results`, a curve a dose, and of z of the other data."""
    doses = sorted({r.counts for r in results})
    scenes = list(dict.fromkeys(scene for scene, _, _ in found))
    curves = {
        name: {
            f"{dose:,} counts": [
                getattr(r.deviations, name).ravel() for r in results if r.counts == dose
            ]
            for dose in doses
        }
        for name in ("z", "angle")
    } | {
        "z, other data": {
            scene: [d.z.ravel() for (name, _, _), d in found.items() if name == scene]
            for scene in scenes
        }
    }
    figure = Figure(figsize=(11.0, 4.1), layout="constrained")
    for ax, (title, parts) in zip(
        figure.subplots(1, len(curves), sharey=True), curves.items(), strict=True
    ):
        ax.fill_between([0, 1], [-0.05, 0.95], [0.05, 1.05], color="0.9", label="within 5 points")
        ax.plot([0, 1], [0, 1], color="0.5", lw=1)
        for label, deviations in parts.items():
            ax.plot(NOMINAL, coverage(np.concatenate(deviations)), ".-", label=label)
        ax.set(title=title, xlabel="nominal share within the interval", xlim=(0, 1), ylim=(0, 1))
        ax.legend(fontsize=8, loc="upper left")
    figure.axes[0].set_ylabel("observed share")
    return figure


def draw_ranks(results: list[Result], found: Others) -> Figure:
    """Histograms of the ranks of z (all latents) and of the angle: a row each, data in columns."""
    columns: dict[str, list[Deviations]] = {}
    for r in results:
        columns.setdefault(f"{r.counts:,}\ncounts", []).append(r.deviations)
    for (scene, _, _), d in found.items():
        columns.setdefault(scene.replace(" ", "\n"), []).append(d)
    figure = Figure(figsize=(1.55 * len(columns) + 0.9, 3.9), layout="constrained")
    axes = figure.subplots(2, len(columns), sharex=True, sharey=True, squeeze=False)
    for column, (title, parts) in zip(axes.T, columns.items(), strict=True):
        for ax, name in zip(column, ("z", "angle"), strict=True):
            for part in parts:
                ranks = norm.cdf(getattr(part, name).ravel())
                height, edges = np.histogram(ranks, bins=BARS, range=(0, 1))
                ax.stairs(height * BARS / max(len(ranks), 1), edges, color="#004488", alpha=0.7)
            ax.axhspan(0.8, 1.2, color="0.92", zorder=0)
            ax.axhline(1, color="0.5", lw=1)
            ax.set(ylim=(0, 2), xlim=(0, 1), xticks=(0, 0.5, 1), xticklabels=("0", "0.5", "1"))
        column[0].set_title(title, fontsize=9)
    for ax, name in zip(axes[:, 0], ("z", "angle"), strict=True):
        ax.set_ylabel(f"{name}: density")
    figure.supxlabel(
        "rank of a deviation by its error bar (uniform where the bar holds)", fontsize=10
    )
    return figure


def draw_error(results: list[Result]) -> Figure:
    doses = sorted({r.counts for r in results})
    figure = Figure(figsize=(5.6, 3.9), layout="constrained")
    ax = figure.subplots()
    for k, order in enumerate(n for n in ORDERS if n):
        values = [np.mean([r.ratio[k] for r in results if r.counts == d]) for d in doses]
        ax.plot(doses, values, "o-", label=f"{order}-fold")
    for level, style, label in ((0.674, "-", "optimum"), (0.81, "--", "1.2 x optimum")):
        ax.axhline(level, color="0.5", lw=1, ls=style)
        # Beside the axes, where no curve goes.
        ax.text(1.02, level, label, transform=ax.get_yaxis_transform(), va="center", color="0.4")
    ax.set(xscale="log", xlabel="counts per pattern", ylim=(0.45, 0.9))
    ax.set_ylabel("median angle error / Cramér-Rao bound")
    ax.legend(fontsize=8, ncols=5, loc="lower center", columnspacing=1.2)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--figure-dir", type=Path)
    options = parser.parse_args()
    results = [measure(c, s, options.draws) for c in DOSES for s in range(options.seeds)]
    report(results)
    found = {
        (name, c, s): scene(c, s, options.draws)
        for name, (scene, doses) in SCENES.items()
        for c in doses
        for s in range(options.seeds)
    }
    report_others(found)
    if options.figure_dir:
        figures(results, found, options.figure_dir)


if __name__ == "__main__":
    main()
