# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tutorials share: panels with scale bars, and one sentence where an extra is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODULES = {
    "py4dstem": ("py4DSTEM",),
    "hyperspy": ("hyperspy", "pyxem"),
    "ebsd": ("kikuchipy",),
    "simulate": ("abtem", "ase"),
    "tutorials": ("matplotlib", "matplotlib_scalebar", "skimage", "dask", "distributed"),
}
"""Extra of the package: modules that it installs and tutorials need."""
MORE_COLOURS = {7: "#44aa99", 8: "#882255", 9: "#999933"}
"""Of classes, after those of `plot.FOLD_COLOURS` (P. Tol's muted scheme)."""
WIDTH = 10.0
"""Of a figure, in inches."""
OUTLINE = 2.5


def require(*extras: str) -> None:
    """Say in one sentence what to install, if anything is missing, and set up figures else.

    Parameters
    ----------
    *extras
        Of the package, besides "tutorials".

    Raises
    ------
    ModuleNotFoundError
        If a module of an extra, or the package itself, is missing.
    """
    extras = (*extras, "tutorials")
    needed = ("py4dstem_rrvae", *(name for extra in extras for name in MODULES[extra]))
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"this tutorial needs {', '.join(missing)}: run  "
            f'pip install ".[{",".join(extras)}]"  in the folder of the package, then start again'
        )
    from matplotlib import rcParams

    rcParams.update({"figure.dpi": 100, "font.size": 10, "axes.titlesize": 10})


def maps(
    panels: Mapping[str, tuple[Any, str, str]],
    *,
    step: float,
    units: str = "Å",
    limits: tuple[float, float] | None = None,
    columns: int = 4,
    width: float = WIDTH,
    bar: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Draw maps, or patterns, side by side, each with a scale bar.

    Parameters
    ----------
    panels
        Title to (values, colours, label of the colour bar). Colours are a colour map of
        matplotlib; "cyclic" for angles from 0 to 2 pi; "classes" for whole numbers from 0 to 9.
    step, units
        Distance between neighbouring pixels.
    limits
        Of the colours of all panels but cyclic ones and classes; None: each its own.
    columns
        Panels in a row.
    width
        Of the figure, in inches.
    bar
        Whether to draw colour bars.

    Returns
    -------
    Figure, list of Axes
    """
    from matplotlib import pyplot

    from py4dstem_rrvae.plot import scale_bar

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    shape = np.shape(next(iter(panels.values()))[0])
    side = width / columns * (0.8 if bar else 0.94)
    size = (width, rows * (side * shape[0] / shape[1] + 0.35))
    figure, grid = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.05)
    axes = list(grid.flat)
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, (title, (values, colours, label)) in zip(axes, panels.items(), strict=False):
        _panel(ax, np.asarray(values), colours, label, limits, bar)
        ax.set(title=title, xticks=[], yticks=[])
        scale_bar(ax, step, units, abs(np.diff(ax.get_xlim())[0]))
    return figure, axes[: len(panels)]


def points(
    panels: Mapping[str, tuple[Any, str, str]],
    places: Any,
    *,
    units: str,
    columns: int = 4,
    size: float = 14.0,
) -> tuple[Figure, list[Axes]]:
    """Draw values at positions that form no grid, each panel with a scale bar.

    Parameters
    ----------
    panels
        Title to (values, colours, label of the colour bar), as in `maps`, without classes.
    places : array-like, shape (n, 2)
        Row and column of each position, in `units`; rows count downwards.
    units
        Of lengths.
    columns
        Panels in a row.
    size
        Of a point, as matplotlib's `scatter` takes it.

    Returns
    -------
    Figure, list of Axes
    """
    from matplotlib import colormaps, pyplot

    from py4dstem_rrvae.plot import UNDEFINED, cyclic_colours, scale_bar

    row, col = np.asarray(places, float).T
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = pyplot.subplots(
        rows,
        columns,
        figsize=(WIDTH, rows * (0.8 * WIDTH / columns * np.ptp(row) / np.ptp(col) + 0.35)),
        layout="constrained",
        squeeze=False,
    )
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.05)
    axes = list(grid.flat)
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, (title, (values, colours, label)) in zip(axes, panels.items(), strict=False):
        values = np.asarray(values, float)
        cyclic = colours == "cyclic"
        if cyclic:
            values, limits, drawn = np.mod(values, 2 * np.pi), (0.0, 2 * np.pi), cyclic_colours()
        else:
            low, high = np.nanpercentile(values, [1, 99])
            limits = (low, high if high > low else low + 1)
            drawn = colormaps[colours].with_extremes(bad=UNDEFINED)
        image = ax.scatter(
            *(col, row, size, values),
            cmap=drawn,
            vmin=limits[0],
            vmax=limits[1],
            plotnonfinite=True,
            linewidths=0,
        )
        # Room for the scale bar beneath the points.
        ax.set(title=title, xticks=[], yticks=[], aspect="equal")
        ax.set_ylim(row.max() + 0.2 * np.ptp(row), row.min() - 0.05 * np.ptp(row))
        bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0, 0.05, 1)))
        bar.set_label(label, fontsize=9)
        bar.ax.tick_params(labelsize=8)
        if cyclic:
            bar.set_ticks([0, np.pi, 2 * np.pi], labels=["0", "π", "2π"])
        scale_bar(ax, 1.0, units, np.ptp(col))
    return figure, axes[: len(panels)]


def _panel(
    ax: Axes,
    values: np.ndarray,
    colours: str,
    label: str,
    limits: tuple[float, float] | None,
    bar: bool,
) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, ListedColormap

    from py4dstem_rrvae.plot import FOLD_COLOURS, UNDEFINED, cyclic_colours

    ticks, names = None, None
    if colours == "cyclic":
        image = ax.imshow(np.mod(values, 2 * np.pi), cmap=cyclic_colours(), vmin=0, vmax=2 * np.pi)
        ticks, names = [0, np.pi, 2 * np.pi], ["0", "π", "2π"]
    elif colours == "classes":
        present = np.unique(values)
        named = FOLD_COLOURS | MORE_COLOURS
        chosen = ListedColormap([named[int(n)] for n in present])
        norm = BoundaryNorm(np.arange(len(present) + 1) - 0.5, len(present))
        image = ax.imshow(np.searchsorted(present, values), cmap=chosen, norm=norm)
        ticks, names = range(len(present)), [f"{n:g}" for n in present]
    else:
        low, high = limits or np.nanpercentile(values, [0.5, 99.5])
        high = high if high > low else low + 1
        shown = colormaps[colours].with_extremes(bad=UNDEFINED)
        image = ax.imshow(values, cmap=shown, vmin=low, vmax=high)
    if bar:
        colour_bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0, 0.05, 1)))
        colour_bar.set_label(label, fontsize=9)
        colour_bar.ax.tick_params(labelsize=8)
        if ticks is not None:
            colour_bar.set_ticks(ticks, labels=names)


def mark(
    axes: Sequence[Axes], places: Mapping[str, tuple[float, float]], radius: float = 6.0
) -> None:
    """Ring places (row, col) and write their names above, white with a dark outline."""
    from matplotlib.patches import Circle
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=OUTLINE, foreground="black")]
    for ax in axes:
        for name, (row, col) in places.items():
            ring = Circle((col, row), radius, fill=False, color="white", linewidth=1.2)
            ring.set_path_effects(outline)
            ax.add_patch(ring)
            ax.annotate(
                name,
                (col, row - radius),
                (0, 3),
                textcoords="offset points",
                ha="center",
                color="white",
                fontsize=9,
                path_effects=outline,
            )
