# SPDX-License-Identifier: GPL-3.0-or-later
"""From a click to the picture, on 512 x 512 positions.

``python -m benchmarks.explore [--side 512] [--detector 128]`` prints milliseconds (median, worst,
and median of processor time, which other work does not lengthen) of what the notebook's process
does: state, reading one pattern of a chunked HDF5 file, decoding, drawing, and the PNG that goes to
the browser.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from matplotlib.backend_bases import MouseEvent

from py4dstem_rrvae import RRVAE, Codes, synthetic
from py4dstem_rrvae.explore import Explorer

CHUNK, CLICKS = 16, 20


def codes_of(side: int) -> Codes:
    """Codes (side, side) of two latents, normal as those of a scan are."""
    rng = np.random.default_rng(0)
    z, angle = rng.normal(size=(side, side, 2)), rng.uniform(0, 6, (side, side))
    fold = np.ones(angle.shape, dtype=np.int64)
    return Codes(z, np.full(z.shape, 0.1), angle, np.full(angle.shape, 0.1), fold, fold * 1.0)


def measure(act: Callable[[int], None]) -> str:
    """Milliseconds of an act, by its number: median and worst, and median of the processor's."""
    taken, worked = [], []
    for k in range(CLICKS):
        start, begun = time.perf_counter(), time.process_time()
        act(k)
        taken.append(1e3 * (time.perf_counter() - start))
        worked.append(1e3 * (time.process_time() - begun))
    return f"{np.median(taken):7.0f} {max(taken):7.0f} {np.median(worked):7.0f}"


def mouse(explorer: Explorer, name: str, ax: object, x: float, y: float) -> None:
    """Let the canvas have an event as the browser sends it."""
    canvas = explorer.view.figure.canvas
    place = ax.transData.transform((x, y))  # type: ignore[attr-defined]
    canvas.callbacks.process(name, MouseEvent(name, canvas, *place, 1))


def main() -> None:
    """Make a scan, click and drag, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--detector", type=int, default=128)
    arguments = parser.parse_args()
    side, size = arguments.side, arguments.detector
    frames = synthetic.lobes(200, size=size, counts=20_000).frames.astype(np.uint16)
    model = RRVAE(max_epochs=2, random_state=0, progress=False, device="cpu").fit(frames)
    clicked = np.random.default_rng(1).integers(side, size=(CLICKS, 2))
    with tempfile.TemporaryDirectory() as folder, h5py.File(Path(folder) / "scan.h5", "w") as file:
        chunks = (min(CHUNK, side), min(CHUNK, side), size, size)
        data = file.create_dataset("data", (side, side, size, size), np.uint16, chunks=chunks)
        for k, (row, col) in enumerate(clicked):
            data[row, col] = frames[k]
        start = time.perf_counter()
        explorer = Explorer(data, codes_of(side), model=model, collapsed=(False, False))
        canvas = explorer.view.figure.canvas
        canvas.syncing_data_url = False  # as when a browser shows it
        canvas.draw()
        print(
            f"opened in {1e3 * (time.perf_counter() - start):.0f} ms; others, median, worst, CPU:"
        )
        view, drawn = explorer.view, explorer.view.map.ax
        press, release = "button_press_event", "button_release_event"

        def on_map(k: int) -> None:
            row, col = clicked[k]
            mouse(explorer, press, drawn, col, row)
            mouse(explorer, release, drawn, col, row)

        def in_plane(k: int) -> None:
            mouse(explorer, press, view.plane.ax, k / CLICKS, 0.1)

        def box(k: int) -> None:
            mouse(explorer, release, view.plane.ax, k / CLICKS, 0.1)
            view.mode = "box"
            mouse(explorer, press, view.plane.ax, -k / CLICKS, -0.5)

        print("click on the map        ", measure(on_map))
        print("point moved in the plane", measure(in_plane))
        print("box drawn in the plane  ", measure(box))
        names = view.map.names
        print("another map             ", measure(lambda k: view.show_map(names[k % len(names)])))


if __name__ == "__main__":
    main()
