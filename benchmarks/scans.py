# SPDX-License-Identifier: GPL-3.0-or-later
"""The six scans of the published work as data sets of the comparison.

Methods get the same windows of the patterns, cut by whole pixels about the beam, and are scored on
a second draw of the noise. What more is known of the geometry goes along in `Scan.geometry`: ours
take it up, PCA, NMF and the peers have no place for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from py4dstem_rrvae import simulate
from py4dstem_rrvae.simulate import Simulation
from py4dstem_rrvae.simulate.sites import AtSites, at_sites

from . import cases

Array = NDArray[np.float64]
Figures = dict[str, float | list[float]]


@dataclass(frozen=True)
class Scan:
    """A simulated scan, its positions one after the other.

    Attributes
    ----------
    train, fresh : ndarray of uint16, shape (n, N, N)
        Counts, and a second draw of them.
    expected : ndarray, shape (n, N, N)
        Counts of both without noise.
    center : ndarray, shape (n, 2)
        Where the beam stands in each window, as a user finds it.
    matrix : ndarray, shape (2, 2)
        Pixel offset to q.
    at : AtSites
        What lies at the positions, on the scan.
    """

    train: NDArray[np.uint16]
    fresh: NDArray[np.uint16]
    expected: Array
    center: Array
    matrix: Array
    at: AtSites

    @property
    def geometry(self) -> dict[str, Any]:
        """For methods that take it, as JSON holds it; one centre where the beam stands still."""
        steady = np.ptp(self.center, axis=0).max() == 0
        center = self.center[0] if steady else self.center
        return {"center": center.tolist(), "matrix": self.matrix.tolist()}

    def figures(self, z: Array, angle: Array, expected: Array) -> Figures:
        """Figures of merit by name; those that a method has no answer for are left out."""
        at, shape = self.at, self.at.kind.shape
        maps = z.reshape(*shape, -1)
        found: Figures = {"ari": cases.site_ari(maps, at)}
        told = cases.told(maps, at.kind, np.ones(shape, dtype=bool))
        if told is not None:
            found["accuracy"] = told
        if np.isfinite(angle).any():
            # Angles of no known period are taken as they are; of two senses the better.
            whole = np.ones(shape, dtype=np.int64)
            errors = [cases.turn_errors(s * angle.reshape(shape), whole, at) for s in (1, -1)]
            found["turn"] = float(min(np.nanmedian(e) for e in errors))
        if np.isfinite(expected).all():
            noise = np.square(self.fresh - self.expected).sum()
            found["reconstruction"] = float(
                np.sqrt(np.square(expected - self.expected).sum() / noise)
            )
        return found


def scan(_: int, name: str, n_bin: int = 1, every: int = 1, **options: Any) -> Scan:
    """A case, its detector pixels summed n x n, of every so many positions along each axis."""
    mean = simulate.noise_free(name, **options)
    electrons = simulate.CASES[name].electrons
    first, second = (
        replace(
            mean,
            patterns=simulate.counts(mean, electrons, random_state=np.random.default_rng((0, k))),
            electrons=electrons,
        )
        for k in (1, 2)
    )
    mean = replace(mean, patterns=mean.patterns * np.float64(electrons))
    first, second, mean = (
        cases.thinned(cases.binned(s, n_bin), every) for s in (first, second, mean)
    )
    center = _origins(first)
    (train, fresh, expected), center = _windows([first, second, mean], center)
    return Scan(train, fresh, expected, center, first.matrix, at_sites(first))


def _origins(scan: Simulation) -> Array:
    """Where the beam stands (n, 2), as a user finds it."""
    center = cases.frames(scan).center
    return np.broadcast_to(center, (*scan.patterns.shape[:2], 2)).reshape(-1, 2)


def _windows(scans: list[Simulation], center: Array) -> tuple[list[Any], Array]:
    """Largest square windows about the nearest pixel, and where in them the beam stands."""
    size = scans[0].patterns.shape[-1]
    middle = np.rint(center).astype(int)
    half = int(min(middle.min(), size - 1 - middle.max()))
    index = np.arange(-half, half + 1)
    rows, cols = (m[:, None] + index for m in middle.T)
    k = np.arange(len(middle))[:, None, None]
    flat = [s.patterns.reshape(-1, size, size) for s in scans]
    windows = [f[k, rows[:, :, None], cols[:, None, :]] for f in flat]
    return windows, center - middle + half


SCANS = {
    "graphene_coherent": partial(scan, name="graphene_coherent", n_bin=3),
    "graphene_incoherent": partial(scan, name="graphene_incoherent", n_bin=3),
    "graphene_coherent-39": partial(scan, name="graphene_coherent", n_bin=2),
    "graphene_incoherent-39": partial(scan, name="graphene_incoherent", n_bin=2),
    "zns": partial(scan, name="zns", n_bin=2),
    "measured_pristine": partial(scan, name="measured_pristine", n_bin=2, every=2),
    "measured_silicon": partial(scan, name="measured_silicon", n_bin=2, every=2),
    "measured_vacancy": partial(scan, name="measured_vacancy", n_bin=2, every=2),
}
"""By name, from the number of patterns, which is theirs. Pixels and positions are as many as the
peers can be trained on in minutes; "-39" are the same scans with windows of 39 pixels for 25."""
