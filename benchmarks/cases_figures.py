# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of the six scans: maps of every model beside COM, and latent manifolds."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from py4dstem_rrvae import RRVAE, Codes
from py4dstem_rrvae.plot import UNDEFINED, cyclic_colours, manifold_figure
from py4dstem_rrvae.simulate import Simulation
from py4dstem_rrvae.simulate.sites import sites

Array = NDArray[np.float64]
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


def _draw(ax: Axes, values: Array, title: str, cyclic: bool) -> None:
    if cyclic:
        image = ax.imshow(np.mod(values, 2 * np.pi), cmap=cyclic_colours(), vmin=0, vmax=2 * np.pi)
    else:
        low, high = np.nanpercentile(values, [0.5, 99.5])
        if title.startswith("COM") and "|" not in title:
            low, high = -max(-low, high), max(-low, high)
        colours = colormaps["viridis"].with_extremes(bad=UNDEFINED)
        image = ax.imshow(values, cmap=colours, vmin=low, vmax=high if high > low else low + 1)
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0, 0.05, 1)))
    if cyclic:
        bar.set_ticks([0, np.pi, 2 * np.pi], labels=["0", "π", "2π"])
    bar.ax.tick_params(labelsize=6)
    ax.set_title(title, fontsize=8)
    ax.set_xticks([])
    ax.set_yticks([])


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
    """COM and, one row a model, its angle, latents, fold and misfit; atoms on the first panel."""
    rows, cols = scan.scan.shape
    height = rows / cols
    figure = Figure(figsize=(9.5, (1 + len(found)) * (1.35 * height + 0.35)), layout="constrained")
    axes = figure.subplots(1 + len(found), 5, squeeze=False)
    length, angle = np.hypot(com[..., 0], com[..., 1]), np.arctan2(com[..., 1], com[..., 0])
    first = [
        ("|COM|, 1/Å, and atoms", length, False),
        ("COM x (rows), 1/Å", com[..., 0], False),
        ("COM y (columns), 1/Å", com[..., 1], False),
        ("COM angle", angle, True),
        ("dark field", dark, False),
    ]
    for ax, (title, values, cyclic) in zip(axes[0], first, strict=True):
        _draw(ax, values, title, cyclic)
    _atoms(axes[0, 0], scan)
    for line, (name, one) in zip(axes[1:], found.items(), strict=True):
        codes, off = one.codes, one.model.history_.collapsed
        panels = [(f"{name}: angle x fold", codes.angle * codes.fold, True)]
        for k in range(codes.z.shape[-1]):
            panels.append(
                (f"z{k + 1}" + (" (collapsed)" if off[k] else ""), codes.z[..., k], False)
            )
        panels.append(("fold", codes.fold.astype(float), False))
        panels.append(("misfit", codes.error, False))
        for ax, (title, values, cyclic) in zip(line, panels, strict=False):
            _draw(ax, values, title, cyclic)
        for ax in line[len(panels) :]:
            ax.axis("off")
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
