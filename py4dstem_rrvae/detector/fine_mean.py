# SPDX-License-Identifier: GPL-3.0-or-later
"""A scan's mean pattern, finer than the detector's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .arrays import FloatArray
from .bins import NO_PIXELS, Detector

# Radial cells in pixels, and cells around. A disc's edge rises over a pixel, and no disc is so far
# from round that more cells around would be needed.
STEP, SECTORS = 0.125, 16


@dataclass(frozen=True)
class FineMean:
    """Mean intensity of a pixel, by where its middle lies about the beam.

    Pixels all round lie at different distances from the beam, and elsewhere again as it wanders, so
    that together they sample the pattern finely, what the pixels' own size smooths included.

    Attributes
    ----------
    values : ndarray, shape (n, SECTORS)
        At the radii ``k * STEP`` pixels, averaged over each sector of the circle.
    """

    values: FloatArray

    @classmethod
    def of(cls, sums: FloatArray) -> FineMean:
        """Mean of all patterns in `cell_sums`; gaps are closed from the ring, then along r.

        Raises
        ------
        ValueError
            If no pixel was seen.
        """
        intensity, pixels = sums
        ring = pixels.sum(axis=1)
        if not ring.any():
            raise ValueError(NO_PIXELS)
        radial = intensity.sum(axis=1) / np.maximum(ring, 1e-12)
        k, seen = np.arange(len(ring)), ring > 0
        radial = np.interp(k, k[seen], radial[seen])
        mean = intensity / np.maximum(pixels, 1e-12)
        return cls(np.where(pixels > 0, mean, radial[:, None]))

    def round(self) -> FineMean:
        """The same, averaged over the angle."""
        return FineMean(np.repeat(self.values.mean(axis=1, keepdims=True), SECTORS, axis=1))

    def on(self, detector: Detector) -> FloatArray:
        """The mean pattern (H, W) as the detector's pixels take it up."""
        cells = pixel_cells(detector, len(self.values))
        return (cells @ self.values.ravel()).reshape(detector.shape)


def radial_cells(detector: Detector, reach: float) -> int:
    """Radii of a mean that holds all pixels which reach into bins, ``reach`` being in q."""
    return int(np.ceil((reach / detector.pixel_size() + 3) / STEP)) + 1


def pixel_cells(detector: Detector, n: int) -> sparse.csr_matrix:
    """Shares (pixels, n * SECTORS) in which pixels belong to the cells around their middles.

    They add up to 1 for each pixel, or to 0 beyond the last radius.
    """
    index = np.indices(detector.shape).reshape(2, -1).T
    q = (index - detector.center) @ detector.matrix.T / detector.pixel_size()
    radius = np.hypot(q[:, 0], q[:, 1]) / STEP
    around = np.arctan2(q[:, 1], q[:, 0]) / (2 * np.pi) * SECTORS
    inner, left = np.floor(radius).astype(int), np.floor(around).astype(int)
    pixel = np.flatnonzero(inner < n - 1)
    inner, left = inner[pixel], left[pixel]
    out, right = radius[pixel] - inner, around[pixel] - left
    k, m = np.indices((2, 2)).reshape(2, 4, 1)
    shares = np.abs(1 - k - out) * np.abs(1 - m - right)
    cells = (inner + k) * SECTORS + (left + m) % SECTORS
    where = np.tile(pixel, 4), cells.ravel()
    return sparse.csr_matrix((shares.ravel(), where), shape=(len(index), n * SECTORS))


def cell_sums(cells: sparse.csr_matrix, intensity: FloatArray, patterns: FloatArray) -> FloatArray:
    """Intensities and numbers of pixels in each cell, (2, n, SECTORS).

    Of summed patterns (pixels,) and how many there are (pixels,), with `pixel_cells`.
    """
    sums = (cells.T @ values for values in (intensity, patterns))
    return np.stack([one.reshape(-1, SECTORS) for one in sums])
