# SPDX-License-Identifier: GPL-3.0-or-later
"""The six scans of the published work: figures and scores, model beside model.

``python -m benchmarks.cases [NAME ...] [--small] [--seeds N] [--models M ...]``
prints a table of scores a case. With ``--out FOLDER`` it also writes them as Markdown and JSON, a
figure of maps, and the latent manifold of each model. Scans are simulated once (``--cache FOLDER``,
else the user's cache folder). "long" is the default with 400 epochs, for scans of few patterns.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, balanced_accuracy_score, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from py4dstem_rrvae import RRVAE, Codes, Frames, simulate
from py4dstem_rrvae.simulate import Simulation
from py4dstem_rrvae.simulate.sites import AtSites, at_sites

from . import cases_figures
from .cases_figures import Found

Array = NDArray[np.float64]
Row = dict[str, str | float | None]

AT_SITE = 0.3
"""Positions this close to a site (angstrom) count as lying at it."""
NEIGHBOURS = 10

MODELS: dict[str, Callable[..., RRVAE]] = {
    "default": RRVAE,
    "long": partial(RRVAE, max_epochs=400),
    "published": RRVAE.published,
}
"""What the cases can be shown to, by name."""


def center_of_mass(scan: Simulation) -> Array:
    """COM (rows, cols, 2) in 1/angstrom, relative to that of the mean pattern; descan taken off."""
    weight = scan.patterns.astype(float)
    axes = [np.arange(n) for n in weight.shape[2:]]
    total = weight.sum((2, 3))
    raw = np.stack([weight.sum(3) @ axes[0] / total, weight.sum(2) @ axes[1] / total], axis=-1)
    return (raw - origins(scan, raw)) @ scan.matrix.T


def origins(scan: Simulation, raw: Array) -> Array:
    """Beam's place (rows, cols, 2) as a user finds it: a plane through the COM of every pattern.

    Where the beam does not wander, the same pixel everywhere: the COM of the mean pattern.
    """
    if scan.centers is None:
        weight = scan.patterns.sum((2, 3))[..., None]
        mean: Array = (raw * weight).sum((0, 1)) / weight.sum()
        return np.broadcast_to(mean, raw.shape)
    row, col = np.indices(raw.shape[:2])
    design = np.column_stack([np.ones(row.size), row.ravel(), col.ravel()])
    plane = np.linalg.lstsq(design, raw.reshape(-1, 2), rcond=None)[0]
    fitted: Array = (design @ plane).reshape(raw.shape)
    return fitted


def frames(scan: Simulation) -> Frames:
    """Patterns with the geometry that a calibrated scan has."""
    raw = np.stack(
        [(scan.patterns * index).sum((2, 3)) for index in np.indices(scan.patterns.shape[2:])], -1
    )
    raw = raw / scan.patterns.sum((2, 3))[..., None]
    center = scan.center if scan.centers is None else origins(scan, raw)
    return Frames(scan.patterns, center=center, matrix=scan.matrix, q_units="A^-1")


def binned(scan: Simulation, n: int) -> Simulation:
    """The same scan with n x n detector pixels summed; pixels left over at the end are lost."""
    rows, cols, height, width = scan.patterns.shape
    high, wide = height // n, width // n
    kept = scan.patterns[..., : high * n, : wide * n].reshape(rows, cols, high, n, wide, n)
    row, col = ((c - (n - 1) / 2) / n for c in scan.center)
    return replace(
        scan,
        patterns=kept.sum((3, 5)),
        q_per_pixel=scan.q_per_pixel * n,
        center=(row, col),
        centers=None if scan.centers is None else (scan.centers - (n - 1) / 2) / n,
    )


def thinned(scan: Simulation, n: int) -> Simulation:
    """Every n-th position along both axes of the same scan."""
    patterns = scan.patterns[::n, ::n]
    shape = (patterns.shape[0], patterns.shape[1])
    return replace(
        scan,
        patterns=patterns,
        centers=None if scan.centers is None else scan.centers[::n, ::n],
        positions=scan.positions / n,
        vacancies=scan.vacancies / n,
        scan=replace(scan.scan, shape=shape, step=scan.scan.step * n),
    )


def dark_field(scan: Simulation) -> Array:
    """Share of electrons beyond 1.05 times the aperture, shape (rows, cols)."""
    from abtem.core.energy import energy2wavelength

    edge = 1.05e-3 * scan.microscope.semiangle / energy2wavelength(scan.microscope.energy)
    index = np.moveaxis(np.indices(scan.patterns.shape[2:]), 0, -1)
    q = np.hypot(*np.moveaxis((index - scan.center) @ scan.matrix.T, -1, 0))
    dark: Array = scan.patterns[..., q > edge].sum(-1) / scan.patterns.sum((2, 3))
    return dark


def fit(scan: Simulation, make: Callable[..., RRVAE], seed: int) -> Found:
    known = frames(scan)
    start = time.process_time()
    model = make(random_state=seed, progress=False).fit(known)
    seconds = time.process_time() - start
    return Found(model, model.encode(known), seconds)


def told(features: Array, label: NDArray[np.str_], own: NDArray[np.bool_]) -> float | None:
    """Share of each kind that its 10 nearest neighbours tell, mean over the kinds.

    The neighbours of a position are sought in the other three quarters of the scan, so that what
    follows the place in the scan (a wandering beam, say) tells nothing. Kinds that lie in one
    quarter alone, such as defects, are left out.

    Parameters
    ----------
    features : ndarray, shape (rows, cols, d)
        Each is scaled to unit variance.
    label : ndarray of str, shape (rows, cols)
        Kind.
    own : ndarray of bool, shape (rows, cols)
        Positions that are looked at.

    Returns
    -------
    float or None
        None where fewer than two kinds can be told.
    """
    rows, cols = label.shape
    top, left = np.arange(rows) < rows / 2, np.arange(cols) < cols / 2
    quarter = 2 * top[:, None] + left[None, :]
    for kind in np.unique(label[own]):
        each = np.bincount(quarter[own & (label == kind)], minlength=4)
        if each.sum() - each.max() < NEIGHBOURS:
            own = own & (label != kind)
    if len(set(label[own])) < 2 or len(set(quarter[own])) < 2:
        return None
    nearest = make_pipeline(StandardScaler(), KNeighborsClassifier(NEIGHBOURS))
    guess = cross_val_predict(
        nearest, features[own], label[own], groups=quarter[own], cv=LeaveOneGroupOut()
    )
    return float(balanced_accuracy_score(label[own], guess))


def site_ari(features: Array, at: AtSites) -> float:
    """Adjusted Rand index of a Gaussian mixture, at the positions that lie at a site.

    Of features (rows, cols, d), each scaled to unit variance over the scan.
    """
    close = at.distance < AT_SITE
    kind = at.kind[close]
    mixture = GaussianMixture(len(set(kind)), n_init=20, random_state=0, reg_covar=1e-4)
    spread = features.std(axis=(0, 1))
    scaled = features[close] / np.where(spread > 0, spread, 1.0)
    return float(adjusted_rand_score(kind, mixture.fit_predict(scaled)))


def sublattices(at: AtSites) -> tuple[NDArray[np.bool_], NDArray[np.str_]]:
    """Positions at the atoms of the bare crystal, and which sublattice each belongs to."""
    own = (at.sublattice >= 0) & (at.distance < AT_SITE)
    own &= ~np.char.startswith(at.kind, "near")
    return own, at.sublattice.astype(str)


def separation(features: Array, at: AtSites) -> Row:
    """How well features (rows, cols, d) tell the sites."""
    own, lattice = sublattices(at)
    close = at.distance < AT_SITE
    kinds = len(set(at.kind[close]))
    scaled = StandardScaler().fit_transform(features[close])
    return {
        "sites told": told(features, at.kind, np.ones(at.kind.shape, dtype=bool)),
        f"sites told, within {AT_SITE} A": told(features, at.kind, close),
        "ARI at the sites": site_ari(features, at) if kinds > 1 else None,
        "silhouette at the sites": float(silhouette_score(scaled, at.kind[close]))
        if kinds > 1
        else None,
        "sublattice told": told(features, lattice, own),
    }


def direction(angle: Array) -> Array:
    """Cosine and sine of 1, 2, 3 and 6 times an angle, so that neighbours are neighbours."""
    turned = np.nan_to_num(angle)[..., None] * np.array([1, 2, 3, 6])
    return np.concatenate([np.cos(turned), np.sin(turned)], axis=-1)


def turn_errors(angle: Array, fold: NDArray[np.int64], at: AtSites) -> Array:
    """Error of the angle against the crystal's own turns, degrees, NaN where none can be told.

    Positions with the same offset from equal sites, each in its site's frame, have the same pattern
    but for a turn by the difference of their azimuths. So the angle less the azimuth is compared
    with its mean over the 5 positions nearest in that frame, modulo the angle's own period.
    """
    error = np.full(at.kind.shape, np.nan)
    rest = angle - at.azimuth
    frame = at.distance * np.exp(1j * at.fold * (at.azimuth - at.orientation))
    for kind in np.unique(at.kind):
        for n in np.unique(fold[fold > 0]):
            own = (at.kind == kind) & (fold == n) & np.isfinite(angle)
            if own.sum() <= NEIGHBOURS:
                continue
            place = np.column_stack([frame[own].real, frame[own].imag])
            near = cKDTree(place).query(place, 6)[1]
            phasor = np.exp(1j * n * rest[own])
            # Without the position itself, wherever among equals it stands.
            others = phasor[near].sum(1) - phasor
            error[own] = np.degrees(np.abs(np.angle(phasor * np.conj(others))) / n)
    return error


def angle_against_com(codes: Codes, com: Array) -> float:
    """Median difference in degrees, fold 1, where COM is longer than its median."""
    length = np.hypot(com[..., 0], com[..., 1])
    own = (codes.fold == 1) & (length > np.median(length))
    if not own.any():
        return math.nan
    turn = codes.angle[own] - np.arctan2(com[..., 1], com[..., 0])[own]
    return float(np.degrees(np.median(np.abs(np.angle(np.exp(1j * turn))))))


def baselines(scan: Simulation, at: AtSites) -> list[Row]:
    """The same questions to COM, dark field and PCA."""
    com = center_of_mass(scan)
    length, angle = (
        np.hypot(com[..., 0], com[..., 1])[..., None],
        np.arctan2(com[..., 1], com[..., 0]),
    )
    dark = dark_field(scan)[..., None]
    flat = np.sqrt(scan.patterns.reshape(at.kind.size, -1) + 0.375)
    scores = PCA(2, random_state=0).fit_transform(flat).reshape(*at.kind.shape, 2)
    phase = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    features = {
        "COM magnitude": length,
        "COM magnitude and angle": np.concatenate([length, phase], axis=-1),
        "COM magnitude and dark field": np.concatenate([length, dark], axis=-1),
        "PCA, 2 components": scores,
    }
    rows: list[Row] = [{"by": name, **separation(f, at)} for name, f in features.items()]
    whole = np.ones(at.kind.shape, dtype=np.int64)
    rows[1]["turn error"] = float(np.nanmedian(turn_errors(angle, whole, at)))
    own, lattice = sublattices(at)
    rows[1]["sublattice by angle"] = told(direction(angle), lattice, own)
    return rows


def score(scan: Simulation, at: AtSites, found: Found) -> Row:
    """One row of the table."""
    codes, history = found.codes, found.model.history_
    own, lattice = sublattices(at)
    row: Row = separation(codes.z, at)
    row["sublattice by angle"] = told(direction(codes.angle), lattice, own)
    if (codes.fold > 0).any():
        row["turn error"] = float(np.nanmedian(turn_errors(codes.angle, codes.fold, at)))
    row["angle undefined"] = float(np.mean(codes.fold == 0))
    row["angle to COM angle"] = angle_against_com(codes, center_of_mass(scan))
    row["KL, nats"] = " ".join(f"{kl:.1f}" for kl in history.kl[history.best_epoch])
    row["collapsed"] = " ".join("yes" if c else "no" for c in history.collapsed)
    row["fit, CPU s"] = found.seconds
    return row


def table(rows: list[Row]) -> str:
    """Rows as Markdown; what a row lacks is left empty."""
    head = list(dict.fromkeys(key for row in rows for key in row))

    def shown(value: str | float | None) -> str:
        if value is None:
            return ""
        return value if isinstance(value, str) else f"{value:.2f}" if value < 10 else f"{value:.0f}"

    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(shown(row.get(key)) for key in head)} |" for row in rows]
    return "\n".join(lines)


def run(name: str, options: argparse.Namespace) -> list[Row]:
    """Figures and rows of a case."""
    scan = simulate.recorded(name, reduced=options.small, cache=options.cache)
    scan = binned(scan, options.bin) if options.bin > 1 else scan
    scan = thinned(scan, options.every) if options.every > 1 else scan
    at = at_sites(scan)
    rows = baselines(scan, at)
    first: dict[str, Found] = {}
    for model in options.models:
        make = MODELS[model]
        if model == "published" and options.published_epochs is not None:
            make = partial(make, max_epochs=options.published_epochs)
        for seed in range(options.seeds):
            found = fit(scan, make, seed)
            first.setdefault(model, found)
            rows.append({"by": f"{model}, seed {seed}", **score(scan, at, found)})
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        com, dark = center_of_mass(scan), dark_field(scan)
        cases_figures.save(scan, com, dark, first, options.out)
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(simulate.PUBLISHED))
    parser.add_argument("--small", action="store_true", help="a few positions, for a quick look")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["default"])
    parser.add_argument("--published-epochs", type=int, help="fewer than its own 1000")
    parser.add_argument("--bin", type=int, default=1, help="detector pixels summed along each axis")
    parser.add_argument("--every", type=int, default=1, help="take every N-th position")
    parser.add_argument("--out", type=Path, help="folder for figures and tables")
    parser.add_argument("--cache", type=Path, help="folder of simulated scans")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(simulate.PUBLISHED)
    if unknown:
        parser.error(f"names must be out of {', '.join(simulate.PUBLISHED)}; got {sorted(unknown)}")
    results = {}
    for name in options.names or simulate.PUBLISHED:
        results[name] = run(name, options)
        print(f"\n{name}\n\n{table(results[name])}", flush=True)
    if options.out is not None:
        text = "\n".join(f"## {name}\n\n{table(rows)}\n" for name, rows in results.items())
        (options.out / "cases.md").write_text(text, encoding="utf-8")
        (options.out / "cases.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
