# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera behind an imperfect descan: it bins the electrons of a finer pattern."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DescanCamera:
    """Square detector on which the beam stands off the middle and wanders with the scan.

    Parameters
    ----------
    pixels
        Pixels along each side.
    max_angle
        Angle from the middle to each side, in mrad.
    shift
        Pixels (row, col) from the detector's middle to the beam in the middle of the scan.
    descan
        Pixels (row, col) by which the beam wanders along the whole of each scan axis, shape (2, 2).
    """

    pixels: int
    max_angle: float
    shift: tuple[float, float] = (0.0, 0.0)
    descan: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))

    def centers(self, shape: tuple[int, int]) -> np.ndarray:
        """Pixel index (row, col) of the beam at each position of a scan, shape (*shape, 2)."""
        along = [np.linspace(-0.5, 0.5, n) if n > 1 else np.zeros(1) for n in shape]
        place = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1)
        middle = (self.pixels - 1) / 2
        wandering: np.ndarray = middle + np.array(self.shift) + place @ np.array(self.descan)
        return wandering

    def q_per_pixel(self, wavelength: float) -> float:
        """Pixel in 1/angstrom, the wavelength in angstrom."""
        return 2e-3 * self.max_angle / wavelength / self.pixels

    def record(
        self, fine: np.ndarray, center: tuple[float, float], ratio: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Patterns on this detector, and where the beam stands in them.

        Electrons of a fine pixel are shared among the pixels by the area that lies in each, which
        blurs by less than a fine pixel and loses none.

        Parameters
        ----------
        fine
            Patterns (rows, cols, M, M).
        center
            The beam's pixel index in them.
        ratio
            Fine pixels along one pixel of this detector, along rows and columns, shape (2,).

        Returns
        -------
        ndarray, shape (rows, cols, N, N), of fine's dtype
        ndarray, shape (rows, cols, 2)

        Raises
        ------
        ValueError
            If this detector sees beyond the fine patterns.
        """
        centers = self.centers((fine.shape[0], fine.shape[1]))
        low = np.array(center) + (-0.5 - centers) * ratio
        high = low + self.pixels * ratio
        if low.min() < -0.5 or high.max() > fine.shape[-1] - 0.5:
            raise ValueError(
                f"the camera must lie within the {fine.shape[-1]} fine pixels; it reaches from "
                f"{low.min() + 0.5:.1f} to {high.max() + 0.5:.1f}"
            )
        edges = low[..., None] + np.arange(self.pixels + 1) * ratio[:, None]
        middles = np.arange(fine.shape[-1])
        recorded = np.empty((*fine.shape[:2], self.pixels, self.pixels), fine.dtype)
        for row, one_row in enumerate(edges):
            # Length of each fine pixel below each edge; differences are the shares.
            below = np.clip(one_row[..., None] - (middles - 0.5), 0, 1)
            share = np.diff(below, axis=-2)
            recorded[row] = share[:, 0] @ fine[row] @ share[:, 1].swapaxes(-1, -2)
        return recorded, centers
