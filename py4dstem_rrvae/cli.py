# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``py4dstem-rrvae``: a demonstration, and fits for batch queues.

Everything heavy is imported once a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ._version import __version__
from .adapters._outputs import ENDINGS, is_store
from .replacing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from py4DSTEM import DataCube

    from .datasets import Simulation
    from .estimator import RRVAE

PRISTINE = 4.0
"""Least distance of a normal site from any defect, in angstrom."""
RADII = (0.3, 0.5, 0.7)
"""Radii about a site, in angstrom; half a C-C bond is the largest that still means one site."""

FIGURES = (".png", ".pdf", ".svg")
# As a shell says of a process that SIGINT has ended.
INTERRUPTED = 130


class RefusalError(Exception):
    """Something the user asked for cannot be done; the message says what was wanted and came."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments
        Words after the command's name; None takes those of the process.

    Returns
    -------
    int
        0, 2 after a refusal, or 130 after an interrupt; one line on standard error says why.
    """
    for stream in (sys.stdout, sys.stderr):
        # Names of files may hold what a terminal cannot show.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            options.run(options)
    except OSError as error:
        # Of a path that the system does not take, such as one that is too long.
        _say(f"py4dstem-rrvae: {error}", sys.stderr)
        return 2
    except RefusalError as refusal:
        _say(f"py4dstem-rrvae: {refusal}", sys.stderr)
        return 2
    except KeyboardInterrupt:
        _say("py4dstem-rrvae: interrupted; no maps were written", sys.stderr)
        return INTERRUPTED
    return 0


def run() -> None:
    """Run the command of the process, and end it."""
    # HDF5 complains on and on of a file that a full disk keeps it from closing, and then crashes.
    sys.unraisablehook = lambda _: None
    code = main()
    if code:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="py4dstem-rrvae", description="Rotation-aware latent maps of 4D-STEM scans."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="{demo,fit}")
    demo = commands.add_parser("demo", help="fit the shipped simulated graphene")
    demo.add_argument(
        "--out-dir",
        type=Path,
        default=Path("rrvae_demo"),
        help="folder for the EMD file, the .zspy and the figure (default: %(default)s)",
    )
    demo.set_defaults(run=_demo)
    fit = commands.add_parser(
        "fit",
        help="fit a file",
        description="Fit a file that py4DSTEM or HyperSpy opens; write its maps beside the host's "
        "COM and phase.",
    )
    fit.add_argument("file", type=Path, metavar="FILE", help="file with one scan")
    fit.add_argument(
        "--host",
        choices=["auto", *ENDINGS],
        default="auto",
        help="who reads and writes; auto goes by the name of OUT (default: %(default)s)",
    )
    fit.add_argument(
        "--file-format", metavar="NAME", help="HyperSpy's name of FILE's format (EMD, EMPAD, ...)"
    )
    fit.add_argument(
        "--energy",
        type=float,
        metavar="EV",
        help="electron energy in eV (60e3); needed by py4DSTEM's DPC",
    )
    fit.add_argument(
        "--out",
        type=Path,
        required=True,
        help="file for the maps: .h5 (py4DSTEM's EMD), or .hspy or .zspy (HyperSpy)",
    )
    fit.add_argument("--latent-dim", type=int, default=2, help="latents (default: %(default)s)")
    fit.add_argument("--random-state", type=int, help="seed; the same seed, the same maps")
    fit.add_argument("--max-epochs", type=int, help="epochs of training at most")
    fit.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    fit.add_argument("--figure", type=Path, metavar="PNG", help="also draw the maps")
    fit.set_defaults(run=_fit)
    for command in (demo, fit):
        command.add_argument(
            "--overwrite", action="store_true", help="replace files that exist already"
        )
    return parser


def _demo(options: argparse.Namespace) -> None:
    emd, figure = options.out_dir / "graphene.h5", options.out_dir / "graphene.png"
    _check_outputs(
        [emd, figure], overwrite=options.overwrite, new_folder=True, endings=ENDINGS["py4dstem"]
    )
    with _step("loaded the libraries and the data"):
        from . import datasets
        from .adapters import py4dstem

        simulation = datasets.graphene("numpy")
        cube = datasets.graphene("py4dstem")
    with _step("ran py4DSTEM's COM and DPC"):
        py4dstem.compare(cube, energy=simulation.microscope.energy)
    with _step("trained and encoded"):
        model = py4dstem.fit(cube, random_state=0).model
    with _step(f"wrote {emd}"):
        options.out_dir.mkdir(parents=True, exist_ok=True)
        py4dstem.save(cube, emd, overwrite=options.overwrite)
    _write_zspy(options, model)
    with _step(f"drew {figure}"):
        _draw(py4dstem.plot(cube), figure, options.overwrite)
    _say(_standouts(simulation, cube, model.history_.collapsed))


def _write_zspy(options: argparse.Namespace, model: RRVAE) -> None:
    """The same maps for HyperSpy, where it is installed."""
    from importlib.util import find_spec

    if find_spec("pyxem") is None:
        _say("HyperSpy and pyxem are not installed, so there is no .zspy")
        return
    path = options.out_dir / "graphene.zspy"
    with _step(f"wrote {path}", extra="hyperspy"):
        from . import datasets
        from .adapters import hyperspy

        signal = datasets.graphene("hyperspy")
        maps = hyperspy.compare(signal) | hyperspy.encode(
            signal, model, background="stored", show_progressbar=False
        )
        hyperspy.save(maps, path, overwrite=options.overwrite)


def _fit(options: argparse.Namespace) -> None:
    outputs = [path for path in (options.out, options.figure) if path is not None]
    if options.file.resolve() in {path.resolve() for path in outputs}:
        raise RefusalError(
            f"outputs must be other files than the input; got {options.file} for both"
        )
    host = options.host
    if host == "auto":
        ours = options.out.suffix.lower() in ENDINGS["hyperspy"]
        host = "hyperspy" if ours else "py4dstem"
        allowed = tuple(ending for endings in ENDINGS.values() for ending in endings)
    else:
        allowed = ENDINGS[host]
    _check_outputs(outputs, overwrite=options.overwrite, new_folder=False, endings=allowed)
    training = {"latent_dim": options.latent_dim, "device": options.device}
    for name in ("random_state", "max_epochs"):
        if getattr(options, name) is not None:
            training[name] = getattr(options, name)
    run = _fit_hyperspy if host == "hyperspy" else _fit_py4dstem
    figure = run(options, training)
    if options.figure is not None:
        with _step(f"drew {options.figure}"):
            _draw(figure(), options.figure, options.overwrite)


def _fit_py4dstem(options: argparse.Namespace, training: dict[str, Any]) -> Callable[[], Figure]:
    """Fit with py4DSTEM and write; return what draws the figure."""
    if options.energy is None:
        raise RefusalError("py4DSTEM's DPC needs --energy, in eV (60e3)")
    with _step(f"loaded the libraries and {options.file}"):
        from .adapters import py4dstem

        cube = py4dstem.read(options.file)
    # Before training, which may take long, so that what DPC refuses is refused at once.
    with _step("ran py4DSTEM's COM and DPC"):
        py4dstem.compare(cube, energy=options.energy)
    with _step("trained and encoded"):
        py4dstem.fit(cube, **training)
    with _step(f"wrote {options.out}"):
        py4dstem.save(cube, options.out, maps_only=True, overwrite=options.overwrite)
    return lambda: py4dstem.plot(cube)


def _fit_hyperspy(options: argparse.Namespace, training: dict[str, Any]) -> Callable[[], Figure]:
    """Fit lazily with HyperSpy and write; return what draws the figure."""
    with _step(f"loaded the libraries and {options.file}", extra="hyperspy"):
        from .adapters import hyperspy

        signal = hyperspy.read(options.file, file_format=options.file_format)
    with _step("ran pyxem's COM and phase retrieval", extra="hyperspy"):
        comparison = hyperspy.compare(signal)
    with _step("trained and encoded"):
        maps = comparison | hyperspy.fit(signal, lazy_output=False, **training)
    with _step(f"wrote {options.out}"):
        hyperspy.save(maps, options.out, overwrite=options.overwrite)
    return lambda: hyperspy.plot(maps, title=signal.metadata.General.title or None)


def _draw(figure: Figure, path: Path, overwrite: bool) -> None:
    with replacing(path, overwrite=overwrite) as part:
        figure.savefig(part, dpi=150)


def _check_outputs(
    paths: Sequence[Path], *, overwrite: bool, new_folder: bool, endings: Sequence[str]
) -> None:
    """Refuse what could not be written, before any work is done."""
    for path, allowed in zip(paths, (endings, FIGURES), strict=False):
        if path.suffix.lower() not in allowed:
            raise RefusalError(
                f"{path} must end in {', '.join(allowed)}; got {path.suffix or 'none'}"
            )
        if path.is_dir() and not is_store(path):
            raise RefusalError(f"{path} must be a file; it is a folder")
        if path.exists() and not overwrite:
            raise RefusalError(f"{path} exists; give --overwrite to replace it")
        folder = path.parent
        while new_folder and not folder.exists():
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise RefusalError(f"{path} needs a folder that can be written to; {folder} is none")


@contextmanager
def _step(done: str, extra: str = "py4dstem") -> Iterator[None]:
    """Say how long a step took, and turn what it refuses into one sentence."""
    start = time.perf_counter()
    # py4DSTEM has warnings printed in a way of its own, from when it is imported.
    warnings.showwarning = _show_warning
    # pyxem 0.21 imports a name that HyperSpy 2.5 has moved: nothing that a user can mend.
    warnings.filterwarnings("ignore", message="`_get_block_pattern` has moved")
    try:
        yield
    except ModuleNotFoundError as error:
        raise RefusalError(
            f"{error.name} is needed: pip install 'py4dstem-rrvae[{extra},plot]'"
        ) from error
    except MemoryError as error:
        raise RefusalError(f"there is not enough memory: {error or 'none is left'}") from error
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        raise RefusalError(str(error).split("\n")[0] or type(error).__name__) from error
    _say(f"{done} ({time.perf_counter() - start:.1f} s)")


def _standouts(simulation: Simulation, cube: DataCube, collapsed: Sequence[bool]) -> str:
    """Table of how far each defect stands out, in latent space and in COM."""
    import numpy as np

    from .maps.standout import site_standout

    step = simulation.scan_step
    symbols = np.array(simulation.symbols)
    defects = {
        "vacancy": simulation.vacancies[0],
        "silicon": simulation.positions[symbols == "Si"][0],
    }
    places = np.stack(list(defects.values()))
    away = np.linalg.norm(simulation.positions[:, None] - places, axis=-1).min(axis=1)
    sites = simulation.positions[(symbols == "C") & (away * step > PRISTINE)]
    tree = cube.tree("rrvae")
    com = [tree.tree(name).data for name in ("com_x", "com_y")]
    latents = [tree.tree(f"z{k}").data for k, gone in enumerate(collapsed, 1) if not gone]
    features = {
        "COM magnitude": np.hypot(*com),
        "COM x and y": np.stack(com, axis=-1),
        "DPC phase": tree.tree("dpc_phase").data,
    }
    if latents:
        features = {"latent space": np.stack(latents, axis=-1)} | features
    lines = [
        f"robust standard deviations from carbon sites over {PRISTINE:g} A from any defect,",
        f"within {', '.join(f'{r:g}' for r in RADII)} A, whichever shows the defect best:",
        " " * 16 + "".join(f"{name:>12}" for name in defects),
    ]
    for name, values in features.items():
        found = [site_standout(values, sites, d, np.array(RADII) / step)[0] for d in places]
        lines.append(f"  {name:<14}" + "".join(f"{number:12.1f}" for number in found))
    return "\n".join(lines)


def _say(text: str, stream: TextIO | None = None) -> None:
    """Print; that nobody listens any more, or the disk of a log is full, is no reason to stop."""
    stream = stream or sys.stdout
    with suppress(OSError, ValueError):
        print(text, file=stream, flush=True)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _say(f"py4dstem-rrvae: {message}", sys.stderr)
