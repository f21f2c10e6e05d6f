# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a defect stands out of its lattice in any map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def positions_near(
    scan_shape: tuple[int, int], places: ArrayLike, radius: float
) -> NDArray[np.bool_]:
    """Probe positions within `radius` of any of `places`.

    Parameters
    ----------
    scan_shape
        Positions along the two scan axes.
    places
        Shape (n, 2), (row, col) in scan pixels.
    radius
        In scan pixels.

    Returns
    -------
    ndarray of bool, shape `scan_shape`
    """
    rows, cols = np.indices(scan_shape)
    near = np.zeros(scan_shape, dtype=bool)
    for row, col in np.asarray(places, dtype=float).reshape(-1, 2):
        near |= np.hypot(rows - row, cols - col) <= radius
    return near


def standout(features: ArrayLike, reference: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    """How far `target` stands out from `reference`, in robust standard deviations.

    Every position gets its Mahalanobis distance from the reference positions, with their robust
    centre and scatter (minimum covariance determinant). All distances are then divided by one
    number, so that the median over the reference is that of the absolute value of a standard normal
    variable, 0.674. Without that step more features would mean larger distances for any position;
    with it one feature or many are on one scale, that of ``|x - centre| / (1.48 MAD)``. The result
    is the median over the target's positions: the same positions and the same statistic whatever
    the features.

    Parameters
    ----------
    features
        Shape ``(*scan_shape,)`` or ``(*scan_shape, d)``.
    reference, target
        Positions, shape ``scan_shape``; they must not overlap.

    Raises
    ------
    ValueError
        If a mask has another shape, is empty, or overlaps the other, or if the reference has too
        few positions or does not vary.

    References
    ----------
    P. J. Rousseeuw and K. Van Driessen, Technometrics 41, 212 (1999).
    """
    features = np.asarray(features, dtype=float)
    if features.ndim == reference.ndim:
        features = features[..., None]
    _check_positions(features.shape, reference, target)
    distance = _robust_distance(features, features[reference])
    return float(np.median(distance[target]) / np.median(distance[reference]) * 0.6744897501960817)


def site_standout(
    features: ArrayLike,
    sites: ArrayLike,
    defect: ArrayLike,
    radii: Iterable[float],
) -> tuple[float, float]:
    """How far a defect on a lattice site stands out from normal sites, and within which radius.

    `standout` of the positions within a radius of the defect from those within the same radius of
    the normal sites. Like is compared with like: against all positions a vacancy would count as
    ordinary as soon as it resembles the gaps that every lattice has. A map that is blind on the
    site itself, as the magnitude of COM is by symmetry, shows a defect best some way off, so every
    map may take the radius that suits it best, from the same `radii`.

    Parameters
    ----------
    features
        Shape ``(*scan_shape,)`` or ``(*scan_shape, d)``.
    sites
        Normal sites, shape (n, 2), in scan pixels.
    defect
        Place of the defect, (row, col), in scan pixels.
    radii
        In scan pixels.

    Returns
    -------
    standout : float
        In robust standard deviations, the largest over the radii.
    radius : float
        Where it was found.

    Raises
    ------
    ValueError
        As `standout`.
    """
    rows, cols = np.shape(features)[:2]
    shape = (rows, cols)
    found = {
        radius: standout(
            features, positions_near(shape, sites, radius), positions_near(shape, defect, radius)
        )
        for radius in radii
    }
    best = max(found, key=found.__getitem__)
    return found[best], best


def _check_positions(
    shape: tuple[int, ...], reference: NDArray[np.bool_], target: NDArray[np.bool_]
) -> None:
    for name, mask in (("reference", reference), ("target", target)):
        if mask.shape != shape[:-1]:
            raise ValueError(
                f"{name} must have the features' scan shape {shape[:-1]}; got {mask.shape}"
            )
    if not target.any():
        raise ValueError("target must hold at least one position; got none")
    if (reference & target).any():
        raise ValueError(
            f"reference and target must not overlap; they share {(reference & target).sum()} "
            "positions"
        )
    needed = 5 * (shape[-1] + 1)
    if reference.sum() < needed:
        raise ValueError(
            f"reference must hold at least {needed} positions for {shape[-1]} features; "
            f"got {reference.sum()}"
        )


def _robust_distance(features: NDArray[Any], sample: NDArray[Any]) -> NDArray[Any]:
    """Mahalanobis distance of each feature vector from the robust centre of `sample` (n, d)."""
    from sklearn.covariance import MinCovDet

    centre = np.median(sample, axis=0)
    spread = np.median(np.abs(sample - centre), axis=0)
    if not (spread > 0).all():
        raise ValueError(f"reference must vary in every feature; median deviations {spread}")
    # Unit spread first: the determinant sees no units, but its numerical rank check does.
    fitted = MinCovDet(random_state=0).fit((sample - centre) / spread)
    offset = (features - centre) / spread
    distance: NDArray[Any] = np.sqrt(
        fitted.mahalanobis(offset.reshape(-1, offset.shape[-1])).reshape(offset.shape[:-1])
    )
    return distance
