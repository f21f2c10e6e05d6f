# SPDX-License-Identifier: GPL-3.0-or-later
"""What the model says of each pattern, on the scan's grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .model.inference import Inference

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Codes:
    """What the model says of each pattern; the leading shape is the scan's.

    Attributes
    ----------
    z, z_std : ndarray, shape (..., d)
        Latents, without units, and the standard deviation by which noise moves them, as repeated
        draws bear out, or what the model lacks of the scan's patterns, where that is more. N(0, 1)
        is what is assumed of each pattern beforehand. A collapsed latent is 0 with standard
        deviation 1.
    angle : ndarray, shape (...)
        Turn in radians in [0, 2 pi / fold), from the row axis towards the column axis; NaN where
        `fold` is 0.
    angle_std : ndarray, shape (...)
        Its standard deviation in radians, of noise or of what the model lacks likewise;
        ``pi / sqrt(3)``, that of a uniform angle, where `fold` is 0.
    fold : ndarray of int, shape (...)
        Equal peaks of the angle's posterior: the angle is known modulo ``2 pi / fold``. 0 where
        the pattern has no angular structure above the noise beyond what is fixed to the detector.
    error : ndarray, shape (...)
        Root-mean-square residual in units of the noise: 1 where the model explains the pattern.
        The noise is that of the pattern's own counts; with `intensity` other than "counts", or
        ``architecture="coordinate"``, that of the scan's mean, so that bright patterns have more.
    angle_reliability : ndarray, shape (...), or None
        By how much `angle` explains the pattern better than the best other angle does, from 0 to 1:
        ``1 - Q2 / Q1`` of orientation mapping (E. F. Rauch and M. Veron, Mater. Charact. 98, 2014),
        where Q is a log-likelihood over its mean over all angles. Near 0 another angle is nearly as
        good, however well the counts tell the two apart; 0 where `fold` is 0. None where codes are
        read from maps that were made before there was this one.
    handedness : ndarray, shape (...), or None
        With ``mirror=True``, probability that the pattern is the mirror image of the decoded one;
        which of two twins that is, is a convention of the trained model. 0.5 where noise leaves
        undecided that the decoded pattern differs from its mirror image. `angle` and `angle_std`
        are those of the mirror image where it is above 0.5, else of the decoded pattern.
    """

    z: FloatArray
    z_std: FloatArray
    angle: FloatArray
    angle_std: FloatArray
    fold: NDArray[np.int64]
    error: FloatArray
    handedness: FloatArray | None = None
    angle_reliability: FloatArray | None = None

    @property
    def mirrored(self) -> NDArray[np.bool_]:
        """Whether `angle` is that of the mirror image, shape (...)."""
        handedness = np.zeros(np.shape(self.angle)) if self.handedness is None else self.handedness
        return np.asarray(handedness) > 0.5

    @classmethod
    def unpack(cls, rows: FloatArray) -> Codes:
        """From the rows of `pack` on the scan's grid, shape (..., 2 d + 5) or (..., 2 d + 6)."""
        d = (rows.shape[-1] - 5) // 2
        angle, angle_std, fold, error, reliability, *hand = np.moveaxis(rows[..., 2 * d :], -1, 0)
        z, z_std = rows[..., :d], rows[..., d : 2 * d]
        plain = (z, z_std, angle, angle_std, fold.astype(np.int64), error)
        return cls(*plain, hand[0] if hand else None, reliability)


def pack(inference: Inference, offset: float) -> FloatArray:
    """One row of numbers a pattern: z, z_std, angle, angle_std, fold, error, reliability.

    And handedness, if any.

    Parameters
    ----------
    inference
        Of n patterns with d latents.
    offset
        Added to the model's turn, radians.

    Returns
    -------
    ndarray, shape (n, 2 d + 5), or (n, 2 d + 6) with a handedness
    """
    i = inference
    folds, mirrored = i.fold.cpu().numpy(), i.mirrored.cpu().numpy()
    period = 2 * np.pi / np.maximum(folds, 1)
    # What turns a pattern by the offset turns its mirror image back by it.
    turned = i.angle.cpu().double().numpy() + np.where(mirrored, -offset, offset)
    angle = np.mod(turned, period)
    # mod of a tiny negative number rounds up to the period itself.
    angle = np.where(angle >= period, 0.0, angle)
    hand = [] if i.handedness is None else [i.handedness]
    before, after = (
        [c.cpu().double().numpy() for c in columns]
        for columns in ([i.z, i.z_std], [i.angle_std, i.fold, i.error, i.reliability, *hand])
    )
    rows: FloatArray = np.column_stack([*before, angle, *after])
    return rows
