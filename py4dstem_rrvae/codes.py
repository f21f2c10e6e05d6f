# SPDX-License-Identifier: GPL-3.0-or-later
"""What the model says of each pattern, on the scan's grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .core.model import Inference

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Codes:
    """What the model says of each pattern; the leading shape is the scan's.

    Attributes
    ----------
    z, z_std : ndarray, shape (..., d)
        Latents, without units, N(0, 1) over the training scan, and their posterior standard
        deviation. A collapsed latent is 0 with standard deviation 1.
    angle : ndarray, shape (...)
        Turn in radians in [0, 2 pi / fold), from the row axis towards the column axis; NaN where
        `fold` is 0.
    angle_std : ndarray, shape (...)
        Its posterior standard deviation in radians; ``pi / sqrt(3)``, that of a uniform angle,
        where `fold` is 0.
    fold : ndarray of int, shape (...)
        Equal peaks of the angle's posterior: the angle is known modulo ``2 pi / fold``. 0 where
        the pattern has no angular structure above the noise.
    error : ndarray, shape (...)
        Root-mean-square residual in units of the noise: 1 where the model explains the pattern.
    """

    z: FloatArray
    z_std: FloatArray
    angle: FloatArray
    angle_std: FloatArray
    fold: NDArray[np.int64]
    error: FloatArray

    @classmethod
    def unpack(cls, rows: FloatArray) -> Codes:
        """From the rows of `pack` on the scan's grid, shape (..., 2 d + 4)."""
        d = (rows.shape[-1] - 4) // 2
        angle, angle_std, fold, error = np.moveaxis(rows[..., 2 * d :], -1, 0)
        return cls(
            rows[..., :d], rows[..., d : 2 * d], angle, angle_std, fold.astype(np.int64), error
        )


def pack(inference: Inference, offset: float) -> FloatArray:
    """One row of numbers a pattern: z, z_std, angle, angle_std, fold, error.

    Parameters
    ----------
    inference
        Of n patterns with d latents.
    offset
        Added to the model's turn, radians.

    Returns
    -------
    ndarray, shape (n, 2 d + 4)
    """
    i = inference
    columns = [i.z, i.z_std, i.angle, i.angle_std, i.fold, i.error]
    rows: FloatArray = np.column_stack([c.cpu().double().numpy() for c in columns])
    period = 2 * np.pi / np.maximum(rows[:, -2], 1)
    angle = np.mod(rows[:, -4] + offset, period)
    # mod of a tiny negative number rounds up to the period itself.
    rows[:, -4] = np.where(angle >= period, 0.0, angle)
    return rows
