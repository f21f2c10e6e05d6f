# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated 4D-STEM scans of crystals, with the truth they were made from.

Alone in needing abTEM and ASE, and only once something is simulated. Each row of `CASES` is a scan;
``python -m py4dstem_rrvae.simulate graphene --out FILE`` makes the shipped file again.

A specimen has its own frame: x along scan axis 0 (rows), y along scan axis 1 (columns), in
angstrom. A positive turn goes from the row axis towards the column axis.
"""

from ..datasets import Microscope, Scan, Simulation, counts, load, save
from .cases import CASES, PUBLISHED, Case, small
from .descan import DescanCamera
from .multislice import intensities, vacuum
from .recorded import noise_free, recorded
from .specimens import graphene, hbn, mos2, sheet, zincblende

__all__ = [
    "CASES",
    "PUBLISHED",
    "Case",
    "DescanCamera",
    "Microscope",
    "Scan",
    "Simulation",
    "counts",
    "graphene",
    "hbn",
    "intensities",
    "load",
    "mos2",
    "noise_free",
    "recorded",
    "save",
    "sheet",
    "small",
    "vacuum",
    "zincblende",
]
