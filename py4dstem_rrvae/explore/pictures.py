# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of an explorer: map, latent plane, and measured beside decoded pattern.

Each is drawn once into its axes; `moving` are the artists that `update` gives what the state says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, PowerNorm, to_rgba
from matplotlib.patches import Ellipse, Rectangle
from numpy.typing import NDArray

from ..plot import map_panels, scale_bar
from .plane import Plane
from .state import REACH, State
from .words import Scale

# Of the brightest pixels, which a hot one would else take all the colours for.
BRIGHTEST, FARTHEST = 99.9, 99.0
FLOOR = 1e-3
"""Darkest intensity of the logarithm, as a share of the brightest."""
ROOT, LESS_MEAN = "square root", "less the mean"
"""The latter is what stands out of the mean of what is decoded, on a scale about zero."""
NORMS: dict[str, Callable[[], Normalize]] = {
    "linear": lambda: Normalize(0, 1, clip=True),
    ROOT: lambda: PowerNorm(0.5, 0, 1, clip=True),
    "logarithm": lambda: LogNorm(FLOOR, 1, clip=True),
    LESS_MEAN: lambda: Normalize(-1, 1),
}
# Above so many positions the plane shows how many lie where, not each of them.
MOST_DOTS = 10_000
BINS = 128
# Whatever a user's settings of matplotlib say: rows count downwards, as in the maps.
PIXELS: dict[str, Any] = {"origin": "upper", "interpolation": "nearest", "animated": True}
NEAR, CHOSEN = "#ff2d2d", "#ff9500"
# Of a map, where a box has chosen some positions.
DIMMED = 0.4


class MapPicture:
    """One of the maps, with the position, the positions near the point, and those in the box."""

    def __init__(
        self, ax: Axes, state: State, scale: Scale, repeatability: Sequence[float]
    ) -> None:
        off = [f"z{number}" for number, gone in enumerate(state.collapsed, 1) if gone]
        self.ax, self.state, self.scale = ax, state, scale
        self._panels = map_panels(state.maps, off, repeatability)
        self.names = list(self._panels)
        if not self.names:
            raise ValueError("there are no maps to look at: call fit or encode first")
        self.show(next((name for name in self.names if name[0] == "z"), self.names[0]))

    def show(self, name: str) -> None:
        """Draw one of `names`."""
        ax, (rows, cols) = self.ax, self.state.shape
        self.name = name
        ax.clear()
        self._panels[name](ax)
        ax.set_aspect(self.scale.pixel_ratio)
        ax.set_title(name, fontsize=10)
        ax.set_xticks([])
        ax.set_yticks([])
        scale_bar(ax, self.scale.pixel_size, self.scale.units, cols)
        clear = np.zeros((rows, cols, 4), dtype=np.uint8)
        self._marks = ax.imshow(clear, **PIXELS)
        ax.set_aspect(self.scale.pixel_ratio)
        self._marked: tuple[Any, Any] = (None, None)
        self._rings = _rings(ax)
        self.moving = [self._marks, *self._rings]

    def update(self) -> None:
        """Put the ring at the position; mark what is near and what is chosen, if that is new."""
        state = self.state
        row, col = state.position
        for ring in self._rings:
            ring.set_data([col], [row])
        wanted = state.point, state.box
        if wanted != self._marked:
            marks = np.zeros((*state.shape, 4), dtype=np.uint8)
            if state.box is not None:
                marks[..., 3] = round(255 * DIMMED)
                marks[state.mask] = _bytes(CHOSEN)
            marks[state.near] = _bytes(NEAR)
            self._marks.set_data(marks)
            self._marked = wanted


class PlanePicture:
    """Every position by its codes, with the point, the position and the box; or a sentence."""

    def __init__(self, ax: Axes, state: State) -> None:
        self.ax, self.state = ax, state
        self.moving: list[Any] = []
        plane = state.plane
        if isinstance(plane, str):
            ax.set_axis_off()
            ax.text(0.5, 0.5, plane, ha="center", va="center", wrap=True, transform=ax.transAxes)
            return
        across, up = plane.limits
        ax.set(xlim=across, ylim=up, xlabel=plane.names[0], ylabel=plane.names[1])
        ax.set_box_aspect(1)
        ax.set_title("latent plane", fontsize=10)
        _fill(ax, plane)
        width, height = (2 * radius for radius in plane.radii(REACH))
        self._box = Rectangle((0, 0), 0, 0, fill=False, ec=CHOSEN, lw=2, animated=True)
        self._reach = Ellipse((0, 0), width, height, fill=False, ec=NEAR, lw=1.5, animated=True)
        (self._cross,) = ax.plot([], [], "+", ms=9, mew=1.5, color=NEAR, animated=True)
        ax.add_patch(self._box)
        ax.add_patch(self._reach)
        self._rings = _rings(ax)
        self.moving = [self._box, *self._rings, self._reach, self._cross]

    def update(self) -> None:
        """Put the point, the position and the box where they are."""
        state = self.state
        if isinstance(state.plane, str):
            return
        for ring in self._rings:
            ring.set_data([state.plane.x[state.position]], [state.plane.y[state.position]])
        self._reach.set_visible(state.point is not None)
        self._cross.set_visible(state.point is not None)
        if state.point is not None:
            self._reach.set_center(state.point)
            self._cross.set_data([state.point[0]], [state.point[1]])
        self._box.set_visible(state.box is not None)
        if state.box is not None:
            left, right, bottom, top = state.box
            self._box.set_bounds(left, bottom, right - left, top - bottom)


class PatternPictures:
    """The measured and the decoded pattern, on one scale."""

    def __init__(self, axes: Sequence[Axes], state: State) -> None:
        self.state, self.intensity = state, ROOT
        blank = np.zeros_like(state.measured) if state.decoded is None else state.decoded
        self._images, self._titles = [], []
        for ax, pattern in zip(axes, (state.measured, blank), strict=True):
            ax.set_xticks([])
            ax.set_yticks([])
            self._images.append(ax.imshow(pattern, **PIXELS))
            # Two lines, so that the layout leaves room for them.
            title = ax.set_title("\n", fontsize=9)
            title.set_animated(True)
            self._titles.append(title)
        frames = [spine for ax in axes for spine in ax.spines.values()]
        for frame in frames:
            frame.set_animated(True)
        self.moving = [*self._images, *self._titles, *frames]
        self.show(ROOT)

    @property
    def intensities(self) -> list[str]:
        """Scales to choose from."""
        return [name for name in NORMS if name != LESS_MEAN or self.state.model is not None]

    def show(self, intensity: str) -> None:
        """Take one of `intensities`."""
        self.intensity, norm = intensity, NORMS[intensity]()
        for image in self._images:
            image.set(norm=norm, cmap="RdBu_r" if intensity == LESS_MEAN else "inferno")

    def update(self) -> None:
        """Show the patterns of the state."""
        state, about_zero = self.state, self.intensity == LESS_MEAN
        shown = [pattern for pattern in (state.measured, state.decoded) if pattern is not None]
        if about_zero and state.mean is not None:
            shown = [_less(pattern, state.factor * state.mean) for pattern in shown]
        top = _brightest(shown, FARTHEST if about_zero else BRIGHTEST)
        for image, pattern in zip(self._images, shown, strict=False):
            image.set_data(pattern)
        self._images[1].set_visible(len(shown) == 2)
        low = {LESS_MEAN: -top, "logarithm": FLOOR * top}.get(self.intensity, 0.0)
        self._images[0].set_clim(low, top)  # the norm is that of both
        row, col = state.position
        scale = f"colours {_number(low)} to {_number(top)}"
        self._titles[0].set_text(
            f"measured at row {row}, column {col}\nsum {_number(state.measured.sum())}, {scale}"
        )
        self._titles[1].set_text(_about_decoded(state))


def _about_decoded(state: State) -> str:
    if state.decoded is None:
        return f"not decoded\n{'no model is given' if state.model is None else 'no codes here'}"
    where = "at the cross in the plane" if state.moved else "there"
    times = f", {state.factor:.3g} of the model's" if state.rescale else ""
    return f"decoded {where}\nsum {_number(state.decoded.sum())}{times}"


def _rings(ax: Axes) -> list[Any]:
    """A ring that is seen on dark and on bright."""
    return [
        ax.plot([], [], "o", ms=11, mew=width, mfc="none", mec=colour, animated=True)[0]
        for width, colour in ((3.5, "black"), (1.5, "white"))
    ]


def _fill(ax: Axes, plane: Plane) -> None:
    """Every position as a dot, or how many lie where if there are many."""
    seen = np.isfinite(plane.x)
    x, y = plane.x[seen], plane.y[seen]
    if x.size <= MOST_DOTS:
        ax.plot(x, y, ".", ms=3, alpha=0.4, color="0.2", mew=0)
        return
    counts, *_ = np.histogram2d(x, y, BINS, plane.limits)
    ax.imshow(
        np.ma.masked_equal(counts.T, 0),
        extent=(*plane.limits[0], *plane.limits[1]),
        origin="lower",
        aspect="auto",
        cmap="Greys",
        interpolation="nearest",
        norm=LogNorm(0.3, max(counts.max(), 1)),
    )


def _bytes(colour: str) -> list[int]:
    return [round(255 * part) for part in to_rgba(colour)]


def _less(pattern: NDArray[Any], mean: NDArray[Any]) -> NDArray[Any]:
    """A pattern less the mean; itself where it is of another detector than the model decodes."""
    return pattern - mean if pattern.shape == mean.shape else pattern


def _brightest(patterns: Sequence[NDArray[Any]], percentile: float) -> float:
    """Intensity of the brightest colour for all of them."""
    sizes = [np.abs(pattern) for pattern in patterns]
    top = max(float(np.percentile(size, percentile)) for size in sizes)
    return top or max(float(size.max()) for size in sizes) or 1.0


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
