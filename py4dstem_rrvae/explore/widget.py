# SPDX-License-Identifier: GPL-3.0-or-later
"""The widgets of an explorer; the only importer of ipywidgets and ipympl."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..codes import Codes
from ..maps import LatentMap
from .state import State
from .words import Scale, tell

if TYPE_CHECKING:
    from ..estimator import RRVAE

NEEDED = 'maps to touch need ipywidgets and ipympl: pip install "py4dstem_rrvae[explore]"'
SIZE, DOTS_PER_INCH = (8.4, 7.2), 80


class Explorer:
    """Maps, latent plane and patterns of a scan, to click and drag in a notebook.

    Parameters
    ----------
    patterns : array-like, shape (rows, cols, H, W)
        NumPy array, memmap, ``h5py.Dataset`` or dask array; one pattern is read at a time.
    codes
        What `RRVAE.encode` gave for them.
    model, maps, collapsed, latents, rescale
        As in `State`.
    scale
        Pixel size of the scan, its units, and the distance between rows over that between columns.
    repeatability
        Of each latent, for the titles; those of the model if empty.

    Attributes
    ----------
    state : State
        What is selected.
    widget : ipywidgets.Box
        What a notebook shows, to put among other widgets.

    Raises
    ------
    ImportError
        If ipywidgets, ipympl or matplotlib is missing.
    ValueError
        If the patterns, maps, codes and model are not of one scan, or the file is closed.

    Examples
    --------
    >>> explorer = Explorer(patterns, model.encode(patterns), model=model)  # doctest: +SKIP
    >>> explorer  # doctest: +SKIP
    """

    def __init__(
        self,
        patterns: Any,
        codes: Codes,
        *,
        model: RRVAE | None = None,
        maps: Mapping[str, LatentMap] | None = None,
        collapsed: Sequence[bool] | None = None,
        latents: Sequence[int] | None = None,
        rescale: bool = False,
        scale: Scale | None = None,
        repeatability: Sequence[float] = (),
    ) -> None:
        figure, widgets = _figure()
        from .view import BOX, POINT, View

        self.state = State(
            patterns,
            codes,
            model=model,
            maps=maps,
            collapsed=collapsed,
            latents=latents,
            rescale=rescale,
        )
        self.scale = Scale() if scale is None else scale
        if model is not None and not repeatability:
            repeatability = [float(r) for r in model.history_.repeatability]
        self._text = widgets.HTML()
        self.view = View(
            self.state,
            figure,
            scale=self.scale,
            repeatability=repeatability,
            changed=self._tell,
        )
        self._map = widgets.Dropdown(options=self.view.map.names, value=self.view.map.name)
        self._drag = widgets.ToggleButtons(
            options=[("move the point", POINT), ("draw a box", BOX)],
            tooltips=["decode where the mouse is", "select positions by their codes"],
            disabled=isinstance(self.state.plane, str),
        )
        self._intensity = widgets.Dropdown(
            options=self.view.patterns.intensities, value=self.view.patterns.intensity
        )
        clear = widgets.Button(description="clear the box")
        self._map.observe(lambda change: self.view.show_map(change["new"]), "value")
        self._intensity.observe(lambda change: self.view.show_intensity(change["new"]), "value")
        self._drag.observe(lambda change: setattr(self.view, "mode", change["new"]), "value")
        clear.on_click(lambda _: self.clear())
        side = [
            *(widgets.HTML("map"), self._map),
            *(widgets.HTML("dragging in the latent plane"), self._drag, clear),
            *(widgets.HTML("intensity of the patterns"), self._intensity),
            self._text,
        ]
        for one in side[:-1]:
            one.layout.width = "auto"
        self._drag.style.button_width = "auto"
        column = widgets.VBox(side, layout={"width": "18em", "flex": "0 0 auto"})
        wrapped = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"}
        self.widget: Any = widgets.Box([figure.canvas, column], layout=wrapped)
        self._tell(None)

    @property
    def position(self) -> tuple[int, int]:
        """Row and column of the pattern that is shown."""
        return self.state.position

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Positions in the box, True, shape (rows, cols); all False while there is no box."""
        return self.state.mask

    @property
    def selection(self) -> NDArray[np.intp]:
        """Row and column of each position in the box, shape (n, 2)."""
        return self.state.selection

    def go_to(self, row: int, col: int) -> None:
        """Look at a position, as a click on the map does.

        Raises
        ------
        IndexError
            If it lies outside the scan.
        ValueError
            If the file behind the patterns is closed.
        """
        self.state.go_to(row, col)
        self._redraw()

    def decode_at(self, x: float, y: float) -> None:
        """Decode a point of the latent plane, as a click in it does.

        Raises
        ------
        ValueError
            If there is no plane, or the point is not finite.
        """
        self.state.decode_at(x, y)
        self._redraw()

    def select(self, left: float, right: float, bottom: float, top: float) -> None:
        """Draw a box in the latent plane, as dragging does.

        Raises
        ------
        ValueError
            If there is no plane, or a side is not finite.
        """
        self.state.select(left, right, bottom, top)
        self._redraw()

    def clear(self) -> None:
        """Take the box away."""
        self.state.clear()
        self._redraw()

    def close(self) -> None:
        """Take the widgets out of the notebook and free their memory."""
        for one in (*self.widget.children[1].children, *self.widget.children, self.widget):
            one.close()

    def _redraw(self) -> None:
        self.view.refresh()
        self._tell(None)

    def _tell(self, problem: str | None) -> None:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td class='rrvae-{name.replace(' ', '-')}'>"
            f"{escape(value)}</td></tr>"
            for name, value in tell(self.state, self.scale).items()
        )
        wrong = "" if problem is None else f"<p role='alert'><b>{escape(problem)}</b></p>"
        style = "line-height: 1.5; border-spacing: 0.5em 0; white-space: nowrap"
        self._text.value = f"<table style='{style}'>{rows}</table>{wrong}"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        # A picture for pages that run no widgets.
        canvas: Any = self.view.figure.canvas
        still = canvas._repr_mimebundle_(**options)["image/png"]
        return {"image/png": still, **self.widget._repr_mimebundle_(**options)}


def _figure() -> tuple[Any, Any]:
    """An empty figure on a canvas of ipympl, and the module ipywidgets.

    Raises
    ------
    ImportError
        If one of the libraries is missing.
    """
    try:
        import ipywidgets
        import matplotlib
        from matplotlib.figure import Figure

        # ipympl makes itself the backend of everybody's figures as it is imported.
        before = None if "ipympl" in sys.modules else matplotlib.get_backend()
        from ipympl.backend_nbagg import Canvas, FigureManager
    except ImportError as error:
        raise ImportError(NEEDED) from error
    if before is not None:
        matplotlib.use(before)
    figure = Figure(figsize=SIZE, dpi=DOTS_PER_INCH)
    with warnings.catch_warnings():
        # Of ipympl's own toolbar.
        warnings.filterwarnings("ignore", "Passing unrecognized arguments", DeprecationWarning)
        canvas = Canvas(figure)
        FigureManager(canvas, 0)
    canvas.header_visible = canvas.footer_visible = canvas.resizable = False
    canvas.toolbar_position = "bottom"
    canvas.layout.flex = "0 0 auto"
    # Else a page that is quicker than the kernel shows a canvas without width or height.
    canvas._size = canvas.get_width_height()
    return figure, ipywidgets
