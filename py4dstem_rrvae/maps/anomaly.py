# SPDX-License-Identifier: GPL-3.0-or-later
"""How unlikely each pattern is among those of its scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .latent import LatentMap

if TYPE_CHECKING:
    from ..codes import Codes

FloatArray = NDArray[np.float64]

KINDS = 3
"""Components of the mixture: 2 can miss the vacancy of graphene, 6 find less of both defects."""
USUAL_MISFIT = 3.0
"""Robust standard deviations of misfit that count for nothing: all of it would rank a lattice by
how hard its sites are to decode, and lose the vacancy of graphene."""
NORMAL_MEDIAN = 0.6744897501960817
"""Median of the absolute value of a standard normal variable."""
UNITS = "robust std"


def anomaly(
    codes: Codes,
    *,
    collapsed: Sequence[bool] | None = None,
    neighbourhood: float = 0.0,
) -> FloatArray:
    """How far each pattern lies from what is usual in its scan, in robust standard deviations.

    Parameters
    ----------
    codes
        From `RRVAE.encode`, at least ten positions for each number a pattern is judged by.
    collapsed
        Per latent, whether it was switched off, as `History.collapsed` has it; None: those that
        are constant.
    neighbourhood
        Standard deviation, in scan positions, of a Gaussian over which the codes are averaged
        before they are judged; the scan is continued by its mirror image. 0 judges each pattern
        alone.

    Returns
    -------
    ndarray, shape of the scan
        At least 0, and scaled so that its median over the scan is 0.674, that of the absolute value
        of a standard normal variable.

    Raises
    ------
    ValueError
        If `collapsed` has not one value per latent, `neighbourhood` is negative or not finite, or
        there are too few positions.

    Notes
    -----
    A pattern alone is judged by its live latents. A scan holds several kinds of sites, so their
    distribution is a Gaussian mixture; the squared distance is ``-2 log sum_k w_k exp(-D_k^2 / 2)``
    with the Mahalanobis distances ``D_k`` from the components of weight ``w_k``, less that of the
    most usual pattern. The weights make
    rare kinds far, which the log-density alone would not do for a rare but compact kind. A misfit
    (`Codes.error`) more than 3 robust standard deviations above that of its component adds what is
    beyond, as the other side of a right triangle.

    Averaged over a good part of a unit cell, the codes of a perfect lattice become constant and one
    Gaussian does: the Mahalanobis distance of the latents from the centre and scatter of the
    minimum covariance determinant (Rousseeuw and Van Driessen, 1999), which a minority of unusual
    positions cannot shift. An averaged misfit adds as that of a pattern does.
    """
    if not (np.isfinite(neighbourhood) and neighbourhood >= 0):
        raise ValueError(f"neighbourhood must be 0 or more positions; got {neighbourhood}")
    z = _live(codes, collapsed)
    misfit = np.log(np.maximum(codes.error, np.finfo(float).tiny))[..., None]
    features = _averaged(np.concatenate([z, misfit], axis=-1), neighbourhood)
    rows = features.reshape(-1, features.shape[-1])
    least = 10 * rows.shape[1]
    if len(rows) < least:
        raise ValueError(f"anomaly needs at least {least} positions; got {len(rows)}")
    if not z.shape[-1]:
        return _scaled(np.abs(_unit(rows)).sum(axis=1)).reshape(codes.error.shape)
    distance, kind = (_from_centre if neighbourhood else _from_kinds)(_unit(rows[:, :-1]))
    return np.hypot(distance, _excess(rows[:, -1], kind)).reshape(codes.error.shape)


def anomaly_map(
    codes: Codes,
    *,
    collapsed: Sequence[bool] | None = None,
    neighbourhood: float = 0.0,
) -> LatentMap:
    """`anomaly` as a map with name, units and description."""
    values = anomaly(codes, collapsed=collapsed, neighbourhood=neighbourhood)
    over = f", codes averaged over {neighbourhood:g} positions" if neighbourhood else ""
    return LatentMap(
        "anomaly", values, UNITS, None, f"distance from what is usual in the scan{over}"
    )


def _live(codes: Codes, collapsed: Sequence[bool] | None) -> FloatArray:
    """Latents that carry something, shape (..., live)."""
    d = codes.z.shape[-1]
    if collapsed is None:
        return codes.z[..., codes.z.reshape(-1, d).std(axis=0) > 0]
    if len(collapsed) != d:
        raise ValueError(f"collapsed must have one value per latent, {d}; got {len(collapsed)}")
    return codes.z[..., ~np.asarray(collapsed, dtype=bool)]


def _averaged(features: FloatArray, sigma: float) -> FloatArray:
    """Gaussian mean over the last two scan axes, or the only one, of ``features (..., k)``."""
    from scipy.ndimage import gaussian_filter

    if not sigma:
        return features
    scan = features.ndim - 1
    sigmas = [0.0] * max(scan - 2, 0) + [sigma] * min(scan, 2) + [0.0]
    # Mirrored about the middle of its border, a scan counts none of its positions twice.
    averaged: FloatArray = gaussian_filter(features.astype(float), sigmas, mode="mirror")
    return averaged


def _from_centre(z: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Distance (n,) from the robust centre, and the one kind that all are of."""
    from sklearn.covariance import MinCovDet

    distance = _scaled(np.sqrt(MinCovDet(random_state=0).fit(z).dist_))
    return distance, np.zeros(len(z), dtype=np.int64)


def _from_kinds(z: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Distance (n,) from a mixture of kinds, and which kind each row is of."""
    from scipy.special import logsumexp
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(KINDS, n_init=3, reg_covar=1e-4, random_state=0).fit(z)
    offset = z[:, None] - mixture.means_
    squared = np.einsum("nki,kij,nkj->nk", offset, mixture.precisions_, offset)
    mixed = -2 * logsumexp(-squared / 2, b=mixture.weights_, axis=1)
    return _scaled(np.sqrt(mixed - mixed.min())), mixture.predict(z)


def _excess(misfit: FloatArray, kind: NDArray[np.int64]) -> FloatArray:
    """Robust standard deviations of the misfit beyond the usual ones of its own kind."""
    excess = np.zeros_like(misfit)
    for k in np.unique(kind):
        own = kind == k
        excess[own] = _unit(misfit[own, None]).sum(axis=1)
    return np.maximum(excess - USUAL_MISFIT, 0)


def _unit(rows: FloatArray) -> FloatArray:
    """Columns of median 0 and robust standard deviation 1; constant ones are left out."""
    offset = rows - np.median(rows, axis=0)
    spread = np.median(np.abs(offset), axis=0) / NORMAL_MEDIAN
    unit: FloatArray = (offset / np.where(spread > 0, spread, 1))[:, spread > 0]
    return unit


def _scaled(distance: FloatArray) -> FloatArray:
    median = float(np.median(distance))
    return distance * (NORMAL_MEDIAN / median) if median > 0 else distance
