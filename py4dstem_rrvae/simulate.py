# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated 4D-STEM scans of two-dimensional crystals with known defects.

Alone in needing abTEM and ASE, and only once something is simulated. Each row of `CASES` is a scan;
``python -m py4dstem_rrvae.simulate graphene --out FILE`` makes the shipped file again.

A specimen has its own frame: x along scan axis 0 (rows), y along scan axis 1 (columns), in
angstrom. A positive turn goes from the row axis towards the column axis.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import next_fast_len
from scipy.ndimage import gaussian_filter

from .datasets import Microscope, Scan, Simulation, check_absent, counts, load, save

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["CASES", "Case", "Microscope", "Scan", "Simulation", "graphene", "hbn", "mos2"]
__all__ += ["counts", "intensities", "load", "save", "vacuum"]

SAMPLING = 0.2
"""Largest pixel of the wave, in angstrom: scattering up to 1 / (3 x 0.2 A) is kept."""
CLEARANCE = 10.0
"""Least distance (angstrom) of a probe from the specimen's edge, whose share in the scattered
amplitude it still sees: some 5 % at 10 A, and 1 to 2 % at the 18 A that `CASES` keep."""
GAP = 4.0
"""Empty space between the specimen and its periodic image, in angstrom."""
SLAB = 1.0
"""Empty space above and below the atoms, half a slice, in angstrom."""
BATCH = 16
"""Probe positions sent through the specimen at once."""


@dataclass(frozen=True)
class Case:
    """A named scan.

    Parameters
    ----------
    specimen, radius
        Makes the atoms within that radius (angstrom) of the origin of the specimen's frame. Places
        of missing atoms or columns, shape (V, 2), stand in ``atoms.info["vacancies"]``.
    microscope, scan
        Optics, detector and thermal motion; probe positions.
    electrons
        Incident electrons per pattern that suit the case.
    """

    specimen: "Callable[[float], Atoms]"
    radius: float
    microscope: Microscope
    scan: Scan
    electrons: float


def _turned(angle: float) -> np.ndarray:
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
    vectors = lattice * np.array([[1, 0], [0.5, math.sqrt(3) / 2]]) @ _turned(rotation)
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


def _case(case: str | Case) -> Case:
    if not isinstance(case, Case) and case not in CASES:
        raise ValueError(f"case must be a Case or one of {sorted(CASES)}; got {case!r}")
    return case if isinstance(case, Case) else CASES[case]


@dataclass(frozen=True)
class _Detector:
    """Square detector over the diffraction plane of a periodic box.

    The box is so wide that `bins` x `bins` pixels of the diffracted wave make one pixel of the
    detector: pixels are summed whole, and no electron is interpolated.
    """

    pixels: int
    bins: int
    q_per_pixel: float

    @classmethod
    def of(cls, case: Case) -> "_Detector":
        """Detector of a case, with the narrowest box that holds the specimen."""
        from abtem.core.energy import energy2wavelength

        pixels = case.microscope.detector_pixels
        wavelength = energy2wavelength(case.microscope.energy)
        highest = 1e3 * wavelength / (3 * SAMPLING)
        if case.microscope.max_angle > highest:
            raise ValueError(
                f"max_angle must be at most {highest:.1f} mrad at {case.microscope.energy} eV; "
                f"got {case.microscope.max_angle}"
            )
        q_per_pixel = 2e-3 * case.microscope.max_angle / wavelength / pixels
        return cls(pixels, math.ceil((2 * case.radius + GAP) * q_per_pixel), q_per_pixel)

    @property
    def box(self) -> float:
        """Side of the box, in angstrom."""
        return self.bins / self.q_per_pixel

    @property
    def gpts(self) -> int:
        """Pixels along each side of the wave: even, and quick to transform."""
        return 2 * next_fast_len(math.ceil(self.box / SAMPLING / 2))

    @property
    def center(self) -> tuple[float, float]:
        """Detector pixel (row, col) of the undeflected beam.

        The beam is one pixel of the wave, number ``pixels * bins // 2`` of those read; the middle
        of detector pixel k is number ``k * bins + (bins - 1) / 2``.
        """
        middle = (self.pixels * self.bins // 2 - (self.bins - 1) / 2) / self.bins
        return middle, middle

    def read(self, waves: Any) -> np.ndarray:
        """Intensity of abTEM waves on the detector, (..., gpts, gpts) -> (..., N, N)."""
        diffraction = waves.diffraction_patterns(max_angle=None).array
        width = self.pixels * self.bins
        start = self.gpts // 2 - width // 2
        window = diffraction[..., start : start + width, start : start + width]
        split = (self.pixels, self.bins, self.pixels, self.bins)
        return window.reshape(*window.shape[:-2], *split).sum((-3, -1))

    def probe(self, microscope: Microscope) -> Any:
        """The incident beam, an abTEM probe of one electron."""
        import abtem

        optics = {"semiangle_cutoff": microscope.semiangle, "defocus": microscope.defocus}
        grid = {"extent": self.box, "gpts": self.gpts, "device": "cpu"}
        return abtem.Probe(energy=microscope.energy, **optics, **grid)


def _settings() -> Any:
    """Context in which abTEM shows no progress bar and repeats its numbers exactly."""
    import abtem

    # A measured FFT plan depends on how busy the machine is; an estimated one does not.
    fft = {"fft": "fftw", "fftw.planning_effort": "FFTW_ESTIMATE", "fftw.threads": 1}
    return abtem.config.set({**fft, "precision": "float32", "diagnostics.progress_bar": False})


def vacuum(case: str | Case) -> np.ndarray:
    """Pattern of a case without its specimen, shape (N, N), float32; its sum is 1."""
    case = _case(case)
    detector = _Detector.of(case)
    with _settings():
        return detector.read(detector.probe(case.microscope).build(lazy=False))


def _specimen(case: Case, scan: Scan, grid: np.ndarray) -> "Atoms":
    """Atoms at rest, the middle of the scan at the origin; checks that the edge is far off."""
    reach = np.linalg.norm(grid + scan.center, axis=-1).max()
    if reach + CLEARANCE > case.radius:
        raise ValueError(
            f"the specimen must reach {CLEARANCE} A beyond the scan with its source margin; "
            f"its radius is {case.radius} A and the scan goes {reach:.1f} A from its origin"
        )
    atoms = case.specimen(case.radius)
    atoms.positions[:, :2] -= scan.center
    atoms.info["vacancies"] = atoms.info["vacancies"] - scan.center
    return atoms


def _snapshots(
    atoms: "Atoms", microscope: Microscope, turn: float, box: float, rng: np.random.Generator
) -> "Iterator[Atoms]":
    """Frozen phonons: displaced first, turned second, then put into the middle of the box."""
    heights = atoms.positions[:, 2]
    for _ in range(microscope.phonon_configurations):
        snapshot = atoms.copy()
        snapshot.set_cell([box, box, np.ptp(heights) + 2 * SLAB])
        snapshot.positions += rng.normal(scale=microscope.phonon_sigma, size=(len(atoms), 3))
        snapshot.positions[:, :2] = snapshot.positions[:, :2] @ _turned(turn) + box / 2
        snapshot.positions[:, 2] += SLAB - heights.min()
        yield snapshot


def _scatter(snapshot: "Atoms", detector: _Detector, probe: Any, places: np.ndarray) -> np.ndarray:
    """Patterns of one frozen specimen, shape (P, N, N), with the probe at box places (P, 2)."""
    import abtem

    potential = abtem.Potential(
        snapshot, gpts=detector.gpts, slice_thickness=2 * SLAB, parametrization="lobato"
    ).build(lazy=False)
    batches = np.split(places, range(BATCH, len(places), BATCH))
    scans = map(abtem.CustomScan, batches)
    waves = (probe.multislice(potential, scan=scan, lazy=False) for scan in scans)
    return np.concatenate([detector.read(wave) for wave in waves])


def intensities(
    case: str | Case, *, turn: float = 0.0, random_state: int = 0, scan: Scan | None = None
) -> Simulation:
    """Mean diffraction patterns without counting noise.

    The beam is descanned: it stands at `Simulation.center` at every position. Each pattern sums to
    the fraction of the electrons that reach the detector.

    Parameters
    ----------
    case
        A name out of `CASES`, or a case of your own.
    turn
        Turn of the specimen about the middle of the scan, in radians. Thermal displacements and
        probe positions turn with it: position (i, j) is the same place of the same specimen at
        every turn, and only its pattern is turned.
    random_state
        Seed of the thermal displacements.
    scan
        Probe positions, if not those of the case.

    Returns
    -------
    Simulation with float32 patterns, shape (rows, cols, N, N)

    Raises
    ------
    ValueError
        If the case is unknown, or the scan comes too close to the edge of the specimen.
    """
    name, case = (case if isinstance(case, str) else "custom"), _case(case)
    microscope, scan, detector = case.microscope, scan or case.scan, _Detector.of(case)
    sigma = microscope.source_fwhm / math.sqrt(8 * math.log(2)) / scan.step
    margin = math.ceil(3 * sigma)
    grid = scan.offsets(margin)
    atoms = _specimen(case, scan, grid)
    places = grid.reshape(-1, 2) @ _turned(turn) + detector.box / 2
    rng = np.random.default_rng(random_state)
    with _settings():
        probe = detector.probe(microscope)
        snapshots = _snapshots(atoms, microscope, turn, detector.box, rng)
        scattered = (_scatter(snapshot, detector, probe, places) for snapshot in snapshots)
        total = reduce(np.add, scattered)
    mean = (total / microscope.phonon_configurations).reshape(*grid.shape[:2], *total.shape[1:])
    if margin:
        # The kernel is as wide as the margin, so the filter's border mode never shows.
        mean = gaussian_filter(mean, sigma, radius=margin, axes=(0, 1))
        mean = np.ascontiguousarray(mean[margin:-margin, margin:-margin])
    middle = (np.array(scan.shape) - 1) / 2
    return Simulation(
        patterns=mean,
        q_per_pixel=detector.q_per_pixel,
        center=detector.center,
        symbols=tuple(atoms.symbols),
        positions=atoms.positions[:, :2] / scan.step + middle,
        vacancies=atoms.info["vacancies"] / scan.step + middle,
        microscope=microscope,
        scan=scan,
        case=name,
        turn=turn,
        random_state=random_state,
    )


def main(arguments: list[str] | None = None) -> None:
    """Simulate a case, draw counts and write the file."""
    parser = argparse.ArgumentParser(prog="python -m py4dstem_rrvae.simulate")
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--electrons", type=float, help="per pattern; default: the case's own")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args(arguments)
    # Before the minutes of simulation, not after them.
    check_absent(options.out, overwrite=options.overwrite)
    electrons = CASES[options.case].electrons if options.electrons is None else options.electrons
    simulation = intensities(options.case, random_state=options.seed)
    drawn = counts(simulation, electrons, random_state=np.random.default_rng((options.seed, 1)))
    save(options.out, simulation, drawn, electrons=electrons, overwrite=options.overwrite)


if __name__ == "__main__":
    main()
