# SPDX-License-Identifier: GPL-3.0-or-later
"""One figure of the maps of a scan; with `plot_manifold`, the only importer of matplotlib.

Built on `Figure` alone: no window opens and pyplot's state stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib_scalebar.scalebar import ScaleBar
from numpy.typing import NDArray

from .maps import LatentMap
from .plot_manifold import manifold_figure as manifold_figure

if TYPE_CHECKING:
    from .selection import LatentDim

UNDEFINED = "0.15"
FOLD_COLOURS = {
    0: "0.85",
    1: "#332288",
    2: "#88ccee",
    3: "#117733",
    4: "#ddcc77",
    5: "#aa4499",
    6: "#cc6677",
}
CYCLE = 2 * np.pi
SYMBOLS = {
    "A": "Å",
    "um": "µm",
    "pixels": "px",
    "A^-1": "Å$^{-1}$",
    "dimensionless": "",
    "2 pi rad": "2π rad",
}
OKLAB_TO_LMS = np.array(
    [
        [1, 0.3963377774, 0.2158037573],
        [1, -0.1055613458, -0.0638541728],
        [1, -0.0894841775, -1.2914855480],
    ]
)
LMS_TO_SRGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
PANEL = 2.6
"""Width of a panel, in inches."""


def maps_figure(
    maps: Mapping[str, LatentMap],
    *,
    pixel_size: float,
    units: str,
    title: str | None = None,
    collapsed: Container[str] = (),
    repeatability: Sequence[float] = (),
    pixel_ratio: float = 1.0,
) -> Figure:
    """Draw COM, DPC phase, latents, angle, fold and so on side by side, with scale bars.

    Parameters
    ----------
    maps
        Any of ``com_x`` with ``com_y``, ``dpc_phase``, ``phase``, ``z1``, ``z2``, ..., ``angle``
        with ``fold``, ``angle_smoothed``, ``angle_unwrapped``, ``handedness``, ``error``,
        ``anomaly``, ``rotation_2``, ``rotation_3``, ``rotation_4``, ``rotation_6`` (the turns of
        crystals), ``mirror_score`` and ``mirror_axis``; each 2-D of one shape. Other names are not
        drawn.
    pixel_size, units
        Distance between neighbouring positions, along a row where the two differ.
    title
        Title of the figure.
    collapsed
        Names of latents that carry nothing; their titles say so.
    repeatability
        Of each latent, R^2 between two noise draws of the same patterns, for its title.
    pixel_ratio
        Distance between rows over that between columns.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is nothing to draw, or the maps are not 2-D of one shape.
    """
    shapes = {map_.values.shape for map_ in maps.values()}
    if maps and (len(shapes) != 1 or len(min(shapes)) != 2):
        raise ValueError(f"maps must be 2-D of one shape; got {sorted(shapes)}")
    drawn = map_panels(maps, collapsed, repeatability)
    if not drawn:
        raise ValueError(
            f"maps must hold one of com_x with com_y, dpc_phase, phase, z1, angle, fold, error, "
            f"anomaly, rotation_2, mirror_score; "
            f"got {', '.join(maps) or 'none'}"
        )
    rows, columns = min(shapes)
    figure, axes = _grid(len(drawn), rows * pixel_ratio / columns)
    for ax, (name, draw) in zip(axes, drawn.items(), strict=True):
        draw(ax)
        ax.set_aspect(pixel_ratio)
        ax.set_title(name, fontsize=10)
        ax.set_xticks([])
        ax.set_yticks([])
        scale_bar(ax, pixel_size, units, columns)
    if title is not None:
        figure.suptitle(title, fontsize=12)
    return figure


def map_panels(
    maps: Mapping[str, LatentMap],
    collapsed: Container[str] = (),
    repeatability: Sequence[float] = (),
) -> dict[str, Callable[[Axes], None]]:
    """Title of each panel of `maps_figure`, in order, and what draws the map into given axes."""
    panels: dict[str, Callable[[Axes], None]] = {}
    if "com_x" in maps and "com_y" in maps:
        x, y = maps["com_x"], maps["com_y"]
        length, direction = np.hypot(x.values, y.values), np.arctan2(y.values, x.values)
        panels["COM magnitude"] = partial(_sequential, length, x.units, "inferno")
        panels["COM direction"] = partial(_cyclic, direction)
    for name, label in (("dpc_phase", "DPC phase"), ("phase", "retrieved phase")):
        if name in maps:
            phase = maps[name]
            panels[label] = partial(_sequential, phase.values, phase.units, "inferno")
    for name in _latents(maps):
        latent = maps[name]
        label, number = name, int(name[1:]) - 1
        if name in collapsed:
            label = f"{name} (collapsed)"
        elif number < len(repeatability):
            label = f"{name}, repeats {repeatability[number]:.2f}"
        panels[label] = partial(_sequential, latent.values, latent.units, "viridis")
    for name, label in (("angle", "angle"), ("angle_smoothed", "smoothed angle")):
        if name in maps:
            angle = maps[name]
            fold = CYCLE / np.asarray(CYCLE if angle.period is None else angle.period)
            label += " x fold" if (fold[np.isfinite(fold)] > 1).any() else ""
            panels[label] = partial(_cyclic, angle.values * fold)
    if "angle_unwrapped" in maps:
        turned = maps["angle_unwrapped"]
        panels["unwrapped angle"] = partial(_sequential, turned.values, turned.units, "viridis")
    if "fold" in maps:
        panels["fold"] = partial(_folds, maps["fold"].values)
    if "handedness" in maps:
        panels["handedness"] = partial(_between, maps["handedness"].values, (0, 1), "coolwarm")
    for name in ("error", "anomaly"):
        if name in maps:
            panels[name] = partial(_sequential, maps[name].values, maps[name].units, "magma")
    return panels | _symmetry_panels(maps)


def _symmetry_panels(maps: Mapping[str, LatentMap]) -> dict[str, Callable[[Axes], None]]:
    """One range for all scores, so that their panels compare."""
    labels = {f"rotation_{n}": f"{n}-fold score" for n in (2, 3, 4, 6)}
    labels |= {"mirror_score": "mirror score"}
    scores = {label: maps[name].values for name, label in labels.items() if name in maps}
    if scores:
        low, high = _limits(np.stack(list(scores.values())))
    panels: dict[str, Callable[[Axes], None]] = {
        label: partial(_between, score, (low, high), "cividis") for label, score in scores.items()
    }
    if "mirror_axis" in maps:
        panels["mirror axis x 2"] = partial(_cyclic, 2 * maps["mirror_axis"].values)
    return panels


def _latents(maps: Mapping[str, LatentMap]) -> list[str]:
    numbers = sorted(int(name[1:]) for name in maps if name[:1] == "z" and name[1:].isdigit())
    return [f"z{number}" for number in numbers]


def profiles_figure(
    maps: Mapping[str, LatentMap],
    positions: NDArray[Any],
    label: str,
    title: str | None = None,
    collapsed: Container[str] = (),
) -> Figure:
    """Draw the maps of a line scan as lines over the position.

    Parameters
    ----------
    maps
        As in `maps_figure`, each 1-D of one length.
    positions
        Where the probe stood, shape of the maps.
    label
        Name and units of the positions.
    title
        Title of the figure.
    collapsed
        Names of latents that carry nothing; their titles say so.

    Raises
    ------
    ValueError
        If there is nothing to draw, or the maps are not 1-D of the positions' length.
    """
    known = ("com_x", "com_y", *_latents(maps), "angle", "angle_smoothed", "fold", "handedness")
    known = (*known, "error", "anomaly", *(f"rotation_{n}" for n in (2, 3, 4, 6)), "mirror_score")
    names = [name for name in known if name in maps]
    wrong = {maps[name].values.shape for name in names} - {positions.shape}
    if not names or wrong:
        raise ValueError(
            f"maps must hold one of {', '.join(known)} of shape {positions.shape}; "
            f"got {', '.join(maps) or 'none'} {sorted(wrong) or ''}".rstrip()
        )
    figure = Figure(figsize=(7, 1.3 * len(names) + 0.8), layout="constrained")
    axes = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    for ax, name in zip(axes, names, strict=True):
        map_ = maps[name]
        # An angle jumps by its period between equal directions; a line would show slopes there.
        style = "." if map_.period is not None else "-"
        ax.plot(positions, map_.values, style, drawstyle="steps-mid" if name == "fold" else None)
        shown = f"{name} (collapsed)" if name in collapsed else name
        units = SYMBOLS.get(map_.units, map_.units)
        ax.set_ylabel(f"{shown} ({units})" if units else shown)
    axes[-1].set_xlabel(label)
    if title is not None:
        figure.suptitle(title, fontsize=12)
    return figure


def _grid(count: int, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3 if count <= 6 else 4)
    rows = -(-count // columns)
    tall = float(np.clip(height, 0.4, 2.5))
    figure = Figure(
        figsize=(columns * (PANEL + 0.6), rows * (0.92 * PANEL * tall + 0.35) + 0.4),
        layout="constrained",
    )
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(count)]
    return figure, axes


def _sequential(values: NDArray[Any], units: str, colours: str, ax: Axes) -> None:
    _between(values, _limits(values), colours, ax, units)


def _between(
    values: NDArray[Any], limits: tuple[float, float], colours: str, ax: Axes, units: str = ""
) -> None:
    low, high = limits
    image = ax.imshow(values, origin="upper", cmap=_with_undefined(colours), vmin=low, vmax=high)
    _colour_bar(ax, image, units)


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    """Percentiles, so that one bad position does not take all the colours."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, [0.5, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0


def _cyclic(values: NDArray[Any], ax: Axes) -> None:
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


def _folds(fold: NDArray[Any], ax: Axes) -> None:
    present = [int(n) for n in np.unique(fold)]
    index = np.searchsorted(present, fold)
    higher = colormaps["tab20"]
    colours = ListedColormap([FOLD_COLOURS.get(n, higher(n % 20)) for n in present])
    norm = BoundaryNorm(np.arange(len(present) + 1) - 0.5, len(present))
    image = ax.imshow(index, origin="upper", cmap=colours, norm=norm, interpolation="nearest")
    bar = _colour_bar(ax, image, "")
    bar.set_ticks(range(len(present)), labels=[str(n) if n else "none" for n in present])
    bar.ax.tick_params(length=0)


def cyclic_colours(steps: int = 256) -> Colormap:
    """Hues of one lightness and chroma, so that no direction looks brighter than another.

    The circle lies in Oklab (B. Ottosson, 2020) at the largest chroma that sRGB holds throughout.
    Undefined values are nearly black.
    """
    hue = np.linspace(0, CYCLE, steps, endpoint=False)
    lab = np.stack([np.full(steps, 0.74), 0.124 * np.cos(hue), 0.124 * np.sin(hue)])
    lms = (OKLAB_TO_LMS @ lab) ** 3
    linear = np.clip(LMS_TO_SRGB @ lms, 0, 1).T
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return ListedColormap(np.clip(srgb, 0, 1), name="cyclic").with_extremes(bad=UNDEFINED)


def _with_undefined(name: str) -> Colormap:
    return colormaps[name].with_extremes(bad=UNDEFINED)


def _colour_bar(ax: Axes, image: AxesImage, units: str) -> Colorbar:
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.04, 0, 0.05, 1)))
    bar.set_label(SYMBOLS.get(units, units), fontsize=9)
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
            scale_formatter=lambda value, _: f"{value:g} {SYMBOLS.get(units, units)}",
            location="lower right",
            rotation="horizontal-only",
            box_alpha=0.7,
            font_properties={"size": 8},
        )
    )


def latent_dims_figure(results: Sequence[LatentDim], title: str | None = None) -> Figure:
    """Draw what each latent of a comparison of model sizes is worth.

    On the left the held-out log-likelihood that each size adds to that of the smallest, with its
    standard error over patterns; on the right the KL divergence of each latent, switched-off ones
    empty.

    Parameters
    ----------
    results
        From `latent_dims`.
    title
        Title of the figure.

    Raises
    ------
    ValueError
        If there are no results.
    """
    if not results:
        raise ValueError("results must hold at least one model; got none")
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    rise, worth = figure.subplots(1, 2)
    dims = [one.latent_dim for one in results]
    gains, errors = zip(*(one.gain(results[0]) for one in results), strict=True)
    rise.errorbar(dims, gains, yerr=errors, fmt="o-", capsize=3)
    rise.set_ylabel(f"log-likelihood over {dims[0]} latent(s)\n(nats per held-out pattern)")
    for one in results:
        for k, kl in enumerate(one.kl):
            shown = "none" if one.collapsed[k] else f"C{k}"
            place = one.latent_dim + 0.12 * (k - (len(one.kl) - 1) / 2)
            worth.plot(place, kl, "o", color=f"C{k}", markerfacecolor=shown)
            worth.annotate(f"z{k + 1}", (place, kl), (0, 5), textcoords="offset points", fontsize=7)
    worth.set_ylabel("KL divergence (nats per pattern)\nempty: switched off")
    worth.margins(y=0.15)
    for ax in (rise, worth):
        ax.set_xlabel("latent_dim")
        ax.set_xticks(dims)
    if title is not None:
        figure.suptitle(title, fontsize=12)
    return figure
