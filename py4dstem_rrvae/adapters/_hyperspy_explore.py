# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of a signal, to touch in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from ..estimator import RRVAE
from ..explore import Explorer
from ..explore.words import Scale
from ..maps.latent import codes_of
from . import _hyperspy_axes, _hyperspy_maps, _models
from ._hyperspy_files import frames

NEEDED = ("z1", "z1_std", "angle", "angle_std", "fold", "error")


def explore(
    signal: Any,
    maps: Mapping[str, Any],
    model: RRVAE | str | PathLike[str] | None = None,
    *,
    index: tuple[int, ...] = (),
    latents: Sequence[int] | None = None,
) -> Explorer:
    """Maps, latent plane and patterns of a signal, to click and drag in a notebook.

    A click on the map shows the measured pattern there beside what the model decodes, and marks
    the positions whose codes are alike. Dragging in the latent plane decodes the point under the
    mouse, or draws a box that selects positions by their codes.

    Parameters
    ----------
    signal
        The scan; read one pattern at a time, never written.
    maps
        Of `fit` or `encode` on it, from a file for one; those of `compare`, `symmetry` and so on
        may be among them. The accessor takes what its methods gave last if None.
    model
        That gave the maps, or the path of its file; None shows no decoded patterns, but for the
        accessor's own maps, whose model it takes.
    index
        Which scan of a series, one index per navigation axis of the maps (x first, as in
        ``inav``); needed for a series alone.
    latents
        Numbers, from 1, of the two latents of the plane, or of one, which is drawn against the
        error; None takes the first two that are not switched off.

    Returns
    -------
    Explorer
        Shown by the notebook. ``position`` is (row, col) of the pattern shown, ``mask`` a bool
        array (y, x) of the positions in the box, ``selection`` their rows and columns (n, 2).

    Raises
    ------
    ImportError
        If the widgets are missing: ``pip install "py4dstem_rrvae[explore]"``.
    TypeError, ValueError
        If the maps are not of this scan or lack one, the scan is a line, `index` or the model does
        not suit the maps, or the file behind the data is closed.
    """
    patterns = frames(signal).patterns
    maps = {name: map_ for name, map_ in maps.items() if name != "beam_shift"}
    _hyperspy_maps.check(maps, NEEDED)
    first = maps["z1"]
    if first.axes_manager.signal_dimension != 2:
        raise ValueError(
            "maps to touch are of scans of rows and columns; got a line (plot draws lines)"
        )
    navigation = first.axes_manager.navigation_shape
    if len(index) != len(navigation) or any(
        not -size <= k < size for k, size in zip(index, navigation, strict=True)
    ):
        raise ValueError(
            f"index must be one of the scans of the series, {navigation}; got {tuple(index)}"
        )
    if first.data.shape != patterns.shape[:-2]:
        raise ValueError(
            f"the maps must be those of this scan of {patterns.shape[:-2]} positions; they are of "
            f"{first.data.shape}"
        )
    one = {name: map_.inav[index] if index else map_ for name, map_ in maps.items()}
    plain = {name: _hyperspy_maps.to_map(map_, one) for name, map_ in one.items()}
    codes = codes_of({name: map_.values for name, map_ in plain.items()})
    about = first.metadata.RRVAE
    off = about.get_item("collapsed", [])
    return Explorer(
        patterns[index[::-1]] if index else patterns,
        # The model counts angles from rows; turning twice changes nothing.
        _hyperspy_maps.turned(codes),
        model=None if model is None else _models.trained(model),
        maps=plain,
        collapsed=[f"z{k}" in off for k in range(1, codes.z.shape[-1] + 1)],
        latents=latents,
        rescale=about.get_item("background", "stored") == "refit",
        scale=_scale(first.axes_manager.signal_axes),
        repeatability=about.get_item("repeatability", ()),
    )


def _scale(axes: Any) -> Scale:
    """Of the map's axes (x, y), with places in the units of x."""
    size, ratio = _hyperspy_axes.pixel(axes)
    units = axes[0].units if isinstance(axes[0].units, str) else "px"
    first = None
    if all(axis.is_uniform and axis.scale > 0 for axis in axes):
        first = axes[1].offset * size * ratio / axes[1].scale, axes[0].offset
    return Scale(size, units, ratio, first)
