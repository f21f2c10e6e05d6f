# SPDX-License-Identifier: GPL-3.0-or-later
"""Which site of the crystal each probe position lies at, from the known atoms alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Voronoi, cKDTree

from ..datasets import Simulation

FloatArray = NDArray[np.float64]

BOND = 2.0
"""Longest distance between bonded columns in projection, in angstrom."""
NEAR = 1.8
"""Sites closer than this to a vacancy or a dopant are counted to it, in angstrom."""
FIELD = 6.0
"""Sites up to this distance outside the scan are listed, in angstrom."""
ENVIRONMENT, TOLERANCE = 3.0, 0.15
"""A site repeats under a turn if its surroundings within 3 A do, to 0.15 A."""
FOLDS = (6, 4, 3, 2)


@dataclass(frozen=True)
class Sites:
    """Sites of a crystal in and about a scan.

    Attributes
    ----------
    kind : tuple of str, length S
        The element of an atom or column, "bond", "hollow" or "vacancy"; other sites close to a
        foreign atom or a vacancy are "near Si" or "near vacancy".
    place : ndarray, shape (S, 2)
        (row, col) in scan pixels.
    sublattice : ndarray of int, shape (S,)
        0 or 1 for atoms whose bonds point in opposite directions; -1 for other sites.
    fold : ndarray of int, shape (S,)
        The projected surroundings repeat every ``2 pi / fold``.
    orientation : ndarray, shape (S,)
        Direction of the surroundings, radians in [0, 2 pi / fold), from rows towards columns. Its
        zero is a convention for each kind; between sites of one kind differences are turns.
    """

    kind: tuple[str, ...]
    place: FloatArray
    sublattice: NDArray[np.int64]
    fold: NDArray[np.int64]
    orientation: FloatArray


@dataclass(frozen=True)
class AtSites:
    """The site that each probe position lies nearest to; arrays have the scan's shape.

    Attributes
    ----------
    kind : ndarray of str
    offset : ndarray, shape (rows, cols, 2)
        From the site to the probe, in angstrom.
    sublattice, fold : ndarray of int
    orientation : ndarray
        See `Sites`.
    """

    kind: NDArray[np.str_]
    offset: FloatArray
    sublattice: NDArray[np.int64]
    fold: NDArray[np.int64]
    orientation: FloatArray

    @property
    def distance(self) -> FloatArray:
        """To the site, in angstrom."""
        length: FloatArray = np.hypot(self.offset[..., 0], self.offset[..., 1])
        return length

    @property
    def azimuth(self) -> FloatArray:
        """Direction from the site to the probe, radians from rows towards columns.

        At equal sites, the same offset in the site's own frame gives the same pattern, turned by
        the difference of the azimuths.
        """
        direction: FloatArray = np.arctan2(self.offset[..., 1], self.offset[..., 0])
        return direction


@dataclass(frozen=True)
class _Columns:
    """Columns of atoms in projection: places (n, 2) in angstrom and what they hold."""

    place: FloatArray
    name: NDArray[np.str_]

    def around(self, place: FloatArray, radius: float) -> tuple[FloatArray, NDArray[np.str_]]:
        """Offsets (m, 2) and names (m,) of the columns about a place, but for one at it."""
        offset = self.place - place
        distance = np.hypot(*offset.T)
        own = (distance < radius) & (distance > TOLERANCE)
        return offset[own], self.name[own]


def sites(simulation: Simulation) -> Sites:
    """Atoms, bonds, hollows and defects of a simulated scan.

    Hollows are the middles of the widest empty circles: the hexagons of graphene. Nothing but the
    atoms' places and elements is used, and of these the projection along the beam.

    Parameters
    ----------
    simulation
        Its `positions`, `symbols` and `vacancies`.

    Returns
    -------
    Sites
    """
    step = simulation.scan.step
    columns = _columns(simulation)
    missing = simulation.vacancies.reshape(-1, 2) * step
    pairs = cKDTree(columns.place).query_pairs(BOND, output_type="ndarray")
    hollow = _hollows(np.concatenate([columns.place, missing]))
    bond = columns.place[pairs].mean(axis=1)
    place = np.concatenate([columns.place, missing, bond, hollow])
    kind = np.concatenate(
        [
            columns.name,
            np.full(len(missing), "vacancy"),
            np.full(len(bond), "bond"),
            np.full(len(hollow), "hollow"),
        ]
    )
    far = np.array(simulation.scan.shape) * step + FIELD
    kept = ((place > -FIELD) & (place < far)).all(axis=1)
    sublattice = _sublattices(columns, pairs, len(place))[kept]
    kind = _with_neighbours(kind, place)[kept].astype(str)
    place = place[kept]
    fold = np.array([_fold(columns, one) for one in place])
    orientation = [_orientation(columns, *one) for one in zip(place, fold, strict=True)]
    return Sites(tuple(kind.tolist()), place / step, sublattice, fold, np.array(orientation))


def at_sites(simulation: Simulation, known: Sites | None = None) -> AtSites:
    """The nearest site of each probe position.

    Parameters
    ----------
    simulation
        A simulated scan.
    known
        Its `sites`, where they are at hand.
    """
    known = sites(simulation) if known is None else known
    position = np.moveaxis(np.indices(simulation.scan.shape), 0, -1).astype(float)
    _, nearest = cKDTree(known.place).query(position)
    return AtSites(
        np.array(known.kind)[nearest],
        (position - known.place[nearest]) * simulation.scan.step,
        known.sublattice[nearest],
        known.fold[nearest],
        known.orientation[nearest],
    )


def _merged(place: FloatArray, distance: float) -> tuple[int, NDArray[np.int32]]:
    """Groups of places closer than a distance: their number, and the group of each."""
    pairs = cKDTree(place).query_pairs(distance, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(place), len(place)))
    count, group = connected_components(links, directed=False)
    return count, group


def _means(place: FloatArray, count: int, group: NDArray[np.int32]) -> FloatArray:
    size = np.bincount(group, minlength=count)
    sums = [np.bincount(group, weights=axis, minlength=count) for axis in place.T]
    return np.stack(sums, axis=1) / size[:, None]


def _columns(simulation: Simulation) -> _Columns:
    """Atoms above each other as one; a column is named by its elements."""
    place, symbols = simulation.positions_angstrom, np.array(simulation.symbols)
    count, group = _merged(place, 0.3)
    first = np.unique(group, return_index=True)[1]
    # A column of the crystals at hand holds one element.
    return _Columns(_means(place, count, group), symbols[first])


def _hollows(place: FloatArray) -> FloatArray:
    vertices = Voronoi(place).vertices
    # Vertices far outside the crystal belong to its rim.
    low, high = place.min(axis=0), place.max(axis=0)
    vertices = vertices[((vertices > low) & (vertices < high)).all(axis=1)]
    return _means(vertices, *_merged(vertices, 0.8))


def _sublattices(columns: _Columns, pairs: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Which way the three bonds of an atom point: 0 or 1; -1 for all that is no atom."""
    n = len(columns.place)
    star = np.zeros(n, dtype=complex)
    for start, end in (pairs.T, pairs.T[::-1]):
        offset = columns.place[end] - columns.place[start]
        np.add.at(star, start, np.exp(3j * np.arctan2(offset[:, 1], offset[:, 0])))
    result = np.full(total, -1, dtype=np.int64)
    reference = star[np.argmax(np.abs(star))]
    result[:n] = (star * np.conj(reference)).real < 0
    return result


def _with_neighbours(kind: NDArray[np.str_], place: FloatArray) -> NDArray[np.str_]:
    """Sites next to a vacancy or to an element that occurs but once or twice are called so."""
    names, counted = np.unique(kind, return_counts=True)
    rare = [str(n) for n, c in zip(names, counted, strict=True) if c <= 2 or n == "vacancy"]
    named = kind.astype("U16")
    for name in rare:
        distance, _ = cKDTree(place[kind == name]).query(place)
        named[(distance < NEAR) & ~np.isin(kind, rare)] = f"near {name}"
    return named


def _fold(columns: _Columns, place: FloatArray) -> int:
    """Largest turn that brings the surroundings of a place onto themselves."""
    inner, names = columns.around(place, ENVIRONMENT)
    outer, outer_names = columns.around(place, ENVIRONMENT + 2 * TOLERANCE)
    if not len(inner):
        return 1
    tree = cKDTree(outer)
    for n in FOLDS:
        cos, sin = np.cos(2 * np.pi / n), np.sin(2 * np.pi / n)
        distance, match = tree.query(inner @ np.array([[cos, sin], [-sin, cos]]))
        if distance.max() < TOLERANCE and (outer_names[match] == names).all():
            return n
    return 1


def _orientation(columns: _Columns, place: FloatArray, fold: int) -> float:
    """Phase of the surroundings' n-fold moment; elements count differently, near ones more."""
    offset, names = columns.around(place, ENVIRONMENT)
    weight = np.array([1.0 + 0.1 * sum(map(ord, name)) for name in names])
    weight *= np.exp(-((np.hypot(*offset.T) / 1.2) ** 2))
    moment = (weight * np.exp(1j * fold * np.arctan2(offset[:, 1], offset[:, 0]))).sum()
    # A rounding error below 0 would come out as a whole period.
    return float(np.mod(round(np.angle(moment), 9), 2 * np.pi) / fold)
