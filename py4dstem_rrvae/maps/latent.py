# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes as named maps with units and periods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from ..codes import Codes

DIMENSIONLESS = "dimensionless"
RELIABILITY = "1 - Q2 / Q1 of angle and the best other one; near 0 that one is nearly as good"


@dataclass(frozen=True)
class LatentMap:
    """One number per probe position.

    Parameters
    ----------
    name
        Key of the map: ``z1``, ``angle``, ...
    values
        Shape of the scan.
    units
        Units of `values`; ``"dimensionless"`` where they have none.
    period
        What may be added to `values` without changing their meaning: None, one number, or an array
        of the scan's shape (NaN where the value is undefined).
    description
        One line for metadata and legends.
    """

    name: str
    values: NDArray[Any]
    units: str
    period: float | NDArray[Any] | None
    description: str


def latent_maps(codes: Codes) -> dict[str, LatentMap]:
    """Name the arrays of a `Codes`.

    Returns
    -------
    dict
        ``z1``, ``z2``, ..., ``z1_std``, ``z2_std``, ..., ``angle``, ``angle_std``,
        ``angle_reliability``, ``fold`` and ``error``, and ``handedness`` where there is one.
        `angle` has the period ``2 pi / fold``, NaN where `fold` is 0.
    """
    numbers = range(1, codes.z.shape[-1] + 1)
    maps = [
        *(_plain(f"z{k}", codes.z[..., k - 1], f"latent {k}, posterior mean") for k in numbers),
        *(
            _plain(
                f"z{k}_std", codes.z_std[..., k - 1], f"latent {k}, posterior standard deviation"
            )
            for k in numbers
        ),
        LatentMap(
            "angle",
            codes.angle,
            "rad",
            period_of(codes.fold),
            "turn of the pattern, modulo 2 pi / fold",
        ),
        LatentMap(
            "angle_std", codes.angle_std, "rad", None, "circular standard deviation of angle"
        ),
        *(
            []
            if codes.angle_reliability is None
            else [_plain("angle_reliability", codes.angle_reliability, RELIABILITY)]
        ),
        _plain("fold", codes.fold, "equal turns of the pattern; 0 where it has no direction"),
        _plain("error", codes.error, "misfit of the decoded pattern"),
    ]
    if codes.handedness is not None:
        description = "probability that the pattern is the mirror image of the decoded one"
        maps.append(_plain("handedness", codes.handedness, description))
    return {map_.name: map_ for map_ in maps}


def codes_of(values: Mapping[str, NDArray[Any]]) -> Codes:
    """The `Codes` whose maps have these values, by name; the inverse of `latent_maps`."""
    from ..codes import Codes

    numbers = range(1, 1 + sum(name[:1] == "z" and name[1:].isdigit() for name in values))
    z, z_std = (np.stack([values[f"z{k}{end}"] for k in numbers], axis=-1) for end in ("", "_std"))
    angle, angle_std, fold, error = (
        values[name] for name in ("angle", "angle_std", "fold", "error")
    )
    hand, reliability = (values.get(name) for name in ("handedness", "angle_reliability"))
    return Codes(z, z_std, angle, angle_std, fold, error, hand, reliability)


def _plain(name: str, values: NDArray[Any], description: str) -> LatentMap:
    return LatentMap(name, values, DIMENSIONLESS, None, description)


def period_of(fold: ArrayLike) -> NDArray[np.float64]:
    """Period ``2 pi / fold`` of the angle in radians; NaN where `fold` is 0."""
    fold = np.asarray(fold, dtype=float)
    period: NDArray[np.float64] = np.divide(
        2 * np.pi, fold, out=np.full(fold.shape, np.nan), where=fold > 0
    )
    return period
