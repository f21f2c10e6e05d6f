# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated scans with counting noise, kept between runs."""

import hashlib
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..datasets import Simulation, counts
from ..replacing import replacing
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
    """A scan of counts, simulated once; later calls read it and draw the noise anew.

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
        Folder for the noise-free patterns, up to 70 MB a scan; None: the user's cache folder.

    Returns
    -------
    Simulation with uint16 patterns

    Raises
    ------
    ValueError
        If the case is unknown or cannot be simulated.
    """
    electrons = find(case).electrons if electrons is None else electrons
    simulation = noise_free(case, reduced=reduced, random_state=random_state, cache=cache)
    noise = np.random.default_rng((random_state, 1))
    drawn = counts(simulation, electrons, random_state=noise)
    return replace(simulation, patterns=drawn, electrons=electrons)


def noise_free(
    case: str | Case,
    *,
    reduced: bool = False,
    random_state: int = 0,
    cache: str | Path | None = None,
) -> Simulation:
    """What `recorded` draws its counts from: the fraction of the electrons in each pixel.

    Parameters
    ----------
    case, reduced, random_state, cache
        As in `recorded`.

    Returns
    -------
    Simulation with float32 patterns

    Raises
    ------
    ValueError
        If the case is unknown or cannot be simulated.
    """
    name, case = (case if isinstance(case, str) else "custom"), find(case)
    case = small(case) if reduced else case
    path = Path(_user_cache() if cache is None else cache)
    path = path / f"{name}-{_digest(case, random_state)}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        simulation = intensities(case, random_state=random_state)
        with replacing(path) as part:
            np.savez(part, **{field: getattr(simulation, field) for field in _stored(case)})
    with np.load(path) as file:
        arrays = {field: file[field] for field in _stored(case)}
    return Simulation(
        **arrays
        | {"symbols": tuple(arrays["symbols"].tolist())}
        | {field: arrays[field].item() for field in ("q_per_pixel", "q_ratio")}
        | {"center": tuple(arrays["center"].tolist())},
        microscope=case.microscope,
        scan=case.scan,
        case=name,
        random_state=random_state,
    )


def _stored(case: Case) -> list[str]:
    fields = ["patterns", "q_per_pixel", "q_ratio", "center", "symbols", "positions", "vacancies"]
    return fields if case.camera is None else [*fields, "centers"]


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("py4dstem_rrvae")


def _digest(case: Case, random_state: int) -> str:
    """A name for all that the patterns depend on."""
    specimen = case.specimen
    made = (
        (specimen.func.__qualname__, specimen.args, sorted(specimen.keywords.items()))
        if isinstance(specimen, partial)
        else specimen.__qualname__
    )
    # Values alone, so that a class may change its name.
    parts = [part and astuple(part) for part in (case.microscope, case.scan, case.camera)]
    whole = (made, case.radius, case.sampling, parts, random_state)
    return hashlib.sha256(repr(whole).encode()).hexdigest()[:12]
