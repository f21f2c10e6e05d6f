# SPDX-License-Identifier: GPL-3.0-or-later
"""Diffraction patterns of a case by multislice and frozen phonons.

Alone in needing abTEM, and only once something is simulated.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import next_fast_len
from scipy.ndimage import gaussian_filter

from ..datasets import Microscope, Scan, Simulation
from .cases import Case, find
from .specimens import turned

if TYPE_CHECKING:
    from ase import Atoms

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
class WaveDetector:
    """Square detector over the diffraction plane of a periodic box.

    The box is so wide that ``bins`` (rows, cols) pixels of the diffracted wave make one pixel of
    the detector: pixels are summed whole, and no electron is interpolated. `box` holds its sides
    in angstrom.
    """

    pixels: int
    bins: tuple[int, int]
    box: tuple[float, float]
    sampling: float

    @classmethod
    def of(cls, case: Case) -> "WaveDetector":
        """Detector of a case, with the narrowest box that holds the specimen.

        Where the crystal fills its cell, that is the box, and the detector's pixels come as close
        as whole pixels of the wave can to the stated ones: as unequal as the cell's sides.
        """
        from abtem.core.energy import energy2wavelength

        pixels = case.microscope.detector_pixels
        wavelength = energy2wavelength(case.microscope.energy)
        highest = 1e3 * wavelength / (3 * case.sampling)
        if case.microscope.max_angle > highest:
            raise ValueError(
                f"max_angle must be at most {highest:.1f} mrad at {case.microscope.energy} eV; "
                f"got {case.microscope.max_angle}"
            )
        q_per_pixel = 2e-3 * case.microscope.max_angle / wavelength / pixels
        if case.radius is None:
            x, y = np.diagonal(case.atoms().cell)[:2].tolist()
            bins = max(round(x * q_per_pixel), 1), max(round(y * q_per_pixel), 1)
            return cls(pixels, bins, (x, y), case.sampling)
        narrowest = math.ceil((2 * case.radius + GAP) * q_per_pixel)
        side = narrowest / q_per_pixel
        return cls(pixels, (narrowest, narrowest), (side, side), case.sampling)

    @property
    def q_per_pixel(self) -> tuple[float, float]:
        """Pixel (rows, cols), in 1/angstrom."""
        return self.bins[0] / self.box[0], self.bins[1] / self.box[1]

    @property
    def gpts(self) -> tuple[int, int]:
        """Pixels along each side of the wave: even, and quick to transform."""
        x, y = (2 * next_fast_len(math.ceil(side / self.sampling / 2)) for side in self.box)
        return x, y

    @property
    def center(self) -> tuple[float, float]:
        """Detector pixel (row, col) of the undeflected beam.

        The beam is one pixel of the wave, number ``pixels * bins // 2`` of those read; the middle
        of detector pixel k is number ``k * bins + (bins - 1) / 2``.
        """
        row, col = ((self.pixels * n // 2 - (n - 1) / 2) / n for n in self.bins)
        return row, col

    def read(self, waves: Any) -> np.ndarray:
        """Intensity of abTEM waves on the detector, (..., *gpts) -> (..., N, N)."""
        diffraction = waves.diffraction_patterns(max_angle=None).array
        widths = [self.pixels * n for n in self.bins]
        starts = [n // 2 - width // 2 for n, width in zip(self.gpts, widths, strict=True)]
        rows, cols = (slice(start, start + w) for start, w in zip(starts, widths, strict=True))
        window = diffraction[..., rows, cols]
        split = (self.pixels, self.bins[0], self.pixels, self.bins[1])
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
    """Pattern of a case without specimen or camera, shape (N, N), float32; its sum is 1."""
    case = find(case)
    detector = WaveDetector.of(case)
    with _settings():
        return detector.read(detector.probe(case.microscope).build(lazy=False))


def _specimen(case: Case, scan: Scan, grid: np.ndarray) -> "Atoms":
    """Atoms at rest, the middle of the scan at the origin; checks that the edge is far off."""
    reach = np.linalg.norm(grid + scan.center, axis=-1).max()
    if case.radius is not None and reach + CLEARANCE > case.radius:
        raise ValueError(
            f"the specimen must reach {CLEARANCE} A beyond the scan with its source margin; "
            f"its radius is {case.radius} A and the scan goes {reach:.1f} A from its origin"
        )
    atoms = case.atoms()
    atoms.positions[:, :2] -= scan.center
    atoms.info["vacancies"] = atoms.info["vacancies"] - scan.center
    return atoms


def _snapshots(
    atoms: "Atoms",
    microscope: Microscope,
    turn: float,
    box: tuple[float, float],
    rng: np.random.Generator,
) -> "Iterator[Atoms]":
    """Frozen phonons: displaced first, turned second, then put into the middle of the box."""
    heights = atoms.positions[:, 2]
    for _ in range(microscope.phonon_configurations):
        snapshot = atoms.copy()
        snapshot.set_cell([*box, np.ptp(heights) + 2 * SLAB])
        snapshot.positions += rng.normal(scale=microscope.phonon_sigma, size=(len(atoms), 3))
        snapshot.positions[:, :2] = snapshot.positions[:, :2] @ turned(turn) + np.divide(box, 2)
        snapshot.positions[:, 2] += SLAB - heights.min()
        snapshot.wrap()
        yield snapshot


def _scatter(
    snapshot: "Atoms", detector: WaveDetector, probe: Any, places: np.ndarray
) -> np.ndarray:
    """Patterns of one frozen specimen, shape (P, N, N), with the probe at box places (P, 2)."""
    import abtem

    potential = abtem.Potential(
        snapshot, gpts=detector.gpts, slice_thickness=2 * SLAB, parametrization="lobato"
    ).build(lazy=False)
    batches = np.split(places, range(BATCH, len(places), BATCH))
    scans = map(abtem.CustomScan, batches)
    waves = (probe.multislice(potential, scan=scan, lazy=False) for scan in scans)
    return np.concatenate([detector.read(wave) for wave in waves])


def _recorded(mean: np.ndarray, case: Case, detector: WaveDetector) -> dict[str, Any]:
    """Patterns, pixel size and centre of a `Simulation`, as the case's camera has them."""
    q, centers, center = np.array(detector.q_per_pixel), None, detector.center
    if case.camera is not None:
        from abtem.core.energy import energy2wavelength

        ratio = case.camera.q_per_pixel(energy2wavelength(case.microscope.energy)) / q
        mean, centers = case.camera.record(mean, center, ratio)
        q, (row, col) = q * ratio, centers.mean((0, 1)).tolist()
        center = (row, col)
    pixel, ratio = q[0].item(), (q[1] / q[0]).item()
    return {
        "patterns": mean,
        "q_per_pixel": pixel,
        "q_ratio": ratio,
        "center": center,
        "centers": centers,
    }


def intensities(
    case: str | Case, *, turn: float = 0.0, random_state: int = 0, scan: Scan | None = None
) -> Simulation:
    """Mean diffraction patterns without counting noise.

    The beam is descanned, and stands at `Simulation.center` at every position, unless the case has
    a camera that says otherwise. Each pattern sums to the fraction of the electrons that reach the
    detector.

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
        If the case is unknown, the scan comes too close to the edge of the specimen, or the camera
        sees farther than the wave; or if a crystal that fills its cell is to be turned.
    """
    name, case = (case if isinstance(case, str) else "custom"), find(case)
    microscope, scan, detector = case.microscope, scan or case.scan, WaveDetector.of(case)
    if turn and case.radius is None:
        raise ValueError(f"a crystal that fills its cell cannot be turned; got turn={turn}")
    sigma = microscope.source_fwhm / math.sqrt(8 * math.log(2)) / scan.step
    margin = math.ceil(3 * sigma)
    grid = scan.offsets(margin)
    atoms = _specimen(case, scan, grid)
    places = grid.reshape(-1, 2) @ turned(turn) + np.divide(detector.box, 2)
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
        **_recorded(mean, case, detector),
        symbols=tuple(atoms.symbols),
        positions=atoms.positions[:, :2] / scan.step + middle,
        vacancies=atoms.info["vacancies"] / scan.step + middle,
        microscope=microscope,
        scan=scan,
        case=name,
        turn=turn,
        random_state=random_state,
    )
