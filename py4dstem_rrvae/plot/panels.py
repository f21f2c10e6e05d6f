# SPDX-License-Identifier: GPL-3.0-or-later
"""One map in one axes, by what its numbers are; its colour bar and scale bar."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.image import AxesImage
from matplotlib_scalebar.scalebar import ScaleBar
from numpy.typing import NDArray

from .canvas import as_drawn
from .colours import CYCLE, FOLD_COLOURS, cyclic_colours, with_undefined

SYMBOLS = {
    "A": "Å",
    "um": "µm",
    "pixels": "px",
    "A^-1": "Å$^{-1}$",
    "dimensionless": "",
    "2 pi rad": "2π rad",
}


def sequential(values: NDArray[Any], units: str, colours: str, ax: Axes) -> None:
    """Draw a map of numbers, from its 0.5th to its 99.5th percentile."""
    between(values, limits_of(values), colours, ax, units)


def between(
    values: NDArray[Any], limits: tuple[float, float], colours: str, ax: Axes, units: str = ""
) -> None:
    """Draw a map of numbers between two limits."""
    low, high = limits
    image = ax.imshow(values, origin="upper", cmap=with_undefined(colours), vmin=low, vmax=high)
    _colour_bar(ax, image, units)


def limits_of(values: NDArray[Any]) -> tuple[float, float]:
    """Percentiles, so that one bad position does not take all the colours."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, [0.5, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0


def cyclic(values: NDArray[Any], ax: Axes) -> None:
    """Draw a map of angles in radians, modulo 2 pi."""
    image = ax.imshow(
        np.mod(values, CYCLE),
        origin="upper",
        cmap=cyclic_colours(),
        vmin=0,
        vmax=CYCLE,
        interpolation="nearest",
    )
    bar = _colour_bar(ax, image, "rad")
    bar.set_ticks([0, np.pi, CYCLE], labels=["0", "π", "2π"])


def folds(fold: NDArray[Any], ax: Axes) -> None:
    """Draw a map of whole numbers, each in a colour of its own."""
    present = [int(n) for n in np.unique(fold)]
    index = np.searchsorted(present, fold)
    higher = colormaps["tab20"]
    colours = ListedColormap([FOLD_COLOURS.get(n, higher(n % 20)) for n in present])
    norm = BoundaryNorm(np.arange(len(present) + 1) - 0.5, len(present))
    image = ax.imshow(index, origin="upper", cmap=colours, norm=norm, interpolation="nearest")
    bar = _colour_bar(ax, image, "")
    bar.set_ticks(range(len(present)), labels=[str(n) if n else "none" for n in present])
    bar.ax.tick_params(length=0)


def _colour_bar(ax: Axes, image: AxesImage, units: str) -> Colorbar:
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.04, 0, 0.05, 1)))
    bar.set_label(as_drawn(SYMBOLS.get(units, units)), fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_linewidth(0.5)
    return bar


def scale_bar(ax: Axes, pixel_size: float, units: str, width: float) -> None:
    """Draw a bar of 1, 2 or 5 times a power of ten, at most a third of the image wide.

    Parameters
    ----------
    ax
        Axes with an image.
    pixel_size
        Of a pixel of the image, in `units`.
    units
        As they are to be read; "A" is written as Å.
    width
        Of the image, in pixels.
    """
    words = as_drawn(SYMBOLS.get(units, units))
    longest = pixel_size * width / 3
    step = 10.0 ** np.floor(np.log10(longest))
    length = max(k * step for k in (1, 2, 5) if k * step <= longest)
    ax.add_artist(
        ScaleBar(
            pixel_size,
            # Scan units are the user's own words; the library knows but some of them.
            units="px",
            dimension="pixel-length",
            fixed_value=length,
            scale_formatter=lambda value, _: f"{value:g} {words}",
            location="lower right",
            rotation="horizontal-only",
            box_alpha=0.7,
            font_properties={"size": 8},
        )
    )
