# SPDX-License-Identifier: GPL-3.0-or-later
"""Peak memory and time of a fit on a cube larger than one would hold.

``python -m benchmarks.memory make big.hspy`` writes a cube of 8.6 GB (512 x 512 positions of 128 x
128 pixels, uint16, not compressed; ``--side 256`` a quarter of it). ``python -m benchmarks.memory
run big.hspy`` fits and encodes it, lazily through HyperSpy, or with ``--host py4dstem`` as a
DataCube on the file's own dataset, and prints what that took beyond the imports.
``--limit GIB`` forbids the process more address space than that, imports and threads included.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SIZE = 128
TILE = 32


def make(path: Path, side: int) -> None:
    """Write a cube with one tile of distinct patterns repeated."""
    import dask.array as da
    from hyperspy.signals import Signal2D

    from py4dstem_rrvae import synthetic

    tile = synthetic.lobes(TILE * TILE, size=SIZE, counts=5000).frames.astype(np.uint16)
    tile = da.from_array(tile.reshape(TILE, TILE, SIZE, SIZE), chunks=(16, 16, SIZE, SIZE))
    repeats = side // TILE
    signal = Signal2D(da.tile(tile, (repeats, repeats, 1, 1))).as_lazy()
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.offset, axis.units = 0.02, -0.02 * (SIZE - 1) / 2, "1/Å"
    signal.save(str(path), chunks=(16, 16, SIZE, SIZE), compression=None, overwrite=True)


def scan(path: Path, host: str) -> Any:
    """The cube as a lazy signal, or as a data cube on the file's dataset."""
    if host == "hyperspy":
        import hyperspy.api as hs

        return hs.load(str(path), lazy=True)
    import py4DSTEM

    (experiment,) = h5py.File(path)["Experiments"].values()
    cube = py4DSTEM.DataCube(experiment["data"])
    cube.calibration.set_origin(((SIZE - 1) / 2, (SIZE - 1) / 2))
    return cube


def peak() -> float:
    """Largest resident memory so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def run(path: Path, host: str, limit: float | None) -> None:
    """Fit and encode, and print time and memory."""
    import py4dstem_rrvae
    from py4dstem_rrvae import RRVAE, synthetic

    if limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (int(limit * 2**30),) * 2)
    cube = scan(path, host)
    # Imports and the libraries' own buffers come first, so that they are not counted.
    few = synthetic.lobes(64, size=16, counts=2000).frames
    RRVAE(max_epochs=1, progress=False).fit(few).encode(few)
    before, start = peak(), time.perf_counter()
    maps = cube.rrvae.fit(random_state=0)
    seconds = time.perf_counter() - start
    size = path.stat().st_size / 1e9
    positions = np.prod(maps["z1"].data.shape)
    print(
        f"{py4dstem_rrvae.__version__}, {host}: {size:.1f} GB, {positions} positions in "
        f"{seconds:.0f} s; peak {peak():.2f} GB, {peak() - before:.2f} GB beyond the imports"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["make", "run"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--side", type=int, default=512, help="positions along each axis")
    parser.add_argument("--host", choices=["hyperspy", "py4dstem"], default="hyperspy")
    parser.add_argument("--limit", type=float, help="GiB of address space")
    options = parser.parse_args()
    if options.command == "make":
        make(options.path, options.side)
    else:
        run(options.path, options.host, options.limit)


if __name__ == "__main__":
    main()
