# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a scan's bins the place of the beam on the pixel grid explains.

``python -m benchmarks.wander [NAME ...] [--cache FOLDER]`` fits waves in the sub-pixel place of the
origin to every stabilised bin of a simulated scan, and prints what they explain of each pattern, in
units of the noise and less what they explain of noise alone: with bins as they come, with bins
scaled to the area they have at the mean origin, and with what the grid does to the mean pattern
taken off as well, as `RRVAE` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from py4dstem_rrvae import simulate
from py4dstem_rrvae.detector.intensity import Intensity
from py4dstem_rrvae.scan.binning import Binner
from py4dstem_rrvae.scan.sampling import draw

from . import cases
from .quality import Row, table

Array = NDArray[np.float64]
NAMES = ("measured_pristine", "measured_silicon", "measured_vacancy")
# Operators serve eighths of a pixel.
STEPS = 8


def waves(origins: Array) -> Array:
    """Functions (n, k) of the sub-pixel place of ``origins (n, 2)``, orthonormal, without mean.

    Waves of up to two periods a pixel, and how far an origin lies from the nearest eighth of one.
    """
    row, col = 2 * np.pi * origins.T
    turns = np.stack([row, col, row + col, row - col, 2 * row, 2 * col], axis=1)
    beyond = origins - np.round(origins * STEPS) / STEPS
    every = np.column_stack([np.cos(turns), np.sin(turns), beyond])
    orthonormal: Array = np.linalg.qr(every - every.mean(axis=0))[0]
    return orthonormal


def explained(binned: Tensor, origins: Array, independent: float) -> float:
    """What `waves` explain of ``binned (n, R, A)`` per pattern, beyond noise alone."""
    flat = Intensity("sqrt", torch.ones(()))(binned).flatten(1).double().numpy()
    functions = waves(origins)
    parts = functions.T @ (flat - flat.mean(axis=0))
    return float(((parts**2).sum() - functions.shape[1] * independent) / len(flat))


def measure(name: str, cache: Path | None) -> Row:
    scan = simulate.recorded(name, cache=cache)
    frames = cases.frames(scan)
    origins = frames.origins()
    assert origins is not None
    binner, everything = Binner.of(frames), np.arange(len(frames))
    patterns = scan.patterns.reshape(-1, *scan.patterns.shape[2:])
    raw = torch.empty(len(frames), *binner.grid.shape)
    for own, operator, seen in binner.operators(patterns, everything):
        raw[own] = operator.bin(seen)
    stages = {
        "bins as they come": raw,
        "of one area": binner.polar(patterns, everything),
        "less the grid's part of the mean": draw(
            frames, len(frames), np.random.default_rng(0)
        ).binned,
    }
    independent = binner.transform.dof.sum().item()
    row: Row = {"scan": name}
    return row | {k: f"{explained(b, origins, independent):.1f}" for k, b in stages.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    rows = [measure(name, options.cache) for name in options.names]
    table("Explained by the origin's place on the pixel grid, chi-square per pattern", rows)


if __name__ == "__main__":
    main()
