# SPDX-License-Identifier: GPL-3.0-or-later
"""How far patterns are apart when their turns do not count, without noise and without a model.

``python -m benchmarks.site_distances PNG`` draws them for positions at the sites of both scans of
graphene, beside the latents of the default.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from sklearn.manifold import MDS
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from py4dstem_rrvae import RRVAE, simulate
from py4dstem_rrvae.simulate.sites import AtSites, at_sites

from .cases import AT_SITE, frames

Array = NDArray[np.float64]
TURNS = 256
STYLES = {"C": ("#332288", "o"), "bond": ("#88ccee", "^"), "hollow": ("#cc6677", "v")}


def distances(expected: Array, center: tuple[float, float], matrix: Array) -> Array:
    """Distances (n, n) of expected counts (n, N, N), each pair at the turn that makes it smallest.

    In standard deviations of the counting noise: twice the distance of the square roots. ``matrix``
    takes pixel offsets to q.
    """
    pixel = np.sqrt(abs(np.linalg.det(matrix)))
    radii = np.arange(0.5, expected.shape[-1] // 2 - 1)
    turns = 2 * np.pi * np.arange(TURNS) / TURNS
    q = pixel * radii[:, None] * np.stack([np.cos(turns), np.sin(turns)])[:, None]
    places = np.einsum("ij,jrt->irt", np.linalg.inv(matrix), q) + np.reshape(center, (2, 1, 1))
    rings = np.array([map_coordinates(np.sqrt(pattern), places) for pattern in expected])
    area = radii[:, None] * 2 * np.pi / TURNS
    energy = np.sum(area * rings**2, axis=(1, 2))
    spectra = np.fft.rfft(rings)
    squared = np.empty((len(rings), len(rings)))
    for row, spectrum, own in zip(squared, spectra, energy, strict=True):
        shared = np.fft.irfft((area * spectrum.conj() * spectra).sum(axis=1), TURNS).max(axis=-1)
        row[:] = own + energy - 2 * shared
    apart: Array = 2 * np.sqrt(np.maximum((squared + squared.T) / 2, 0))
    np.fill_diagonal(apart, 0)
    return apart


def plane(apart: Array) -> Array:
    """Positions (n, 2) in the plane whose distances are nearest to those given."""
    options = {"normalized_stress": False, "n_init": 4, "random_state": 0}
    found: Array = MDS(2, dissimilarity="precomputed", **options).fit_transform(apart)
    return found


def clusters(points: Array, kind: NDArray[np.str_]) -> float:
    """Adjusted Rand index of a mixture of as many normal distributions as there are kinds."""
    mixture = GaussianMixture(len(set(kind)), n_init=20, random_state=0)
    return float(adjusted_rand_score(kind, mixture.fit_predict(points)))


def _between(apart: Array, kind: NDArray[np.str_]) -> None:
    """Print median and largest distances within kinds and between them."""
    for i, one in enumerate(STYLES):
        for other in list(STYLES)[i:]:
            pairs = apart[np.ix_(kind == one, kind == other)]
            print(
                f"  {one} to {other}: median {np.median(pairs):.0f}, least {pairs.min():.0f}",
                end="",
            )
            print(f", largest {pairs.max():.0f}")


def _scatter(ax: Axes, points: Array, kind: NDArray[np.str_], title: str) -> None:
    for k, (colour, marker) in STYLES.items():
        own = kind == k
        ax.scatter(points[own, 0], points[own, 1], c=colour, marker=marker, s=16, label=k)
    ax.set_title(title, fontsize=9)


def draw() -> Figure:
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    axes = figure.subplots(2, 2)
    for (left, right), name in zip(axes, ("graphene_coherent", "graphene_incoherent"), strict=True):
        scan = simulate.noise_free(name)
        at: AtSites = at_sites(scan)
        close = at.distance < AT_SITE
        kind = at.kind[close]
        electrons = simulate.CASES[name].electrons
        apart = distances(electrons * scan.patterns[close].astype(float), scan.center, scan.matrix)
        exact = plane(apart)
        counted = simulate.recorded(name)
        z = RRVAE(random_state=0, progress=False).fit_transform(frames(counted))
        z = z.reshape(*at.kind.shape, -1)[close]
        words = name.replace("_", " ")
        _scatter(left, exact, kind, f"{words}: exact distances, ARI {clusters(exact, kind):.2f}")
        _scatter(right, z, kind, f"{words}: latents, ARI {clusters(z, kind):.2f}")
        left.set(
            xlabel="standard deviations of noise", ylabel="standard deviations", aspect="equal"
        )
        right.set(xlabel="z1", ylabel="z2")
        print(name)
        _between(apart, kind)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=Path)
    draw().savefig(parser.parse_args().figure, dpi=120)


if __name__ == "__main__":
    main()
