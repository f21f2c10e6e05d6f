# SPDX-License-Identifier: GPL-3.0-or-later
"""Scans to explore, an array that counts what is read of it, and a mouse for matplotlib."""

import numpy as np
from matplotlib.backend_bases import KeyEvent, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from py4dstem_rrvae import Codes
from py4dstem_rrvae.explore.view import View

SCAN = (8, 10)


def codes_of(z, error=None, fold=1):
    """Codes (rows, cols) with these latents."""
    z = np.asarray(z, dtype=float)
    angle = np.linspace(0.1, 0.9, z[..., 0].size).reshape(z.shape[:-1])
    error = np.ones_like(angle) if error is None else error
    fold = np.full(angle.shape, fold)
    return Codes(z, np.full_like(z, 0.1), angle, np.full_like(angle, 0.05), fold, error)


class Counting:
    """An array that remembers which parts of it were read."""

    ndim = 4

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.reads = array, array.shape, array.dtype, []

    def __getitem__(self, index):
        part = self.array[index]
        self.reads.append(np.shape(part))
        return part


def view_of(state, **options):
    """A view on the canvas that has no window."""
    figure = Figure(figsize=(8.8, 7.6), dpi=80)
    FigureCanvasAgg(figure)
    view = View(state, figure, **options)
    figure.canvas.draw()
    return view


def at(ax, x, y):
    """Pixels of a place in the axes."""
    return ax.transData.transform((x, y))


def event(view, name, ax, x, y, button=1):
    canvas = view.figure.canvas
    canvas.callbacks.process(name, MouseEvent(name, canvas, *at(ax, x, y), button))


def click(view, ax, x, y, button=1):
    event(view, "button_press_event", ax, x, y, button)
    event(view, "button_release_event", ax, x, y, button)


def drag(view, ax, start, *ways):
    event(view, "button_press_event", ax, *start)
    for way in ways:
        event(view, "motion_notify_event", ax, *way)
    event(view, "button_release_event", ax, *ways[-1])


def press(view, key):
    canvas = view.figure.canvas
    canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))


def pixels(view):
    return np.asarray(view.figure.canvas.buffer_rgba()).copy()
