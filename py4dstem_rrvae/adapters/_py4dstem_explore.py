# SPDX-License-Identifier: GPL-3.0-or-later
"""The attached maps of a data cube, to touch in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from ..estimator import RRVAE
from ..explore import Explorer
from ..explore.words import Scale
from . import _models, _py4dstem_tree, py4dstem
from ._py4dstem_tree import ABOUT_FIT

if TYPE_CHECKING:
    from py4DSTEM import DataCube


def explore(
    datacube: DataCube,
    model: RRVAE | str | PathLike[str] | None = None,
    *,
    latents: Sequence[int] | None = None,
) -> Explorer:
    """Maps, latent plane and patterns of a data cube, to click and drag in a notebook.

    A click on the map shows the measured pattern there beside what the model decodes, and marks
    the positions whose codes are alike. Dragging in the latent plane decodes the point under the
    mouse, or draws a box that selects positions by their codes.

    Parameters
    ----------
    datacube
        With maps of `fit` or `encode`; its data are read one pattern at a time, never written.
    model
        That gave the maps, or the path of its file; None takes the one that `fit` or `encode` used
        last on this cube, and shows no decoded patterns where there is none (a cube from a file).
    latents
        Numbers, from 1, of the two latents of the plane, or of one, which is drawn against the
        error; None takes the first two that are not switched off.

    Returns
    -------
    Explorer
        Shown by the notebook. ``position`` is (row, col) of the pattern shown, ``mask`` a bool
        array (Rx, Ry) of the positions in the box, ``selection`` their rows and columns (n, 2).

    Raises
    ------
    ImportError
        If the widgets are missing: ``pip install "py4dstem_rrvae[explore]"``.
    TypeError, ValueError
        If no latent maps are attached, they are not of this scan, the model has other latents, or
        the file behind the data is closed.
    """
    source = py4dstem.frames(datacube)
    node = py4dstem._node(datacube)
    if node is None or ABOUT_FIT not in _py4dstem_tree.kinds(node):
        raise ValueError("the datacube has no latent maps to explore: call fit or encode first")
    _py4dstem_tree.check_fresh(datacube, node)
    codes, collapsed = _py4dstem_tree.codes(node)
    about = node.metadata[ABOUT_FIT]
    calibration = datacube.calibration
    return Explorer(
        source.patterns,
        codes,
        model=None if model is None else _models.trained(model),
        maps={name: _py4dstem_tree.latent_map(node, name) for name in _py4dstem_tree.names(node)},
        collapsed=collapsed,
        latents=latents,
        rescale=about["background"] == "refit",
        scale=Scale(calibration.get_R_pixel_size(), calibration.get_R_pixel_units()),
        repeatability=about["repeatability"],
    )
