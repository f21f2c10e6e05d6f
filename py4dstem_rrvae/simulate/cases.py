# SPDX-License-Identifier: GPL-3.0-or-later
"""Named scans: every parameter of every simulated case, in one table."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ..datasets import Microscope, Scan
from .descan import DescanCamera
from .specimens import graphene, hbn, mos2, sheet, zincblende

if TYPE_CHECKING:
    from ase import Atoms

PUBLISHED = (
    "graphene_coherent",
    "graphene_incoherent",
    "zns",
    "measured_pristine",
    "measured_silicon",
    "measured_vacancy",
)
"""The six scans of Oxley et al. (2021), the measured ones as simulations made to look measured."""


@dataclass(frozen=True)
class Case:
    """A named scan.

    Parameters
    ----------
    specimen, radius
        Makes the atoms within that radius (angstrom) of the origin of the specimen's frame; with
        radius None takes nothing and makes a crystal that fills its cell. Places of missing atoms
        or columns, shape (V, 2), stand in ``atoms.info["vacancies"]``.
    microscope, scan
        Optics, detector and thermal motion; probe positions.
    electrons
        Incident electrons per pattern that suit the case.
    camera
        What the patterns are recorded with, if not the microscope's ideal detector.
    sampling
        Largest pixel of the wave, in angstrom: scattering up to 1 / (3 sampling) is kept.
    """

    specimen: "Callable[..., Atoms]"
    radius: float | None
    microscope: Microscope
    scan: Scan
    electrons: float
    camera: DescanCamera | None = None
    sampling: float = 0.2

    def atoms(self) -> "Atoms":
        """Atoms at rest, in the specimen's frame."""
        return self.specimen() if self.radius is None else self.specimen(self.radius)


# Lattices are turned a little, so that nothing lies along the scan or the detector by accident.
CASES: dict[str, Case] = {
    "graphene": Case(
        partial(graphene, rotation=math.radians(7), vacancy=(-2.8, 2.5), dopant=(2.8, -2.5)),
        radius=30.0,
        microscope=Microscope(60e3, 32.0, source_fwhm=0.6, detector_pixels=48, max_angle=54.0),
        scan=Scan(shape=(64, 64), step=0.22),
        electrons=2e5,
    ),
    "mos2": Case(
        partial(mos2, rotation=math.radians(4), vacancy=(0.6, -0.4)),
        radius=26.5,
        microscope=Microscope(80e3, 30.0, source_fwhm=0.6, detector_pixels=71, phonon_sigma=0.07),
        scan=Scan(shape=(40, 40), step=0.2),
        electrons=1e5,
    ),
    "hbn": Case(
        partial(hbn, rotation=math.radians(5), vacancy=(0.6, -0.4)),
        radius=26.5,
        microscope=Microscope(60e3, 32.0, source_fwhm=0.6, max_angle=52.0, phonon_sigma=0.07),
        scan=Scan(shape=(40, 40), step=0.2),
        electrons=1e5,
    ),
}

# One orthogonal cell along the axes, as published; 1e6 electrons are next to no noise.
_NION = Microscope(60e3, 32.0, detector_pixels=78, max_angle=38.0)
CASES["graphene_coherent"] = Case(
    partial(sheet, (12, 20)),
    radius=None,
    microscope=replace(_NION, phonon_configurations=1, phonon_sigma=0.0),
    scan=Scan(shape=(24, 14), step=0.177),
    electrons=1e6,
)
CASES["graphene_incoherent"] = replace(
    CASES["graphene_coherent"],
    microscope=replace(_NION, source_fwhm=0.8, phonon_configurations=24, phonon_sigma=0.06),
)
CASES["zns"] = Case(
    partial(zincblende, (8, 11), layers=10),
    radius=None,
    microscope=Microscope(
        100e3,
        30.0,
        source_fwhm=0.5,
        detector_pixels=62,
        max_angle=53.0,
        phonon_configurations=6,
        phonon_sigma=0.1,
    ),
    scan=Scan(shape=(31, 22), step=0.1745),
    electrons=1e6,
)

# 1 nm across; the bright-field disc fills 50 of 64 pixels (200 of 256, binned by 4) off the middle.
_MEASURED = Case(
    partial(graphene, rotation=math.radians(11)),
    radius=24.0,
    microscope=Microscope(
        60e3, 32.0, source_fwhm=0.8, detector_pixels=204, max_angle=47.5, phonon_configurations=3
    ),
    scan=Scan(shape=(64, 64), step=10 / 64),
    # 40 pA for 0.8 ms.
    electrons=2e5,
    camera=DescanCamera(64, 41.0, shift=(1.8, -2.6), descan=((0.9, -0.2), (0.3, 0.7))),
    sampling=0.25,
)
CASES["measured_pristine"] = _MEASURED
CASES["measured_silicon"] = replace(
    _MEASURED, specimen=partial(graphene, rotation=math.radians(11), dopant=(0.5, -0.4))
)
CASES["measured_vacancy"] = replace(
    _MEASURED, specimen=partial(graphene, rotation=math.radians(11), vacancy=(0.5, -0.4))
)


def find(case: str | Case) -> Case:
    """The case of a name; a case is returned as it is.

    Raises
    ------
    ValueError
        If there is no such name.
    """
    if not isinstance(case, Case) and case not in CASES:
        raise ValueError(f"case must be a Case or one of {sorted(CASES)}; got {case!r}")
    return case if isinstance(case, Case) else CASES[case]


def small(case: str | Case) -> Case:
    """The same field with a third of the positions along each axis, and one phonon configuration.

    Positions of scans below 1000 are thinned to half along each axis instead, and what a camera
    records is simulated half as fine. For tests: frozen phonons of one configuration make equal
    sites unequal.
    """
    case = find(case)
    scan = case.scan
    every = 3 if math.prod(scan.shape) > 1000 else 2
    shape = (-(-scan.shape[0] // every), -(-scan.shape[1] // every))
    pixels = case.microscope.detector_pixels
    pixels = pixels if case.camera is None else pixels // 2
    return replace(
        case,
        scan=replace(scan, shape=shape, step=scan.step * every),
        microscope=replace(case.microscope, phonon_configurations=1, detector_pixels=pixels),
    )
