# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of the six scans: maps of every model beside COM, and latent manifolds."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from py4dstem_rrvae import RRVAE, Codes
from py4dstem_rrvae.plot import manifold_figure, panels
from py4dstem_rrvae.simulate import Simulation
from py4dstem_rrvae.simulate.sites import sites

Array = NDArray[np.float64]
Panel = tuple[str, Callable[[Axes], None]]
"""Title, and what draws a map."""
COLOURS = {"C": "black", "Si": "tab:red", "Zn": "tab:blue", "S": "gold"}


@dataclass(frozen=True)
class Found:
    """What a model made of a scan.

    Attributes
    ----------
    model : RRVAE
        Trained.
    codes : Codes
        Of the scan it was trained on.
    seconds : float
        Process time of training.
    """

    model: RRVAE
    codes: Codes
    seconds: float


def _atoms(ax: Axes, scan: Simulation) -> None:
    """Atoms as dots, vacancies as white circles."""
    known = sites(scan)
    kind = np.array(known.kind)
    rows, cols = scan.scan.shape
    atom = known.sublattice >= 0
    symbols = np.array(scan.symbols)
    for place, near in zip(known.place[atom], kind[atom], strict=True):
        offset = np.hypot(*(scan.positions - place).T)
        name = str(symbols[offset.argmin()]) if near not in COLOURS else str(near)
        ax.plot(place[1], place[0], "o", ms=3, color=COLOURS[name], mec="white", mew=0.4)
    vacant = known.place[kind == "vacancy"]
    ax.plot(vacant[:, 1], vacant[:, 0], "o", ms=8, mfc="none", mec="white")
    ax.set(xlim=(-0.5, cols - 0.5), ylim=(rows - 0.5, -0.5))


def maps(scan: Simulation, com: Array, dark: Array, found: Mapping[str, Found]) -> Figure:
    """COM and, one row a model, its angle, latents, fold and error; atoms on the first panel."""
    rows, cols = scan.scan.shape
    height = rows / cols
    figure = Figure(figsize=(12, (1 + len(found)) * (1.75 * height + 0.4)), layout="constrained")
    axes = figure.subplots(1 + len(found), 5, squeeze=False)
    length, angle = np.hypot(com[..., 0], com[..., 1]), np.arctan2(com[..., 1], com[..., 0])
    first: list[Panel] = [
        ("COM length, atoms", partial(panels.sequential, length, "A^-1", "viridis")),
        ("COM, rows", partial(panels.sequential, com[..., 0], "A^-1", "viridis")),
        ("COM, columns", partial(panels.sequential, com[..., 1], "A^-1", "viridis")),
        ("COM angle", partial(panels.cyclic, angle)),
        ("dark field", partial(panels.sequential, dark, "of all electrons", "viridis")),
    ]
    lines = [first]
    for name, one in found.items():
        codes, off = one.codes, one.model.history_.collapsed
        line: list[Panel] = [
            (f"{name}: angle x fold", partial(panels.cyclic, codes.angle * codes.fold))
        ]
        for k in range(codes.z.shape[-1]):
            title = f"z{k + 1}" + (" (collapsed)" if off[k] else "")
            line.append((title, partial(panels.sequential, codes.z[..., k], "", "viridis")))
        line.append(("fold", partial(panels.folds, codes.fold)))
        line.append(("error", partial(panels.sequential, codes.error, "noise", "magma")))
        lines.append(line)
    for row, line in zip(axes, lines, strict=True):
        for ax, (title, draw) in zip(row, line, strict=False):
            draw(ax)
            ax.set_title(title, fontsize=9)
            ax.set(xticks=[], yticks=[])
            panels.scale_bar(ax, scan.scan_step, "A", cols)
        for ax in row[len(line) :]:
            ax.remove()
    _atoms(axes[0, 0], scan)
    return figure


def save(
    scan: Simulation, com: Array, dark: Array, found: Mapping[str, Found], folder: Path
) -> None:
    """Write the maps of a case, and the manifold of each model."""
    _write(maps(scan, com, dark, found), folder / f"cases_{scan.case}.png", 100)
    for name, one in found.items():
        figure = manifold_figure(one.model, title=f"{scan.case}: {name}")
        _write(figure, folder / f"cases_{scan.case}_manifold_{name}.png", 75)


def _write(figure: Figure, path: Path, dpi: int) -> None:
    """A PNG of 128 colours, some 100 kB."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=dpi, format="png")
    Image.open(buffer).convert("RGB").quantize(128).save(path, optimize=True)
