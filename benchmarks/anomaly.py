# SPDX-License-Identifier: GPL-3.0-or-later
"""Anomaly maps against COM, ADF, DPC and PCA, and how many latents a data set carries.

``python -m benchmarks.anomaly [--seeds 3] [--mos2] [--dims] [--cache DIR] [--figure-dir DIR]``
prints Markdown tables. Truth are the positions within 0.7 A of a defect. MoS2 takes abTEM some
minutes unless ``--cache`` holds it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from sklearn.covariance import MinCovDet
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, precision_recall_curve

from py4dstem_rrvae import RRVAE, Codes, Frames, anomaly, datasets, latent_dims, synthetic
from py4dstem_rrvae.plot import latent_dims_figure
from py4dstem_rrvae.selection import LatentDim, enough

from .quality import Row, table

Array = NDArray[np.float64]
TRUTH, HIT = 0.7, 1.0
SIGMAS = (0.0, 1.0, 2.0, 3.0, 4.0)
DRAWN = {"COM magnitude": 0.0, "ADF": 0.0, "PCA residual": 0.0, "iCOM phase": 3.0}


@dataclass(frozen=True)
class Case:
    """A scan with known defects; `lattice` in angstrom, `edge` of the bright field in pixels."""

    name: str
    patterns: NDArray[np.uint16]
    center: tuple[float, float]
    step: float
    lattice: float
    edge: float
    defects: Array
    labels: str

    def distance(self) -> Array:
        """From the nearest defect, in angstrom."""
        where = np.moveaxis(np.indices(self.patterns.shape[:2]), 0, -1)
        away = [np.hypot(*np.moveaxis(where - place, -1, 0)) for place in self.defects]
        return np.min(away, axis=0) * self.step


def wavelength(energy: float) -> float:
    """Of electrons of an energy in eV, in angstrom."""
    return 12.2643 / math.sqrt(energy * (1 + energy / (2 * 510998.95)))


def graphene() -> Case:
    scan = datasets.graphene("numpy")
    optics = scan.microscope
    edge = optics.semiangle * 1e-3 / wavelength(optics.energy) / scan.q_per_pixel
    dopant = scan.positions[[symbol == "Si" for symbol in scan.symbols]]
    places = np.vstack([scan.vacancies, dopant])
    return Case("graphene", scan.patterns, scan.center, scan.scan_step, 2.46, edge, places, "VS")


def mos2(cache: Path | None) -> Case:
    from .quality import simulated

    simulated("mos2", 0.0, cache)
    file = (cache or Path()) / "mos2_0.npz"
    stored = np.load(file)
    counts = np.random.default_rng(0).poisson(stored["patterns"] * 1e5).astype(np.uint16)
    edge = 30e-3 / wavelength(80e3) / float(stored["q_per_pixel"])
    row, col = stored["center"].tolist()
    return Case("mos2", counts, (row, col), 0.2, 3.18, edge, stored["vacancies"], "V")


def robust(values: Array) -> Array:
    """Distance from the median, in robust standard deviations."""
    offset = np.abs(values - np.median(values))
    scaled: Array = offset / (1.4826 * np.median(offset))
    return scaled


def integrated(rows: Array, cols: Array) -> Array:
    """Phase, up to a factor, whose gradient is the COM field, mirrored at the edges."""
    rows = np.concatenate([rows, -rows[::-1]]) - rows.mean()
    rows = np.concatenate([rows, rows[:, ::-1]], axis=1)
    cols = np.concatenate([cols, cols[::-1]]) - cols.mean()
    cols = np.concatenate([cols, -cols[:, ::-1]], axis=1)
    k, m = (np.fft.fftfreq(n) for n in rows.shape)
    squared = k[:, None] ** 2 + m**2
    squared[0, 0] = 1
    spectrum = (k[:, None] * np.fft.fft2(rows) + m * np.fft.fft2(cols)) / squared
    phase: Array = np.fft.ifft2(spectrum / (2j * np.pi)).real
    return phase[: len(rows) // 2, : rows.shape[1] // 2]


def raw_baselines(case: Case) -> tuple[dict[str, Array], Array]:
    """Maps before smoothing and rectifying, and 5 PCA scores of variance-stabilised patterns."""
    frames = case.patterns.astype(float)
    row, col = (np.arange(n) - c for n, c in zip(frames.shape[-2:], case.center, strict=True))
    total = frames.sum(axis=(-1, -2))
    rows, cols = (frames.sum(-1) @ row / total, frames.sum(-2) @ col / total)
    outside = np.hypot(row[:, None], col) > 1.05 * case.edge
    flat = 2 * np.sqrt(frames.reshape(-1, row.size * col.size) + 0.375)
    pca = PCA(5, random_state=0).fit(flat)
    scores = pca.transform(flat)
    residual = np.linalg.norm(flat - pca.inverse_transform(scores), axis=1)
    maps = {
        "COM magnitude": np.hypot(rows - np.median(rows), cols - np.median(cols)),
        "ADF": frames[..., outside].sum(-1),
        "iCOM phase": integrated(rows, cols),
        "PCA residual": residual.reshape(total.shape),
    }
    return maps, scores.reshape(*total.shape, -1)


def baselines(case: Case, sigma: float) -> dict[str, Array]:
    """Deviation of each from what the scan shows, smoothed as the anomaly's codes are.

    The phase is smoothed with the border that its integral continues the scan by.
    """
    maps, scores = raw_baselines(case)
    found = {}
    for name, map_ in maps.items():
        border = "reflect" if name == "iCOM phase" else "mirror"
        found[name] = robust(gaussian_filter(map_, sigma, mode=border))
    flat = gaussian_filter(scores, (sigma, sigma, 0), mode="mirror").reshape(-1, scores.shape[-1])
    distance = np.sqrt(MinCovDet(random_state=0).fit(flat).dist_)
    return found | {"PCA scores": distance.reshape(case.patterns.shape[:2])}


def precision(case: Case, score: Array) -> float:
    truth = case.distance() <= TRUTH
    return float(average_precision_score(truth.ravel(), score.ravel()))


def detections(case: Case, score: Array, count: int = 4) -> str:
    """Highest maxima, none within half a lattice constant of a higher one, by what is there."""
    reach = 2 * round(0.5 * case.lattice / case.step) + 1
    peak = score == maximum_filter(score, size=reach)
    places = np.argwhere(peak)[np.argsort(-score[peak], kind="stable")][:count]
    letters = ""
    for place in places:
        away = np.hypot(*(case.defects - place).T) * case.step
        letters += case.labels[int(away.argmin())] if away.min() <= HIT else "-"
    return letters


def codes_of(case: Case, seed: int) -> Codes:
    """Codes of a model with two latents and defaults."""
    frames = Frames(case.patterns, center=case.center)
    return RRVAE(random_state=seed, progress=False).fit(frames).encode(frames)


def score_rows(case: Case, codes: dict[int, Codes]) -> list[Row]:
    """One row a method and smoothing: average precision and the highest maxima; codes by seed."""
    rows = []
    for sigma in SIGMAS:
        found = {
            f"anomaly, seed {seed}": anomaly(own, neighbourhood=sigma)
            for seed, own in codes.items()
        }
        rows += [
            {
                "method": name,
                "sigma, positions": f"{sigma:g}",
                "average precision": f"{precision(case, score):.3f}",
                "highest maxima": detections(case, score),
            }
            for name, score in (found | baselines(case, sigma)).items()
        ]
    return rows


def by_sigma(rows: list[Row]) -> list[Row]:
    """One row a method, one column a smoothing."""
    table_: dict[str, Row] = {}
    for row in rows:
        own = table_.setdefault(row["method"], {"method": row["method"]})
        own[f"sigma {row['sigma, positions']}"] = (
            f"{row['average precision']} {row['highest maxima']}"
        )
    return list(table_.values())


def map_figure(case: Case, codes: Codes) -> Figure:
    """Anomaly beside the baselines, defects marked."""
    panels = {
        "anomaly": anomaly(codes),
        "anomaly, neighbourhood 3": anomaly(codes, neighbourhood=3),
    }
    panels |= {
        f"{name}, sigma {sigma:g}": baselines(case, sigma)[name] for name, sigma in DRAWN.items()
    }
    figure = Figure(figsize=(10, 6.6), layout="constrained")
    for k, (name, values) in enumerate(panels.items(), 1):
        ax = figure.add_subplot(2, 3, k)
        height = case.patterns.shape[0] * case.step
        width = case.patterns.shape[1] * case.step
        image = ax.imshow(
            values,
            cmap="magma",
            vmin=0,
            vmax=5,
            extent=(0, width, height, 0),
        )
        for label, (row, col) in zip(case.labels, (case.defects + 0.5) * case.step, strict=True):
            circle = _circle(col, row)
            ax.add_patch(circle)
            ax.annotate(
                {"V": "vacancy", "S": "Si"}[label],
                (col, row - circle.radius),
                (0, 3),
                textcoords="offset points",
                color="white",
                ha="center",
                fontsize=8,
            )
        ax.set_title(f"{name}\nAP {precision(case, values):.2f}", fontsize=9)
        ax.set_xlabel("Å", fontsize=8)
        figure.colorbar(image, ax=ax, shrink=0.8, extend="max").set_label("robust std", fontsize=8)
    return figure


def _circle(x: float, y: float) -> object:
    from matplotlib.patches import Circle

    return Circle((x, y), 1.2, fill=False, color="cyan", linewidth=1)


def curve_figure(case: Case, codes: dict[int, Codes]) -> Figure:
    """Precision against recall, pattern by pattern and smoothed."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    truth = (case.distance() <= TRUTH).ravel()
    axes = figure.subplots(1, 2, sharey=True)
    for ax, sigma in zip(axes, (0.0, 3.0), strict=True):
        for seed, own in codes.items():
            curve = precision_recall_curve(truth, anomaly(own, neighbourhood=sigma).ravel())
            ax.plot(curve[1], curve[0], "k-", lw=1.5, label=None if seed else "anomaly, all seeds")
        for name, score in baselines(case, sigma).items():
            curve = precision_recall_curve(truth, score.ravel())
            ax.plot(curve[1], curve[0], lw=1, label=name)
        ax.set_title(f"{case.name}, sigma {sigma:g} positions", fontsize=10)
        ax.set_xlabel("recall")
    axes[0].set_ylabel("precision")
    axes[0].legend(fontsize=8)
    return figure


def dim_rows(results: Sequence[LatentDim]) -> list[Row]:
    """One row a model size."""
    rows = []
    for k, one in enumerate(results):
        rise, error = one.gain(results[max(k - 1, 0)])
        rows.append(
            {
                "latent_dim": str(one.latent_dim),
                "log-likelihood, nats": f"{one.log_likelihood:.2f} +- {one.standard_error:.2f}",
                "over the size before": f"{rise:.2f} +- {error:.2f}" if k else "",
                "KL per latent, nats": " ".join(f"{kl:.2f}" for kl in one.kl),
                "switched off": str(len(one.collapsed) - one.live),
                "enough": "yes" if one is enough(results) else "",
            }
        )
    return rows


def dims(seed: int, figures: Path | None) -> None:
    scan = datasets.graphene("numpy")
    sources = {
        "lobes": synthetic.lobes().frames,
        "two_deformations": synthetic.two_deformations()[0].frames,
        "graphene": Frames(scan.patterns, center=scan.center),
    }
    for name, frames in sources.items():
        results = latent_dims(frames, random_state=seed, progress=False)
        table(f"{name}, seed {seed}", dim_rows(results))
        if figures:
            title = f"{name}, seed {seed}"
            latent_dims_figure(results, title).savefig(figures / f"latent_dims_{name}.png", dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--mos2", action="store_true")
    parser.add_argument("--dims", action="store_true")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--figure-dir", type=Path)
    options = parser.parse_args()
    if options.mos2 and not options.cache:
        parser.error("--mos2 needs --cache")
    if options.figure_dir:
        options.figure_dir.mkdir(parents=True, exist_ok=True)
    seeds = range(options.seeds)
    for case in [graphene(), *([mos2(options.cache)] if options.mos2 else [])]:
        codes = {seed: codes_of(case, seed) for seed in seeds}
        table(case.name, by_sigma(score_rows(case, codes)))
        if options.figure_dir:
            folder = options.figure_dir
            map_figure(case, codes[0]).savefig(folder / f"anomaly_{case.name}.png", dpi=130)
            curve_figure(case, codes).savefig(folder / f"anomaly_curves_{case.name}.png", dpi=130)
    if options.dims:
        for seed in seeds:
            dims(seed, options.figure_dir if seed == 0 else None)


if __name__ == "__main__":
    main()
