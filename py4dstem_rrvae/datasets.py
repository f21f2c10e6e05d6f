# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped data, and the file that simulated scans are kept in.

Only h5py is needed here, neither abTEM nor a host.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np

__all__ = ["Host", "Microscope", "Scan", "Simulation", "counts", "graphene", "load", "save"]

Host = Literal["py4dstem", "hyperspy", "numpy"]

FORMAT = "py4dstem_rrvae simulation 1"
UNITS = {
    "energy": "eV",
    "semiangle": "mrad",
    "defocus": "A",
    "source_fwhm": "A",
    "detector_pixels": "pixels",
    "max_angle": "mrad",
    "phonon_sigma": "A",
    "step": "A",
    "center": "A",
}


@dataclass(frozen=True)
class Microscope:
    """Probe, source, detector and thermal motion of a simulated scan.

    Parameters
    ----------
    energy
        Electron energy, in eV.
    semiangle
        Convergence semiangle, in mrad.
    defocus
        Defocus, in angstrom.
    source_fwhm
        Full width at half maximum of the Gaussian image of the source on the specimen, in
        angstrom; patterns are averaged over it, intensity by intensity. 0 is a coherent probe.
    detector_pixels
        Pixels along each side of the square detector.
    max_angle
        Angle from the middle to each side of the detector, in mrad.
    phonon_configurations
        Frozen-phonon configurations that are averaged.
    phonon_sigma
        Standard deviation of the thermal displacement along each axis, in angstrom; atoms move
        independently (Einstein model).
    """

    energy: float
    semiangle: float
    defocus: float = 0.0
    source_fwhm: float = 0.0
    detector_pixels: int = 64
    max_angle: float = 50.0
    phonon_configurations: int = 8
    phonon_sigma: float = 0.06


@dataclass(frozen=True)
class Scan:
    """Square grid of probe positions.

    Parameters
    ----------
    shape
        Positions along the two scan axes (rows, cols).
    step
        Distance between neighbouring positions, in angstrom.
    center
        Place of the middle of the scan in the specimen's frame (x along rows, y along columns), in
        angstrom.
    """

    shape: tuple[int, int]
    step: float
    center: tuple[float, float] = (0.0, 0.0)

    def offsets(self, margin: int = 0) -> np.ndarray:
        """Positions from the middle of the scan, shape (rows, cols, 2), in angstrom.

        `margin` adds that many positions on every side.
        """
        rows, cols = (n + 2 * margin for n in self.shape)
        middle = (np.array([rows, cols]) - 1) / 2
        return (np.moveaxis(np.indices((rows, cols)), 0, -1) - middle) * self.step


@dataclass(frozen=True)
class Simulation:
    """Patterns on a scan, with the truth they were made from.

    Parameters
    ----------
    patterns
        Shape (rows, cols, N, N): the fraction of the electrons in each pixel (float32), or counts
        (uint16) once `electrons` is given.
    q_per_pixel
        Detector pixel along rows, in 1/angstrom.
    center
        Detector pixel (row, col), counted from 0 at the middle of the first pixel, of the
        undeflected beam; its mean over the scan where it wanders.
    symbols
        Element of each atom of the specimen, also of those outside the scan.
    positions
        Place (row, col) of each atom at rest, in scan pixels, shape (atoms, 2).
    vacancies
        Places of missing atoms or columns, in the same pixels, shape (V, 2).
    microscope, scan
        What was simulated.
    case
        Name of the case.
    turn
        Angle by which the specimen and the probe positions were turned together from the row axis
        towards the column axis, in radians. `positions` do not depend on it.
    random_state
        Seed of the thermal displacements.
    electrons
        Incident electrons per pattern; None for patterns without counting noise.
    q_ratio
        Detector pixel along columns over that along rows.
    centers
        `center` at each position, shape (rows, cols, 2), where the beam wanders; else None.
    """

    patterns: np.ndarray
    q_per_pixel: float
    center: tuple[float, float]
    symbols: tuple[str, ...]
    positions: np.ndarray
    vacancies: np.ndarray
    microscope: Microscope
    scan: Scan
    case: str = "custom"
    turn: float = 0.0
    random_state: int = 0
    electrons: float | None = None
    q_ratio: float = 1.0
    centers: np.ndarray | None = None

    @property
    def matrix(self) -> np.ndarray:
        """Pixel offset from the centre to q in 1/angstrom, shape (2, 2)."""
        return np.diag([self.q_per_pixel, self.q_per_pixel * self.q_ratio])

    @property
    def scan_step(self) -> float:
        """Distance between neighbouring positions along both scan axes, in angstrom."""
        return self.scan.step

    @property
    def positions_angstrom(self) -> np.ndarray:
        """`positions` in angstrom from the first probe position, shape (atoms, 2)."""
        return self.positions * self.scan.step


def counts(
    simulation: Simulation, electrons: float, *, random_state: int | np.random.Generator
) -> np.ndarray:
    """Poisson counts at a number of incident electrons per pattern.

    Parameters
    ----------
    simulation
        Patterns without counting noise.
    electrons
        Incident electrons per pattern.
    random_state
        Seed or generator.

    Returns
    -------
    ndarray of uint16, shape of ``simulation.patterns``

    Raises
    ------
    ValueError
        If the patterns are counts already, the dose is not positive, or a count exceeds 65535.
    """
    if simulation.electrons is not None:
        raise ValueError(f"patterns must be noise-free; got {simulation.electrons} electrons")
    if not electrons > 0:
        raise ValueError(f"electrons must be positive; got {electrons}")
    rng = np.random.default_rng(random_state)
    drawn = rng.poisson(simulation.patterns * np.float64(electrons))
    if drawn.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"counts must fit uint16; got {drawn.max()} at {electrons} electrons")
    return drawn.astype(np.uint16)


def check_absent(path: str | Path, *, overwrite: bool) -> None:
    """Refuse to write over a file unless told to.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is false.
    """
    if not overwrite and Path(path).exists():
        raise FileExistsError(f"{path} exists; pass overwrite=True (--overwrite) to replace it")


def save(
    path: str | Path,
    simulation: Simulation,
    counts: np.ndarray,
    *,
    electrons: float,
    overwrite: bool = False,
) -> None:
    """Write counts and the truth behind them to an HDF5 file that any HDF5 reader opens.

    Parameters
    ----------
    path
        File to write.
    simulation
        What the counts were drawn from.
    counts
        uint16, shape of ``simulation.patterns``.
    electrons
        Incident electrons per pattern.
    overwrite
        Replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is false.
    ValueError
        If the counts are not uint16 of the simulation's shape.
    """
    shape = simulation.patterns.shape
    if counts.shape != shape or counts.dtype != np.uint16:
        raise ValueError(
            f"counts must be uint16 of shape {shape}; got {counts.dtype} of shape {counts.shape}"
        )
    check_absent(path, overwrite=overwrite)
    with h5py.File(path, "w") as file:
        file.attrs.update(
            format=FORMAT,
            case=simulation.case,
            turn=simulation.turn,
            turn_units="rad",
            random_state=simulation.random_state,
            electrons=float(electrons),
            electrons_units="incident electrons per pattern",
        )
        _write_parameters(file.create_group("microscope"), asdict(simulation.microscope))
        _write_parameters(file.create_group("scan"), asdict(simulation.scan))
        _write_counts(file, simulation, counts)
        _write_atoms(file.create_group("atoms"), simulation)


def _write_parameters(group: h5py.Group, parameters: dict[str, Any]) -> None:
    for name, value in parameters.items():
        group.attrs[name] = value
        if name in UNITS:
            group.attrs[f"{name}_units"] = UNITS[name]


def _write_counts(file: h5py.File, simulation: Simulation, counts: np.ndarray) -> None:
    data = file.create_dataset(
        "counts",
        data=counts,
        chunks=(1, *counts.shape[1:]),
        compression="gzip",
        compression_opts=9,
        shuffle=True,
    )
    data.attrs.update(
        axes=["scan row", "scan column", "detector row", "detector column"],
        scan_step=simulation.scan_step,
        scan_step_units="A",
        q_per_pixel=simulation.q_per_pixel,
        q_per_pixel_units="A^-1",
        center=simulation.center,
        center_units="detector pixels (row, column), 0 at the middle of the first",
    )
    if simulation.q_ratio != 1:
        data.attrs["q_ratio"] = simulation.q_ratio
    if simulation.centers is not None:
        file["centers"] = simulation.centers
        file["centers"].attrs["units"] = data.attrs["center_units"]


def _write_atoms(group: h5py.Group, simulation: Simulation) -> None:
    group["symbols"] = np.array(simulation.symbols, dtype=h5py.string_dtype())
    for name in ("positions", "vacancies"):
        group[name] = getattr(simulation, name)
        group[name].attrs["units"] = "scan pixels (row, column)"


def load(path: str | Path) -> Simulation:
    """Read what `save` wrote.

    Returns
    -------
    Simulation
        Its patterns are the counts (uint16); `electrons` is the dose they were drawn at.

    Raises
    ------
    ValueError
        If the file was not written by `save`.
    """
    with h5py.File(path, "r") as file:
        found = file.attrs.get("format")
        if found != FORMAT:
            raise ValueError(f"{path} must be a file of format {FORMAT!r}; got {found!r}")
        data, atoms = file["counts"], file["atoms"]
        return Simulation(
            patterns=data[()],
            q_per_pixel=float(data.attrs["q_per_pixel"]),
            center=_plain(data.attrs["center"]),
            symbols=tuple(atoms["symbols"].asstr()[()]),
            positions=atoms["positions"][()],
            vacancies=atoms["vacancies"][()],
            microscope=Microscope(**_read_parameters(file["microscope"])),
            scan=Scan(**_read_parameters(file["scan"])),
            q_ratio=float(data.attrs.get("q_ratio", 1.0)),
            centers=file["centers"][()] if "centers" in file else None,
            **{
                name: _plain(file.attrs[name])
                for name in ("case", "turn", "random_state", "electrons")
            },
        )


def _read_parameters(group: h5py.Group) -> dict[str, Any]:
    return {
        name: _plain(value) for name, value in group.attrs.items() if not name.endswith("_units")
    }


def _plain(value: Any) -> Any:
    """An attribute as the Python number, string or tuple that was written."""
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return value.item() if isinstance(value, np.generic) else value


def graphene(host: Host = "py4dstem") -> Any:
    """Simulated graphene with a monovacancy and a threefold silicon atom, with counting noise.

    64 x 64 probe positions and 48 x 48 detector pixels at 60 kV and 32 mrad. `simulate.CASES` holds
    every parameter; ``python -m py4dstem_rrvae.simulate graphene --out FILE`` makes the file again.

    Parameters
    ----------
    host
        What to return: a py4DSTEM ``DataCube``, a HyperSpy signal, or a `Simulation`, which alone
        carries the atoms.

    Raises
    ------
    ValueError
        If the host is unknown.
    """
    if host not in get_args(Host):
        raise ValueError(f"host must be one of {', '.join(get_args(Host))}; got {host!r}")
    with as_file(files("py4dstem_rrvae") / "data" / "graphene.h5") as path:
        simulation = load(path)
    if host == "numpy":
        return simulation
    if host == "py4dstem":
        from .adapters import py4dstem

        convert: Callable[..., Any] = py4dstem.datacube
    else:
        from .adapters import _hyperspy_pyxem

        convert = _hyperspy_pyxem.signal
    return convert(
        simulation.patterns,
        scan_step=simulation.scan_step,
        q_per_pixel=simulation.q_per_pixel,
        center=simulation.center,
        name="graphene",
    )
