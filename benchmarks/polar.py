# SPDX-License-Identifier: GPL-3.0-or-later
"""What the way into polar bins costs the angle, for known patterns.

``python -m benchmarks.polar`` prints, per number of lobes, the median angle error over the
Cramer-Rao bound when the angle is looked for with the very pattern that made the counts: 0.67 is
the best there is, and what lies above is the fault of the bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from py4dstem_rrvae import synthetic
from py4dstem_rrvae.detector import bin_operator, bins
from py4dstem_rrvae.detector.transform import BinTransform
from py4dstem_rrvae.model import angle

from .quality import Row, table
from .scores import angle_error_over_bound

SIZE, TURNS = 48, 32
GRID = bins.PolarGrid(24.0, 20, 64)
DETECTOR = bins.Detector((SIZE, SIZE), (23.5, 23.5), np.eye(2))

Frames = NDArray[np.generic]


def summed(frames: Frames, degree: int, splits: tuple[int, ...]) -> torch.Tensor:
    """Counts summed into bins, Anscombe-transformed: splines' degree, parts of the pixels."""
    kept, bin_operator.SPLITS = bin_operator.SPLITS, splits
    try:
        binned = BinTransform(DETECTOR, replace(GRID, degree=degree))(frames)
    finally:
        bin_operator.SPLITS = kept
    return 2 * (binned + 0.375).sqrt()


def sampled(frames: Frames) -> torch.Tensor:
    """Square roots of single pixels, sampled at the bins' centres by bilinear interpolation."""
    radius = (np.arange(GRID.n_radial) + 0.5) * GRID.radius_max / GRID.n_radial
    phi = 2 * np.pi * np.arange(GRID.n_angular) / GRID.n_angular
    where = 23.5 + np.stack([np.outer(radius, np.cos(phi)), np.outer(radius, np.sin(phi))])
    roots = 2 * np.sqrt(frames + 0.375)
    return torch.tensor(
        np.stack([map_coordinates(r, where, order=1, mode="nearest") for r in roots])
    ).float()


WAYS = {"point-sampled roots": sampled} | {
    f"summed, degree {degree}, parts {' '.join(map(str, splits))}": partial(
        summed, degree=degree, splits=splits
    )
    for degree in (0, 2)
    for splits in ((1,) * 4, (2,) * 4, (4,) * 4, bin_operator.SPLITS)
}
"""Ways into the bins by name; parts along a pixel's side, from the centre outwards."""


def angles(
    truth: synthetic.Patterns, to_bins: Callable[[Frames], torch.Tensor]
) -> NDArray[np.float64]:
    """Angle of each pattern by correlation with its own expectation, averaged over turns."""
    template = torch.zeros(len(truth.frames), *GRID.shape)
    step = GRID.n_angular // TURNS
    for turn in range(TURNS):
        at = np.full(len(truth.frames), 2 * np.pi * turn * step / GRID.n_angular)
        expected = synthetic._expected(
            synthetic._lobed_ring,
            SIZE,
            float(truth.frames.sum(axis=(1, 2)).mean()),
            at,
            truth.fold.astype(float),
            truth.deformation,
        )
        template += torch.roll(to_bins(expected), -turn * step, dims=-1) / TURNS
    spectra = (torch.fft.rfft(x, norm="ortho") for x in (to_bins(truth.frames), template))
    pattern, model = spectra
    correlation = (pattern * model.conj()).sum(dim=1)
    return angle.peak(correlation, 16 * GRID.n_angular).double().numpy()


def main() -> None:
    for counts in (200, 5000):
        truth = synthetic.lobes(800, size=SIZE, counts=counts)
        rows: list[Row] = []
        for name, way in WAYS.items():
            ratios = angle_error_over_bound(truth, angles(truth, way))
            rows.append(
                {"bins": name} | dict(zip("236", (f"{r:.2f}" for r in ratios), strict=True))
            )
        table(f"Median angle error over bound, {counts} counts", rows)


if __name__ == "__main__":
    main()
