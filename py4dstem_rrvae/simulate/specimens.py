# SPDX-License-Identifier: GPL-3.0-or-later
"""Crystals with known defects, as ASE atoms.

Discs stand alone in empty space. Crystals that fill a cell (`Atoms.pbc`) go on for ever. Either way
the origin of x and y is a place of the crystal, and a scan is laid out about it.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms


def turned(angle: float) -> np.ndarray:
    """Matrix, shape (2, 2), for which row vectors ``(x, y) @ matrix`` turn from x towards y."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])


def _honeycomb(
    radius: float, lattice: float, sites: list[tuple[str, int, float]], rotation: float
) -> "Atoms":
    """Disc of a honeycomb crystal about the middle of a hexagon.

    `sites` holds the element, sublattice (1 or 2) and height (angstrom) of each atom of the cell.
    """
    from ase import Atoms

    reach = math.ceil(2 * radius / lattice) + 1
    cells = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    vectors = lattice * np.array([[1, 0], [0.5, math.sqrt(3) / 2]]) @ turned(rotation)
    symbols, positions = [], []
    for symbol, sublattice, height in sites:
        plane = (cells + sublattice / 3) @ vectors
        plane = plane[np.hypot(*plane.T) <= radius]
        symbols += [symbol] * len(plane)
        positions.append(np.column_stack([plane, np.full(len(plane), height)]))
    return Atoms(symbols, positions=np.concatenate(positions), info={"vacancies": np.empty((0, 2))})


def _nearest(atoms: "Atoms", symbol: str, place: tuple[float, float]) -> int:
    """Index of the atom of one element that is closest, in the plane, to a place."""
    distance = np.hypot(*(atoms.positions[:, :2] - place).T)
    return int(np.argmin(np.where(atoms.symbols == symbol, distance, np.inf)))


def _remove_column(atoms: "Atoms", symbol: str, place: tuple[float, float]) -> None:
    """Take away the column of one element nearest to a place; nothing relaxes."""
    site = atoms.positions[_nearest(atoms, symbol, place), :2]
    del atoms[np.hypot(*(atoms.positions[:, :2] - site).T) < 0.1]
    atoms.info["vacancies"] = np.vstack([atoms.info["vacancies"], site])


def graphene(
    radius: float,
    *,
    rotation: float = 0.0,
    vacancy: tuple[float, float] | None = None,
    dopant: tuple[float, float] | None = None,
    bond: float = 1.77,
) -> "Atoms":
    """Graphene, if wished with a monovacancy and a threefold silicon atom.

    Parameters
    ----------
    radius
        Radius of the patch about the middle of a hexagon, in angstrom.
    rotation
        Turn of the lattice, in radians; at 0 a zigzag row runs along x.
    vacancy, dopant
        Places (angstrom) whose nearest carbon atom is removed, or replaced by silicon in the
        plane. Nothing relaxes about the vacancy.
    bond
        Silicon-carbon distance (angstrom) to which silicon's three neighbours are pushed straight
        outwards; no other atom moves.
    """
    atoms = _honeycomb(radius, 2.46, [("C", 1, 0.0), ("C", 2, 0.0)], rotation)
    if vacancy is not None:
        _remove_column(atoms, "C", vacancy)
    if dopant is not None:
        index = _nearest(atoms, "C", dopant)
        offset = atoms.positions - atoms.positions[index]
        distance = np.linalg.norm(offset, axis=1)
        near = np.argsort(distance)[1:4]
        atoms.positions[near] += offset[near] * (bond / distance[near, None] - 1)
        atoms.symbols[index] = "Si"
    return atoms


def mos2(
    radius: float, *, rotation: float = 0.0, vacancy: tuple[float, float] | None = None
) -> "Atoms":
    """One layer of 1H-MoS2, if wished without the S2 column nearest to a place (angstrom)."""
    sites = [("Mo", 1, 0.0), ("S", 2, -1.56), ("S", 2, 1.56)]
    atoms = _honeycomb(radius, 3.16, sites, rotation)
    if vacancy is not None:
        _remove_column(atoms, "S", vacancy)
    return atoms


def hbn(
    radius: float, *, rotation: float = 0.0, vacancy: tuple[float, float] | None = None
) -> "Atoms":
    """One layer of h-BN, if wished without the boron atom nearest to a place (angstrom)."""
    atoms = _honeycomb(radius, 2.504, [("B", 1, 0.0), ("N", 2, 0.0)], rotation)
    if vacancy is not None:
        _remove_column(atoms, "B", vacancy)
    return atoms


def sheet(repeats: tuple[int, int], *, lattice: float = 2.464) -> "Atoms":
    """Graphene that fills a cell of so many orthogonal cells (sqrt(3) a x a) along x and y.

    A carbon atom stands at the origin and a bond points along x.
    """
    cell = lattice * np.array([math.sqrt(3), 1.0])
    basis = np.array([[0, 0, 0], [1 / 3, 0, 0], [1 / 2, 1 / 2, 0], [5 / 6, 1 / 2, 0]])
    return _filled(["C"] * 4, basis, (*cell, 1.0), (*repeats, 1))


def zincblende(
    repeats: tuple[int, int], *, layers: int, lattice: float = 5.409, symbols: str = "ZnS"
) -> "Atoms":
    """Zincblende that fills a cell, seen along [110]; x lies along [001] and y along [1-10].

    Columns of the two elements form dumbbells of length a / 4 along x; a column of the first
    element stands at the origin and the second is on its +x side.

    Parameters
    ----------
    repeats
        Cells a x a / sqrt(2) along x and y.
    layers
        Atomic planes along the beam, ``a / sqrt(8)`` apart.
    lattice
        Cubic lattice constant a, in angstrom.
    symbols
        Formula of the two elements.
    """
    from ase.symbols import string2symbols

    first, second = string2symbols(symbols)
    basis = np.array([[0, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 4, 0, 1 / 2], [3 / 4, 1 / 2, 0]])
    period = lattice / math.sqrt(2)
    cells = math.ceil(layers / 2)
    atoms = _filled(
        [first, first, second, second], basis, (lattice, period, period), (*repeats, cells)
    )
    return atoms[atoms.positions[:, 2] < (layers - 0.5) * period / 2]


def _filled(
    symbols: list[str], basis: np.ndarray, cell: tuple[float, ...], repeats: tuple[int, int, int]
) -> "Atoms":
    """A cell repeated along x, y and z, periodic in x and y; the origin is amidst it."""
    from ase import Atoms

    unit = Atoms(symbols, scaled_positions=basis, cell=cell)
    atoms = unit.repeat(repeats)
    atoms.positions[:, :2] -= np.multiply(cell[:2], np.floor_divide(repeats[:2], 2))
    atoms.pbc = (True, True, False)
    atoms.info["vacancies"] = np.empty((0, 2))
    return atoms
