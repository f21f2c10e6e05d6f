# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of a scan as one figure: panels of a scan, profiles of a line scan."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..maps import LatentMap
from ..training.angle_steps import NEARLY
from .canvas import as_drawn, new_figure
from .colours import CYCLE
from .panels import SYMBOLS, between, cyclic, folds, limits_of, scale_bar, sequential

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
        with ``fold``, ``angle_reliability``, ``angle_smoothed``, ``angle_unwrapped``,
        ``handedness``, ``error``, ``anomaly``, ``rotation_2``, ``rotation_3``, ``rotation_4``,
        ``rotation_6`` (the turns of crystals), ``mirror_score`` and ``mirror_axis``; each 2-D of
        one shape. Other names are not drawn, nor is the reliability where most angles are reliable.
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
        figure.suptitle(as_drawn(title), fontsize=12)
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
        panels["COM magnitude"] = partial(sequential, length, x.units, "inferno")
        panels["COM direction"] = partial(cyclic, direction)
    for name, label in (("dpc_phase", "DPC phase"), ("phase", "retrieved phase")):
        if name in maps:
            phase = maps[name]
            panels[label] = partial(sequential, phase.values, phase.units, "inferno")
    for name in _latents(maps):
        latent = maps[name]
        label, number = name, int(name[1:]) - 1
        if name in collapsed:
            label = f"{name} (collapsed)"
        elif number < len(repeatability):
            label = f"{name}, repeats {repeatability[number]:.2f}"
        panels[label] = partial(sequential, latent.values, latent.units, "viridis")
    for name, label in (("angle", "angle"), ("angle_smoothed", "smoothed angle")):
        if name in maps:
            angle = maps[name]
            fold = CYCLE / np.asarray(CYCLE if angle.period is None else angle.period)
            label += " x fold" if (fold[np.isfinite(fold)] > 1).any() else ""
            panels[label] = partial(cyclic, angle.values * fold)
    if "angle_reliability" in maps:
        reliability = maps["angle_reliability"].values
        known = reliability[reliability > 0]
        if known.size and np.median(known) < NEARLY:
            panels["reliability of the angle"] = partial(between, reliability, (0, 1), "cividis")
    if "angle_unwrapped" in maps:
        turned = maps["angle_unwrapped"]
        panels["unwrapped angle"] = partial(sequential, turned.values, turned.units, "viridis")
    if "fold" in maps:
        panels["fold"] = partial(folds, maps["fold"].values)
    if "handedness" in maps:
        panels["handedness"] = partial(between, maps["handedness"].values, (0, 1), "coolwarm")
    for name in ("error", "anomaly"):
        if name in maps:
            panels[name] = partial(sequential, maps[name].values, maps[name].units, "magma")
    return panels | _symmetry_panels(maps)


def _symmetry_panels(maps: Mapping[str, LatentMap]) -> dict[str, Callable[[Axes], None]]:
    """One range for all scores, so that their panels compare."""
    labels = {f"rotation_{n}": f"{n}-fold score" for n in (2, 3, 4, 6)}
    labels |= {"mirror_score": "mirror score"}
    scores = {label: maps[name].values for name, label in labels.items() if name in maps}
    if scores:
        low, high = limits_of(np.stack(list(scores.values())))
    panels: dict[str, Callable[[Axes], None]] = {
        label: partial(between, score, (low, high), "cividis") for label, score in scores.items()
    }
    if "mirror_axis" in maps:
        panels["mirror axis x 2"] = partial(cyclic, 2 * maps["mirror_axis"].values)
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
    figure = new_figure(7, 1.3 * len(names) + 0.8)
    axes = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    for ax, name in zip(axes, names, strict=True):
        map_ = maps[name]
        # An angle jumps by its period between equal directions; a line would show slopes there.
        style = "." if map_.period is not None else "-"
        ax.plot(positions, map_.values, style, drawstyle="steps-mid" if name == "fold" else None)
        shown = f"{name} (collapsed)" if name in collapsed else name
        units = as_drawn(SYMBOLS.get(map_.units, map_.units))
        ax.set_ylabel(f"{shown} ({units})" if units else shown)
    axes[-1].set_xlabel(as_drawn(label))
    if title is not None:
        figure.suptitle(as_drawn(title), fontsize=12)
    return figure


def _grid(count: int, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3 if count <= 6 else 4)
    rows = -(-count // columns)
    tall = float(np.clip(height, 0.4, 2.5))
    width, height = columns * (PANEL + 0.6), rows * (0.92 * PANEL * tall + 0.35) + 0.4
    figure = new_figure(width, height)
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(count)]
    return figure, axes
