# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of files when a process is killed while it writes them.

``python -m benchmarks.power_cuts --kills 100`` starts so many writers of every kind of file (EMD,
.hspy, .zspy, model file, figure; a fit that ends in a model file; the command ``fit`` for three of
them), half of them onto an earlier file, and kills each (SIGKILL) at a random moment of the time
that it takes undisturbed. After each, the file must be the earlier one or the new one, whole, or
none where there was none; the next writer must succeed and leave nothing but its file. Exits with
1 if any is not. Linux and macOS: writers are forked, so that they need not import anything.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SCAN, DETECTOR = (6, 7), (16, 16)
TRAINING = {"latent_dim": 1, "max_epochs": 1, "device": "cpu", "progress": False}
WORDS = ["--latent-dim", "1", "--max-epochs", "1", "--device", "cpu", "--overwrite"]
SLOWER, QUICKER = 1.03, 0.92
"""By what the span of the delays changes with each writer killed in time, or done before."""
LEAST_ALIVE = 0.5
"""Share of the writers to be killed before they are done, for the figures to mean much."""


@dataclass(frozen=True)
class Writer:
    """One kind of file.

    Attributes
    ----------
    name : str
        Of the kind.
    file : str
        Name of the file.
    write : callable
        Takes the path and the version, 0 or 1.
    read : callable
        Takes the path; returns an array that tells one version from the other.
    """

    name: str
    file: str
    write: Callable[[Path, int], object]
    read: Callable[[Path], np.ndarray]


def writers(folder: Path) -> Iterator[Writer]:
    """Every kind, prepared; scans of two versions are put into `folder`."""
    import dask
    import hyperspy.api as hs
    import matplotlib
    import py4DSTEM
    import torch
    from matplotlib.image import imread

    from py4dstem_rrvae import RRVAE, cli, synthetic
    from py4dstem_rrvae.adapters import hyperspy, py4dstem

    matplotlib.use("agg")
    torch.set_num_threads(1)
    # Threads of a pool are not there in a process forked from the one that started them.
    dask.config.set(scheduler="synchronous")
    hs.preferences.General.show_progressbar = False
    scans = [
        synthetic.lobes(42, size=DETECTOR[0], counts=2000, random_state=version).frames
        for version in (0, 1)
    ]
    cubes = [
        py4dstem.datacube(
            frames.reshape(*SCAN, *DETECTOR),
            scan_step=0.3,
            q_per_pixel=0.05,
            center=(7.5, 7.5),
        )
        for frames in scans
    ]
    signals = [hs.signals.Signal2D(frames.reshape(*SCAN, *DETECTOR)) for frames in scans]
    models = []
    for version, (cube, signal_) in enumerate(zip(cubes, signals, strict=True)):
        models.append(py4dstem.fit(cube, random_state=version, **TRAINING).model)
        for axis in signal_.axes_manager.signal_axes:
            axis.scale, axis.offset, axis.units = 0.05, -0.375, "1/Å"
        py4DSTEM.save(str(folder / f"scan{version}.h5"), cube.copy(), mode="o")
        signal_.save(str(folder / f"scan{version}.hspy"))
    maps = [
        hyperspy.encode(one, model, background="refit", show_progressbar=False)
        for one, model in zip(signals, models, strict=True)
    ]

    def figure(path: Path, version: int) -> None:
        cli._draw(py4dstem.plot(cubes[version]), path, overwrite=True)

    def model(path: Path, version: int) -> None:
        models[version].save(path)

    def fit(path: Path, version: int) -> None:
        RRVAE(random_state=version, **TRAINING).fit(scans[version]).save(path)

    def emd(path: Path, version: int) -> None:
        py4dstem.save(cubes[version], path, overwrite=True)

    def of_hyperspy(path: Path, version: int) -> None:
        hyperspy.save(maps[version], path, overwrite=True)

    def command(path: Path, version: int) -> None:
        scan = folder / f"scan{version}{'.h5' if path.suffix == '.h5' else '.hspy'}"
        words = ["fit", scan, *WORDS, "--energy", "60e3", "--random-state", version, "--out", path]
        with open(os.devnull, "w") as null, redirect_stdout(null), redirect_stderr(null):
            failed = cli.main([str(word) for word in words])
        if failed:
            raise RuntimeError("the command has failed")

    def read_emd(path: Path) -> np.ndarray:
        found = py4DSTEM.read(path)
        node = found if "z1" in found.treekeys else found.tree("rrvae")
        return np.stack([node.tree(name).data for name in ("z1", "angle_std", "error")])

    def read_hyperspy(path: Path) -> np.ndarray:
        maps = {one.metadata.RRVAE.map: one.data for one in hs.load(str(path)).split()}
        return np.stack([maps[name] for name in ("z1", "angle_std", "error")])

    def read_model(path: Path) -> np.ndarray:
        state = RRVAE.load(path).fitted_.model.state_dict()
        return np.concatenate([values.double().numpy().ravel() for values in state.values()])

    yield Writer("EMD", "maps.h5", emd, read_emd)
    yield Writer(".hspy", "maps.hspy", of_hyperspy, read_hyperspy)
    yield Writer(".zspy", "maps.zspy", of_hyperspy, read_hyperspy)
    yield Writer("model file", "model.rrvae", model, read_model)
    yield Writer("figure", "maps.png", figure, lambda path: np.asarray(imread(path)))
    yield Writer("fit, model file", "model.rrvae", fit, read_model)
    yield Writer("command, EMD", "maps.h5", command, read_emd)
    yield Writer("command, .hspy", "maps.hspy", command, read_hyperspy)
    yield Writer("command, .zspy", "maps.zspy", command, read_hyperspy)


def forked(task: Callable[[], object], delay: float | None = None) -> bool:
    """Do a task in a process of its own, killed after `delay` seconds; whether it was alive then.

    Raises
    ------
    RuntimeError
        If it failed.
    """
    child = os.fork()
    if child == 0:
        try:
            task()
            os._exit(0)
        finally:  # never back into the caller's code
            os._exit(1)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise RuntimeError(f"a writer has failed with {os.WEXITSTATUS(status)}")
    return False


def state(path: Path, read: Callable[[Path], Any], versions: list[np.ndarray]) -> str:
    """What lies at `path`: "none", "earlier", "new", or what is wrong with it."""
    if not path.exists():
        return "none"
    try:
        found = np.asarray(read(path))
    except Exception as error:  # whatever a torn file makes its reader raise
        return f"broken: {type(error).__name__}"
    for name, values in zip(("earlier", "new"), versions, strict=True):
        if found.shape == values.shape and np.array_equal(found, values, equal_nan=True):
            return name
    return "broken: other values"


def kill_one(
    writer: Writer, folder: Path, versions: list[np.ndarray], delay: float, over: bool
) -> tuple[bool, str]:
    """Kill one writer after `delay`; whether it was alive, and what was left."""
    path = folder / writer.file
    if over:
        writer.write(path, 0)
    alive = forked(lambda: writer.write(path, 1), delay)
    left = state(path, writer.read, versions)
    if left not in (("earlier", "new") if over else ("none", "new")):
        return alive, left if left.startswith("broken") else f"broken: {left}"
    writer.write(path, 1)
    if state(path, writer.read, versions) != "new":
        return alive, "broken: the next run"
    if [one.name for one in folder.iterdir()] != [writer.file]:
        return alive, f"broken: left {sorted(one.name for one in folder.iterdir())}"
    return alive, left


def run(kills: int, seed: int, only: str | None = None) -> int:
    """Print a row for each kind; the number of files that were neither one nor the other."""
    rng, broken = np.random.default_rng(seed), 0
    print(f"{'kind':<16} {'killed':>6} {'of':>4}  earlier  new  none  broken   seconds each")
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scans = Path(name) / "scans"
        scans.mkdir()
        for number, writer in enumerate(writers(scans)):
            if only in (None, writer.name):
                folder = Path(name) / f"{number}"
                folder.mkdir()
                broken += row(writer, folder, kills, rng)
    return broken


def row(writer: Writer, folder: Path, kills: int, rng: np.random.Generator) -> int:
    """Print what was left of one kind of file; how many were broken."""
    path, versions = folder / writer.file, []
    # Here, so that writers are forked with all that they import.
    for version in (0, 1):
        writer.write(path, version)
        versions.append(np.asarray(writer.read(path)))
    assert not np.array_equal(*versions, equal_nan=True)
    lasts = min(duration(lambda: forked(lambda: writer.write(path, 1))) for _ in range(3))
    found: Counter[str] = Counter()
    alive = 0
    for k in range(kills):
        remove(path)
        was_alive, left = kill_one(writer, folder, versions, rng.uniform(0, lasts), k % 2 == 0)
        # How long a writer takes depends on what else the machine does.
        lasts *= SLOWER if was_alive else QUICKER
        alive += was_alive
        found[left] += 1
    torn = {left: n for left, n in found.items() if left.startswith("broken")}
    print(
        f"{writer.name:<16} {alive:>6} {kills:>4}  {found['earlier']:>7} {found['new']:>4} "
        f"{found['none']:>5}  {sum(torn.values()):>6}   {lasts:.2f}",
        flush=True,
    )
    for left, n in torn.items():
        print(f"  {writer.name}: {n} {left}")
    if alive < LEAST_ALIVE * kills:
        print(f"  {writer.name}: few were killed before they were done")
    return sum(torn.values())


def duration(task: Callable[[], object]) -> float:
    """Seconds that a task takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def remove(path: Path) -> None:
    """Remove a file or a store."""
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def main() -> int:
    """Read the command line; 1 if any file was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind, by its name in the table")
    options = parser.parse_args()
    return int(run(options.kills, options.seed, options.only) > 0)


if __name__ == "__main__":
    sys.exit(main())
