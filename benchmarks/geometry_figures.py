# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of `benchmarks.geometry`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from py4dstem_rrvae.synthetic import Camera, _expected, _lobed_ring

from . import centers
from .distorted import NUMBERS, SIZE, Scores, cameras

IGNORED, HANDLED = "tab:orange", "tab:blue"
TITLES = ("undistorted", "descan", "ellipse", "pixels 1 : 1.2", "stop, bad pixels")
TITLES = (*TITLES, "turned by 30°", "turned, flipped")


def write(folder: Path, costs: dict[tuple[str, str], Scores], wrong: dict[float, Scores]) -> None:
    """All figures, as PNGs in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "geometry_distortions": distortions(costs),
        "geometry_wrong_center": wrong_center(wrong),
        "geometry_center_estimates": estimates(),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110)


def distortions(costs: dict[tuple[str, str], Scores]) -> Figure:
    """One pattern as each camera records it, and what that costs."""
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.5))
    seen = cameras(1000)
    for axes, title, camera in zip(
        above.subplots(1, len(seen)), TITLES, seen.values(), strict=True
    ):
        _pattern(axes, camera)
        axes.set_title(title, fontsize=10)
    above.suptitle("the same pattern as recorded; circles of q as assumed (dashed) and as they are")
    panels = below.subplots(1, 4, sharey=True)
    worst = {
        "deformation found from z, R²": lambda s: s.deformation,
        "share of z that is turn": lambda s: s.leak,
        "angle error / Cramér-Rao bound\n(worst class; 0.67 is perfect)": lambda s: max(s.angle),
        "direction off its true one, degrees": lambda s: s.direction,
    }
    for axes, (label, figure_of) in zip(panels, worst.items(), strict=True):
        for place, name in enumerate(seen):
            for way, colour, shift in (("ignored", IGNORED, -0.2), ("handled", HANDLED, 0.2)):
                scores = costs.get((name, way), costs.get((name, "")))
                if scores and (name, way) != ("none", "ignored"):
                    value = figure_of(scores)
                    axes.barh(place + shift, value, 0.38, color=colour)
                    axes.text(value, place + shift, f" {value:.3g}", va="center", fontsize=8)
        axes.set_xlabel(label)
        axes.margins(x=0.2)
        if label.startswith(("angle", "direction")):
            axes.set_xscale("log")
            axes.set_xlim(0.3, 400)
        axes.set_yticks(range(len(seen)), TITLES)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    keys = [panels[-1].barh(0, 0, color=colour) for colour in (IGNORED, HANDLED)]
    panels[-1].legend(keys, ["ignored", "handled"], loc="upper right")
    return figure


def _pattern(axes: Any, camera: Camera) -> None:
    """Expected counts of a three-lobed pattern and a circle of q about the origin."""
    camera = camera.part(slice(0, 1))
    parameters = (np.array([np.radians(100)]), np.array([float(NUMBERS[1])]), np.zeros(1))
    expected = _expected(_lobed_ring, SIZE, 5000.0, *parameters, camera=camera)[0]
    axes.imshow(np.sqrt(expected), cmap="magma", vmax=np.sqrt(45))
    phi = np.linspace(0, 2 * np.pi, 200)
    circle = 0.55 * SIZE / 2 * np.stack([np.cos(phi), np.sin(phi)])
    middle = (np.asarray(camera.shape) - 1) / 2
    row, col = camera.origin.reshape(2, 1) + np.linalg.solve(camera.matrix, circle)
    axes.plot(middle[1] + circle[1], middle[0] + circle[0], "w--", lw=0.8)
    axes.plot(col, row, "c-", lw=0.8)
    # The scan's row axis, as the detector sees it.
    tip = np.linalg.solve(camera.matrix, [0.8 * SIZE / 2, 0.0])
    start = camera.origin.reshape(2)
    axes.annotate(
        "",
        (start[1] + tip[1], start[0] + tip[0]),
        start[::-1],
        arrowprops={"color": "lime", "width": 0.5, "headwidth": 4, "headlength": 4},
    )
    axes.set_axis_off()


def wrong_center(wrong: dict[float, Scores]) -> Figure:
    """Figures of merit over the distance of the assumed centre from the true one."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    distance = list(wrong)
    first.plot(distance, [s.accuracy for s in wrong.values()], "o-", label="10-NN class accuracy")
    first.plot(distance, [s.deformation for s in wrong.values()], "s-", label="deformation, R²")
    first.plot(distance, [s.leak for s in wrong.values()], "^-", label="share of z that is turn")
    first.set_ylim(-0.02, 1.04)
    first.set_ylabel("latents")
    first.legend()
    angle = np.array([s.angle for s in wrong.values()])
    for number, ratio in zip(NUMBERS, angle.T, strict=True):
        second.plot(distance, ratio, "o-", label=f"{number}-fold")
    second.axhline(0.674, color="grey", lw=0.8, ls="--")
    second.set_ylabel("median angle error / bound")
    second.set_ylim(bottom=0)
    second.legend()
    third.plot(distance, [s.direction for s in wrong.values()], "o-", color="tab:red")
    third.set_ylabel("direction off its true one, degrees")
    third.set_ylim(bottom=0)
    for axes in (first, second, third):
        axes.set_xlabel("assumed centre off the true one, pixels")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def estimates() -> Figure:
    """Mean patterns behind a beam stop without a mask, and where their centre is found."""
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    center = np.array([30.0, 33.0])
    gain = centers.beam_stop((centers.SIZE, centers.SIZE), center + np.array([0.5, 1.0]), 0.6)
    camera = Camera((centers.SIZE, centers.SIZE), center, gain=gain)
    for axes, scene in zip(figure.subplots(1, 4), centers.SCENES, strict=True):
        patterns = centers.halves(scene, camera, np.random.default_rng(0))
        axes.imshow(np.sqrt(patterns.mean(axis=0)), cmap="gray")
        lines = []
        marks = zip(centers.ESTIMATES.items(), "sD^x", ("C0", "C1", "C2", "C4"), strict=True)
        for (name, estimate), mark, colour in marks:
            row, col = estimate(patterns, None)
            off = np.hypot(row - center[0], col - center[1])
            style = {"color": colour, "mfc": "none", "ms": 8, "mew": 1.5}
            lines += axes.plot(col, row, mark, label=f"{name}: {off:.2f} px", **style)
        axes.plot(center[1], center[0], "+", ms=16, color="tab:red", label="truth")
        axes.set_title(scene, fontsize=10)
        axes.set_axis_off()
        axes.set_xlim(12, 54)
        axes.set_ylim(56, 8)
        axes.legend(loc="lower center", fontsize=7.5, bbox_to_anchor=(0.5, -0.4))
    figure.suptitle("beam stop without a mask: where the centre is found")
    return figure
