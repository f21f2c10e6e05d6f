# SPDX-License-Identifier: GPL-3.0-or-later
"""Where estimates of the centre end up, for mean patterns whose centre is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from py4dstem_rrvae.detector.center import estimate_center
from py4dstem_rrvae.detector.center_refinement import refine_center
from py4dstem_rrvae.synthetic import Camera, Shape, _expected, _lobed_ring

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Estimate = Callable[[Array, Mask | None], tuple[float, float]]
"""Of the means of either half of the patterns, (2, H, W), and the mask."""

SIZE = 64
STOPS = ("none", "masked", "in the data", "blurred, in the data")
# A stop out of focus: its edge, in pixels, and what comes through.
BLUR, LEAK = 1.0, 0.01


def _disc(radius: Array, angle: Array, tilt: Array, _: Array) -> Array:
    """A bright disc, brighter on one side by `tilt`, and a dim lobed ring around it."""
    disc = (1 + tilt * radius * np.cos(angle)) / (1 + np.exp((radius - 0.4) / 0.02))
    return disc + 0.02 * _lobed_ring(radius - 0.15, angle, np.float64(3), np.float64(0)) + 0.005


def _spots(radius: Array, angle: Array, _: Array, __: Array) -> Array:
    """A central disc and six Bragg discs of unequal brightness."""
    row, col = radius * np.cos(angle), radius * np.sin(angle)
    spots = [(0.0, 0.0, 1.0)]
    spots += [(0.55, np.pi / 3 * k + 0.2, 0.15 + 0.1 * np.cos(k)) for k in range(6)]
    pattern = np.full_like(radius, 0.003)
    for r, phi, height in spots:
        distance = np.hypot(row - r * np.cos(phi), col - r * np.sin(phi))
        pattern = pattern + height / (1 + np.exp((distance - 0.15) / 0.015))
    return pattern


def halves(scene: str, camera: Camera, rng: np.random.Generator) -> Array:
    """Two means of 500 patterns of 5,000 counts, all from one grain except in "rings"."""
    turns = rng.uniform(0, 2 * np.pi, 400 if scene == "rings" else 1)
    shapes: dict[str, tuple[Shape, float]] = {
        "disc": (_disc, 0.0),
        "disc, brighter on one side": (_disc, 0.5),
        "Bragg discs": (_spots, 0.0),
        "rings": (_lobed_ring, 3.0),
    }
    shape, parameter = shapes[scene]
    parameters = np.full(len(turns), parameter), rng.uniform(-1, 1, len(turns))
    expected = _expected(shape, SIZE, 5000.0, turns, *parameters, camera=camera)
    means: Array = rng.poisson(np.stack(2 * [expected.mean(axis=0)]) * 500) / 500
    return means


def mean_pattern(scene: str, camera: Camera, rng: np.random.Generator) -> Array:
    """Mean of all 1,000."""
    mean: Array = halves(scene, camera, rng).mean(axis=0)
    return mean


SCENES = ("disc", "disc, brighter on one side", "Bragg discs", "rings")


def beam_stop(shape: tuple[int, int], center: Array, angle: float, width: float = 6.0) -> Array:
    """Gain of pixels around a rod with a round end, 1.5 widths across, over the beam."""
    row, col = (np.moveaxis(np.indices(shape), 0, -1) - center).transpose(2, 0, 1)
    along, across = row * np.cos(angle) + col * np.sin(angle), col * np.cos(angle)
    across = across - row * np.sin(angle)
    rod = (along > 0) & (np.abs(across) < width / 2)
    return np.where(rod | (np.hypot(row, col) < 0.75 * width), 0.0, 1.0)


def mass(patterns: Array, mask: Mask | None) -> tuple[float, float]:
    """Centre of mass of what the mask keeps."""
    pattern = patterns.mean(axis=0)
    row, col = ndimage.center_of_mass(pattern if mask is None else pattern * mask)
    return float(row), float(col)


def half_level(patterns: Array, mask: Mask | None) -> tuple[float, float]:
    """Centroid of the pixels above half of the bright level."""
    from py4dstem_rrvae.detector import center

    pattern = patterns.mean(axis=0)
    kept = np.ones(pattern.shape, dtype=bool) if mask is None else mask
    return center.bright_centroid(center.despiked(pattern, kept), kept)


def estimated(patterns: Array, mask: Mask | None) -> tuple[float, float]:
    """What the package takes where no centre is known."""
    return estimate_center(patterns.mean(axis=0), mask)[0]


def refined(patterns: Array, mask: Mask | None) -> tuple[float, float]:
    """What it takes with ``center="refine"``."""
    return refine_center(patterns, None, mask)


ESTIMATES: dict[str, Estimate] = {
    "centre of mass": mass,
    "bright pixels' centroid": half_level,
    "estimated": estimated,
    "refined": refined,
}


def errors(
    scene: str, stop: str, estimate: Estimate, seeds: Iterable[int], start: float | None = None
) -> Array:
    """Distance in pixels of estimates from the truth, which lies up to 5 pixels off the middle.

    With `start`, a centre so many pixels off is refined instead.
    """
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        center = (SIZE - 1) / 2 + rng.uniform(-5, 5, 2)
        # Nobody puts the stop exactly on the beam.
        head = center + rng.uniform(-1.5, 1.5, 2)
        gain = beam_stop((SIZE, SIZE), head, rng.uniform(0, 2 * np.pi))
        if stop.startswith("blurred"):
            gain = np.maximum(ndimage.gaussian_filter(gain, BLUR), LEAK)
        camera = Camera((SIZE, SIZE), center, gain=None if stop == "none" else gain)
        patterns, mask = halves(scene, camera, rng), camera.mask if stop == "masked" else None
        if start is None:
            place = estimate(patterns, mask)
        else:
            row, col = center + start * np.array([np.cos(seed), np.sin(seed)])
            place = refine_center(patterns, (row, col), mask)
        found.append(np.hypot(*(np.asarray(place) - center)))
    return np.array(found)


def estimates(seeds: Iterable[int]) -> list[dict[str, str]]:
    """Median and worst error in pixels of each estimate."""
    seeds = list(seeds)
    rows = []
    for scene in SCENES:
        for stop in STOPS:
            row = {"mean pattern": scene, "beam stop": stop}
            for name, estimate in ESTIMATES.items():
                error = errors(scene, stop, estimate, seeds)
                row[name] = f"{np.median(error):.2f}, {error.max():.2f}"
            for start in (0.0, 1.0):
                error = errors(scene, stop, refined, seeds, start)
                row[f"refined from {start:g} off"] = f"{np.median(error):.2f}, {error.max():.2f}"
            rows.append(row)
    return rows
