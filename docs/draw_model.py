# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw the model in one figure: ``python docs/draw_model.py`` writes ``docs/figures/model.png``.

Everything but the encoder's box is computed: a polycrystal with a known truth is fitted, and one of
its patterns is followed through the model.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, ConnectionPatch, FancyBboxPatch
from scipy.ndimage import map_coordinates

from py4dstem_rrvae import RRVAE, Codes, synthetic

OUT = Path(__file__).parent / "figures" / "model.png"
SIZE, COUNTS = 48, 1500.0
ANGLES, RADII, FINE = 360, 24, 20
TURNS = np.arange(ANGLES * FINE) / FINE
CENTER = (SIZE - 1) / 2
PATTERNS, RINGS = "magma", "0.75"
IN, BACK = "#0b6e99", "#b3541e"
"""Colours of the way in (pattern to latents) and back."""


def polar(pattern: np.ndarray) -> np.ndarray:
    """Intensity at (radius, angle), the angle counted from the rows towards the columns."""
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    radius = (np.arange(RADII) + 0.5) * (SIZE / 2 / RADII)
    rows = CENTER + radius[:, None] * np.cos(angle)
    columns = CENTER + radius[:, None] * np.sin(angle)
    return map_coordinates(pattern, [rows, columns], order=1)


def evidence(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Log-likelihood of polar counts for each of `TURNS` of what is expected, less the best.

    That of Poisson counts; the sum over all pixels is one circular correlation along the angle.
    """
    area = (np.arange(RADII) + 0.5)[:, None] * (SIZE / 2 / RADII) ** 2 * 2 * np.pi / ANGLES
    logs = np.log(np.maximum(expected, 1e-3))
    product = np.fft.rfft(counts * area) * np.conj(np.fft.rfft(logs))
    found: np.ndarray = np.fft.irfft(product.sum(axis=0), ANGLES * FINE) * FINE
    return found - found.max()


def symmetrised(pattern: np.ndarray, fold: int) -> np.ndarray:
    """Polar pattern without what breaks its fold: the model takes that for noise."""
    turned: np.ndarray = np.mean(
        [np.roll(pattern, k * ANGLES // fold, axis=1) for k in range(fold)], axis=0
    )
    return turned


def one(codes: Codes, where: int, **changed: np.ndarray) -> Codes:
    """Codes of one pattern, with a length of 1."""
    names = ("z", "z_std", "angle", "angle_std", "fold", "error")
    return replace(Codes(**{n: getattr(codes, n)[where : where + 1] for n in names}), **changed)


def main() -> None:
    """Fit, follow one pattern, draw."""
    scan = synthetic.polycrystal((32, 32), grains=6, size=SIZE, counts=COUNTS, random_state=3)
    frames = scan.frames.reshape(-1, SIZE, SIZE)
    inside, fold = scan.inside.ravel(), scan.fold.ravel()
    model = RRVAE(2, center=(CENTER, CENTER), random_state=0, progress=False, device="cpu")
    codes = model.fit(frames).encode(frames)
    where = int(np.flatnonzero(inside & (fold == 6) & (codes.fold == 6))[40])
    decoded = model.reconstruct(one(codes, where, angle=np.zeros(1)))[0]
    turned = model.reconstruct(one(codes, where))[0]
    expected = symmetrised(polar(decoded), int(codes.fold[where]))
    log_likelihood = evidence(polar(frames[where].astype(float)), expected)

    figure = Figure(figsize=(12, 7.2), facecolor="white")
    grid = figure.add_gridspec(
        2, 4, left=0.06, right=0.945, top=0.86, bottom=0.115, wspace=0.42, hspace=0.72
    )
    top = [figure.add_subplot(grid[0, column]) for column in range(4)]
    low = [figure.add_subplot(grid[1, column]) for column in range(4)]
    draw_pattern(top[0], frames[where], "1  one recorded pattern", rings=True)
    draw_polar(top[1], polar(frames[where].astype(float)), "2  the same in polar bins")
    draw_encoder(top[2], "3  encoder")
    draw_latents(top[3], codes, inside, fold, where, "4  z: what it is")
    draw_polar(low[3], expected, "5  decoder: z at turn 0")
    draw_evidence(low[2], log_likelihood, "6  compare at every turn")
    draw_posterior(low[1], log_likelihood, codes, where, "7  angle: how it is turned")
    draw_pattern(low[0], turned, "8  turned by the angle")
    for ax, colour in [*((ax, IN) for ax in top), *((ax, BACK) for ax in low)]:
        ax.title.set_color(colour)
    say(top[0], "cross: the beam's centre;\nrings: radii of the bins")
    say(top[1], "a turn of the pattern is now\na shift along the angle")
    say(top[2], "a network that a shift\ndoes not change")
    say(top[3], "each dot a pattern; two phases,\nwhatever their orientation")
    say(low[3], "one pattern for all turns (drawn with\nthe background, which does not turn)")
    say(low[2], "how well 5, shifted by each angle, fits 2:\none circular correlation, no network")
    say(low[1], angle_text(codes, where))
    say(low[0], "expected counts; 1 differs from it\nby noise alone: error is near 1")
    arrows(figure, top, low)
    figure.suptitle(
        "pattern  =  background  +  turn( decoder(z), angle )  +  counting noise",
        fontsize=15,
        y=0.975,
    )
    figure.savefig(OUT, dpi=120)


def draw_pattern(ax: Axes, pattern: np.ndarray, title: str, rings: bool = False) -> None:
    """A pattern on the detector; a root, so that weak spots are seen."""
    ax.imshow(np.sqrt(np.maximum(pattern, 0)), cmap=PATTERNS, vmin=0, vmax=6)
    if rings:
        for radius in np.arange(4, SIZE / 2, 4):
            ax.add_patch(Circle((CENTER, CENTER), radius, fill=False, ec=RINGS, lw=0.6))
        ax.plot(CENTER, CENTER, "+", color="white", ms=9)
    ax.set(title=title, xticks=[], yticks=[])


def draw_polar(ax: Axes, pattern: np.ndarray, title: str) -> None:
    """A polar pattern, angle to the right and radius upwards."""
    ax.imshow(
        np.sqrt(np.maximum(pattern, 0)),
        cmap=PATTERNS,
        vmin=0,
        vmax=6,
        origin="lower",
        aspect="auto",
        extent=(0, 360, 0, SIZE / 2),
    )
    ax.set(title=title, xticks=[0, 180, 360], yticks=[], ylabel="radius")
    ax.set_xticklabels(["0°", "angle", "360°"])


def draw_encoder(ax: Axes, title: str) -> None:
    """Layers as boxes: shorter and shorter, then none along the angle."""
    ax.set(title=title, xlim=(0, 10), ylim=(0, 10))
    ax.axis("off")
    steps = [
        (0.4, 8.6, "circular convolutions\nalong the angle", "#cfe5ee"),
        (4.0, 6.4, "mean and maximum\nover the angle", "#9fcbdd"),
        (7.6, 3.0, "z and its\nwidth", "#6fb1cb"),
    ]
    for x, height, text, colour in steps:
        low = 5 - height / 2
        box = FancyBboxPatch((x, low), 1.9, height, boxstyle="round,pad=0.08", fc=colour, ec=IN)
        ax.add_patch(box)
        ax.text(x + 0.95, 5, text, ha="center", va="center", rotation=90, fontsize=8.5)
    for x in (2.5, 6.1):
        ax.annotate(
            "", (x + 1.35, 5), (x, 5), arrowprops={"arrowstyle": "->", "color": IN, "lw": 1.6}
        )


def draw_latents(
    ax: Axes, codes: Codes, inside: np.ndarray, fold: np.ndarray, where: int, title: str
) -> None:
    """All patterns in the plane of z, and this one."""
    for n, colour in ((4, "#999933"), (6, "#332288")):
        chosen = inside & (fold == n)
        ax.plot(*codes.z[chosen].T, ".", ms=2.5, color=colour, label=f"{n}-fold phase")
    ax.errorbar(
        *codes.z[where],
        *codes.z_std[where][::-1],
        fmt="o",
        color="#cc3311",
        mec="white",
        ms=6,
        zorder=3,
        label="this one",
    )
    ax.legend(fontsize=8, loc="best", frameon=False)
    ax.set(title=title, xlabel="z1", ylabel="z2", xticks=[], yticks=[])
    ax.margins(0.25)


def draw_evidence(ax: Axes, log_likelihood: np.ndarray, title: str) -> None:
    """Log-likelihood over the turn."""
    ax.plot(TURNS, log_likelihood, color=BACK)
    ax.set(title=title, xlim=(0, 360), ylabel="log-likelihood", yticks=[])
    ax.set_xticks([0, 180, 360], ["0°", "turn", "360°"])


def draw_posterior(
    ax: Axes, log_likelihood: np.ndarray, codes: Codes, where: int, title: str
) -> None:
    """Its exponential; one of the narrow peaks also enlarged."""
    posterior = np.exp(log_likelihood)
    ax.plot(TURNS, posterior, color=BACK, lw=1.6)
    ax.set(title=title, xlim=(0, 360), ylim=(0, 2.6), ylabel="probability", yticks=[])
    ax.set_xticks([0, 180, 360], ["0°", "turn", "360°"])
    peaks = TURNS[is_peak(log_likelihood)]
    ax.annotate("", (peaks[0], 1.12), (peaks[1], 1.12), arrowprops={"arrowstyle": "<->"})
    ax.text(peaks[:2].mean(), 1.18, f"360° / {codes.fold[where]}", ha="center", fontsize=9)
    zoom = ax.inset_axes((0.56, 0.58, 0.4, 0.38))
    near = np.abs(TURNS - peaks[-2]) < 2
    zoom.fill_between(TURNS[near] - peaks[-2], posterior[near], color=BACK, alpha=0.6)
    zoom.set(xlim=(-2, 2), ylim=(0, 1.1), yticks=[])
    zoom.set_xticks([-1, 0, 1], ["-1°", "0", "1°"], fontsize=8)
    ax.indicate_inset((peaks[-2] - 4, 0, 8, 1.04), zoom, edgecolor="0.4")


def is_peak(values: np.ndarray) -> np.ndarray:
    """Where no neighbour within 20 degrees is higher."""
    around = np.stack([np.roll(values, shift) for shift in range(-20 * FINE, 20 * FINE + 1)])
    peak: np.ndarray = values == around.max(axis=0)
    return peak


def angle_text(codes: Codes, where: int) -> str:
    """What the maps say of the angle."""
    angle, width = np.degrees(codes.angle[where]), np.degrees(codes.angle_std[where])
    fold = codes.fold[where]
    return f"{fold} equal peaks: fold = {fold},\nangle = {angle:.1f}° ± {width:.1f}° modulo 60°"


def say(ax: Axes, text: str) -> None:
    """A line or two under a panel."""
    ax.text(
        0.5,
        -0.17,
        text,
        transform=ax.transAxes,
        ha="center",
        va="top",
        fontsize=9.5,
        linespacing=1.25,
    )


def arrows(figure: Figure, top: list[Axes], low: list[Axes]) -> None:
    """The way in along the upper row, and back along the lower one."""

    def arrow(
        start: Axes,
        at: tuple[float, float],
        end: Axes,
        to: tuple[float, float],
        colour: str,
        **style: Any,
    ) -> None:
        figure.add_artist(
            ConnectionPatch(
                at,
                to,
                start.transAxes,
                end.transAxes,
                color=colour,
                **({"arrowstyle": "-|>", "mutation_scale": 22, "lw": 2.4} | style),
            )
        )

    for left, right in pairwise(top):
        arrow(left, (1.05, 0.5), right, (-0.14, 0.5), IN)
    for right, left in zip(low[:0:-1], low[-2::-1], strict=True):
        arrow(right, (-0.16, 0.5), left, (1.06, 0.5), BACK)
    arrow(top[3], (1.02, 0.5), low[3], (1.02, 0.5), BACK, connectionstyle="arc3,rad=-0.22")
    arrow(top[1], (1.02, 0.05), low[2], (-0.03, 0.97), IN, lw=1.6)
    same = {"arrowstyle": "<|-|>", "lw": 1.6, "ls": "--", "connectionstyle": "arc3,rad=0.22"}
    arrow(top[0], (-0.03, 0.4), low[0], (-0.03, 0.6), "0.4", **same)
    figure.text(0.012, 0.48, "the same but for noise", rotation=90, va="center", color="0.3")


if __name__ == "__main__":
    main()
