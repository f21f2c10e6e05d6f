# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites of crystals whose geometry is known."""

import math
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from py4dstem_rrvae import simulate
from py4dstem_rrvae.datasets import Microscope, Scan, Simulation
from py4dstem_rrvae.simulate.sites import at_sites, sites

SCAN = Scan(shape=(40, 40), step=0.2)
BOND = 2.46 / math.sqrt(3)


def scan_of(specimen, *arguments):
    """A scan without patterns: only the atoms count."""
    atoms = specimen(*arguments)
    middle = (np.array(SCAN.shape) - 1) / 2
    return Simulation(
        patterns=np.zeros((*SCAN.shape, 1, 1)),
        q_per_pixel=1.0,
        center=(0.0, 0.0),
        symbols=tuple(atoms.symbols),
        positions=atoms.positions[:, :2] / SCAN.step + middle,
        vacancies=atoms.info["vacancies"] / SCAN.step + middle,
        microscope=Microscope(60e3, 30.0),
        scan=SCAN,
    )


def graphene(rotation=0.0, **defects):
    return scan_of(partial(simulate.graphene, rotation=rotation, **defects), 20.0)


def inner(known, kind=None):
    """Sites inside the scan, of one kind if wished."""
    own = ((known.place > 2) & (known.place < 37)).all(1)
    return own if kind is None else own & (np.array(known.kind) == kind)


def test_graphene_has_two_atoms_three_bonds_and_a_hollow_a_cell():
    known = sites(graphene(0.1))
    counted = Counter(np.array(known.kind).tolist())
    # A wide field: the rims of the three kinds differ by some sites.
    assert counted["C"] / counted["hollow"] == pytest.approx(2, rel=0.1)
    assert counted["bond"] / counted["hollow"] == pytest.approx(3, rel=0.1)
    folds = {kind: set(known.fold[inner(known, kind)]) for kind in ("C", "bond", "hollow")}
    assert folds == {"C": {3}, "bond": {2}, "hollow": {6}}


def test_hollows_are_the_middles_of_hexagons():
    known = sites(graphene(0.1))
    offset = (known.place[inner(known, "hollow")] - 19.5) * 0.2
    # The origin of the disc is a hexagon's middle; the others are whole cells away.
    vectors = 2.46 * np.array([[math.cos(0.1 + k), math.sin(0.1 + k)] for k in (0, math.pi / 3)])
    cells = offset @ np.linalg.inv(vectors)
    np.testing.assert_allclose(cells, np.round(cells), atol=1e-6)


def test_sublattices_are_turned_by_half_a_turn():
    known = sites(graphene(0.1))
    own = inner(known, "C")
    first, second = (known.orientation[own & (known.sublattice == k)] for k in (0, 1))
    assert len(first) > 5 and len(second) > 5
    np.testing.assert_allclose(first, first[0], atol=1e-6)
    np.testing.assert_allclose((second - first[0]) % (2 * np.pi / 3), np.pi / 3, atol=1e-6)
    assert (known.sublattice[inner(known, "bond")] == -1).all()


def test_orientation_turns_with_the_crystal():
    one, other = sites(graphene(0.1)), sites(graphene(0.4))
    for kind in ("C", "bond", "hollow"):
        period = 2 * np.pi / one.fold[inner(one, kind)][0]
        found = {round(float(o), 5) for o in one.orientation[inner(one, kind)]}
        after = {round(float(o), 5) for o in other.orientation[inner(other, kind)]}
        expected = sorted((o + 0.3) % period for o in found)
        np.testing.assert_allclose(sorted(after), expected, atol=1e-4)


def test_bonds_point_along_themselves():
    known = sites(graphene(0.0))
    directions = np.degrees(known.orientation[inner(known, "bond")]).round()
    # Zigzag along x: bonds at 30, 90 and 150 degrees.
    assert set(directions) == {30, 90, 150}


def test_defects_have_sites_of_their_own():
    known = sites(graphene(0.1, vacancy=(-3.0, 0.0), dopant=(3.0, 0.0)))
    counted = Counter(known.kind)
    assert counted["Si"] == counted["vacancy"] == 1
    assert counted["near Si"] >= 6 and counted["near vacancy"] >= 6
    kind = np.array(known.kind)
    assert known.fold[kind == "Si"] == known.fold[kind == "vacancy"] == 3
    assert set(known.fold[kind == "near vacancy"]) == {1}


def test_zincblende_has_dumbbells_that_point_from_one_element_to_the_other():
    known = sites(scan_of(partial(simulate.zincblende, (8, 11), layers=4)))
    kind = np.array(known.kind)
    assert set(kind) == {"Zn", "S", "bond", "hollow"}
    assert set(known.fold[inner(known)]) == {1}
    zinc, sulphur = (known.place[kind == name] * 0.2 for name in ("Zn", "S"))
    offset = sulphur[None] - zinc[:, None]
    nearest = offset[np.arange(len(zinc)), np.hypot(*offset.T).T.argmin(1)]
    inside = inner(known, "Zn")[kind == "Zn"]
    np.testing.assert_allclose(nearest[inside], [[5.409 / 4, 0]] * inside.sum(), atol=1e-6)
    np.testing.assert_array_equal(known.sublattice[kind == "Zn"], known.sublattice[kind == "Zn"][0])


def test_columns_of_several_atoms_are_one_site():
    known = sites(scan_of(simulate.mos2, 20.0))
    kind = np.array(known.kind)
    atoms = scan_of(simulate.mos2, 20.0)
    assert set(kind) == {"Mo", "S", "bond", "hollow"} - {"bond"} | ({"bond"} & set(kind))
    inside = ((atoms.positions > 2) & (atoms.positions < 37)).all(1)
    assert inner(known, "S").sum() * 2 == (inside & (np.array(atoms.symbols) == "S")).sum()
    assert set(known.fold[inner(known)]) <= {1, 3}


def test_positions_get_the_nearest_site():
    scan = graphene(0.1, vacancy=(0.5, 0.3))
    at = at_sites(scan)
    known = sites(scan)
    index = np.indices(SCAN.shape).reshape(2, -1).T
    distance = np.linalg.norm(index[:, None] - known.place[None], axis=-1)
    np.testing.assert_allclose(at.distance.ravel(), distance.min(1) * 0.2)
    assert (at.kind.ravel() == np.array(known.kind)[distance.argmin(1)]).all()
    assert at.distance.max() < BOND
    place = np.rint(scan.vacancies[0]).astype(int)
    assert at.kind[tuple(place)] == "vacancy"


def test_a_distorted_lattice_is_not_symmetric():
    scan = graphene(0.1)
    near = np.argsort(np.hypot(*(scan.positions - 19.5).T))[0]
    moved = scan.positions.copy()
    moved[near] += 2.0
    fold = sites(replace(scan, positions=moved)).fold
    assert (fold[inner(sites(replace(scan, positions=moved)))] == 1).any()
    assert not (sites(scan).fold[inner(sites(scan))] == 1).any()
