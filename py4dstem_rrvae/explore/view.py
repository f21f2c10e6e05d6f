# SPDX-License-Identifier: GPL-3.0-or-later
"""An explorer on a canvas of matplotlib, and what the mouse and the keys do to it.

What moves is drawn over a picture of what does not, so that a click costs no drawing of the figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.backend_bases import KeyEvent, MouseEvent
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .pictures import MapPicture, PatternPictures, PlanePicture
from .state import State
from .words import Scale

POINT, BOX = "point", "box"
"""What dragging in the plane does."""
# Seconds after a picture in which a mouse that is dragged draws no other: events that came
# meanwhile are dropped, or they would queue up.
PAUSE = 0.03
STEPS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


class View:
    """Map, latent plane, measured and decoded pattern of a `State`, in one figure.

    Parameters
    ----------
    state
        What is shown; clicks, drags and the arrow keys change it.
    figure
        Empty, on the canvas that gives the events.
    scale
        Of the scan.
    repeatability
        Of each latent, for the titles.
    changed
        Called after each change, with a sentence where something went wrong, else None.

    Attributes
    ----------
    mode : {"point", "box"}
        What dragging in the plane does.
    """

    def __init__(
        self,
        state: State,
        figure: Figure,
        *,
        scale: Scale | None = None,
        repeatability: Sequence[float] = (),
        changed: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self.state, self.figure, self.changed = state, figure, changed
        self.mode = POINT
        self._pressed: tuple[float, float] | None = None
        self._drawn = 0.0
        self._background: Any = None
        figure.set_layout_engine("none")
        (first, second), below = figure.subplots(2, 2)
        self.map = MapPicture(first, state, Scale() if scale is None else scale, repeatability)
        self.plane = PlanePicture(second, state)
        self.patterns = PatternPictures(below, state)
        canvas = figure.canvas
        canvas.mpl_connect("button_press_event", self._press)
        canvas.mpl_connect("motion_notify_event", self._move)
        canvas.mpl_connect("button_release_event", self._release)
        canvas.mpl_connect("key_press_event", self._key)
        canvas.mpl_connect("draw_event", self._keep_background)
        self._update()
        self._lay_out()

    def show_map(self, name: str) -> None:
        """Draw another map, one of ``map.names``."""
        self.map.show(name)
        self._update()
        self._lay_out()
        self.figure.canvas.draw()

    def show_intensity(self, name: str) -> None:
        """Draw both patterns on another scale, one of ``patterns.intensities``."""
        self.patterns.show(name)
        self.refresh()

    def refresh(self) -> None:
        """Draw what the state is now, over what does not move."""
        self._update()
        canvas: Any = self.figure.canvas
        if self._background is None:
            canvas.draw()
        else:
            canvas.restore_region(self._background)
            self._draw_moving()
            canvas.blit(self.figure.bbox)
        self._drawn = time.perf_counter()

    def _do(self, change: Callable[..., None], *arguments: float) -> None:
        """Change the state, draw it, and tell what went wrong if anything did."""
        try:
            change(*arguments)
        except (ValueError, OSError, IndexError) as error:
            self.changed(str(error))
            return
        self.refresh()
        self.changed(None)

    def _update(self) -> None:
        self.map.update()
        self.plane.update()
        self.patterns.update()

    def _lay_out(self) -> None:
        """Find where the axes go: once for each map, so that nothing jumps as titles change."""
        ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08).execute(self.figure)

    def _draw_moving(self) -> None:
        for artist in (*self.map.moving, *self.plane.moving, *self.patterns.moving):
            artist.axes.draw_artist(artist)

    def _keep_background(self, _: Any) -> None:
        canvas: Any = self.figure.canvas
        if not canvas.is_saving():
            self._background = canvas.copy_from_bbox(self.figure.bbox)
            self._draw_moving()

    def _press(self, event: MouseEvent) -> None:
        # The toolbar's zoom has the mouse for itself.
        if event.button != 1 or self.figure.canvas.widgetlock.locked():
            return
        if event.xdata is None or event.ydata is None:
            return
        if event.inaxes is self.map.ax:
            self._do(self.state.go_to, round(event.ydata), round(event.xdata))
        elif event.inaxes is self.plane.ax and self.plane.moving:
            self._pressed = float(event.xdata), float(event.ydata)
            if self.mode == POINT:
                self._do(self.state.decode_at, *self._pressed)

    def _move(self, event: MouseEvent) -> None:
        if time.perf_counter() - self._drawn > PAUSE:
            self._drag(event)

    def _release(self, event: MouseEvent) -> None:
        self._drag(event)
        self._pressed = None

    def _drag(self, event: MouseEvent) -> None:
        """Follow the mouse, held within the plane."""
        if self._pressed is None:
            return
        low, high = self.plane.ax.viewLim.get_points()
        x, y = self.plane.ax.transData.inverted().transform((event.x, event.y))
        x, y = float(np.clip(x, low[0], high[0])), float(np.clip(y, low[1], high[1]))
        if self.mode == POINT:
            self._do(self.state.decode_at, x, y)
        else:
            left, bottom = self._pressed
            self._do(self.state.select, left, x, bottom, y)

    def _key(self, event: KeyEvent) -> None:
        if event.key in STEPS:
            place = np.add(self.state.position, STEPS[event.key])
            row, col = np.clip(place, 0, np.subtract(self.state.shape, 1))
            self._do(self.state.go_to, int(row), int(col))
