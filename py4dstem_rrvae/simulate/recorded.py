# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated scans with counting noise, kept between runs."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..datasets import Simulation, counts, load, save
from .cases import Case, find, small
from .multislice import intensities


def recorded(
    case: str | Case,
    *,
    reduced: bool = False,
    electrons: float | None = None,
    random_state: int = 0,
    cache: str | Path | None = None,
) -> Simulation:
    """A scan of counts, simulated once and then read from a cache.

    Parameters
    ----------
    case
        A name out of `CASES`, or a case of your own.
    reduced
        The `small` version.
    electrons
        Incident electrons per pattern; None: those of the case.
    random_state
        Seed of the thermal displacements and the counting noise.
    cache
        Folder for the files, a few megabytes each; None: the user's cache folder.

    Returns
    -------
    Simulation with uint16 patterns

    Raises
    ------
    ValueError
        If the case is unknown or cannot be simulated.
    """
    name, case = (case if isinstance(case, str) else "custom"), find(case)
    case = small(case) if reduced else case
    electrons = case.electrons if electrons is None else electrons
    path = Path(_user_cache() if cache is None else cache)
    path = path / f"{name}-{_digest(case, electrons, random_state)}.h5"
    if not path.exists():
        simulation = replace(intensities(case, random_state=random_state), case=name)
        noise = np.random.default_rng((random_state, 1))
        drawn = counts(simulation, electrons, random_state=noise)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed, so that an interrupted run leaves no half a file.
        part = path.with_suffix(".part")
        save(part, simulation, drawn, electrons=electrons, overwrite=True)
        part.replace(path)
    return load(path)


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("py4dstem_rrvae")


def _digest(case: Case, electrons: float, random_state: int) -> str:
    """A name for all that the counts depend on."""
    specimen = case.specimen
    made = (
        (specimen.func.__qualname__, specimen.args, sorted(specimen.keywords.items()))
        if isinstance(specimen, partial)
        else specimen.__qualname__
    )
    rest = (case.radius, case.microscope, case.scan, case.camera, case.sampling)
    return hashlib.sha256(repr((made, rest, electrons, random_state)).encode()).hexdigest()[:12]
