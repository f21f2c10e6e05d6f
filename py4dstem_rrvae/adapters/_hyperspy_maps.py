# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps as the registered signals, with their metadata, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .._version import __version__
from ..codes import Codes
from ..estimator import RRVAE
from ..maps.latent import DIMENSIONLESS, LatentMap, period_of
from ..scan.adoption import ScanBackground
from . import _hyperspy_axes, _models
from .hyperspy_signals import LatentMap1D, LatentMap2D

FOLD_PERIOD = "2 pi / fold"
CONVENTION = "from x (columns) towards y (rows)"


def about(model: RRVAE, background: ScanBackground, *, known_center: bool) -> dict[str, Any]:
    """How latent maps were made, for their metadata."""
    history = model.history_
    given = "axes" if known_center else "estimated"
    return {
        "model": {k: _castable(v) for k, v in model.get_params(deep=False).items()},
        "background": background,
        "center": _models.center_from(model, given),
        "training_center": list(model.fitted_.detector.center),
        "collapsed": [f"z{k}" for k, gone in enumerate(history.collapsed, 1) if gone],
        "repeatability": [float(r) for r in history.repeatability],
        "camera": _models.camera(model),
    }


def turned(codes: Codes) -> Codes:
    """Angles from x towards y instead of from rows towards columns."""
    period = period_of(codes.fold)
    angle = np.mod(np.pi / 2 - codes.angle, period)
    return replace(codes, angle=np.where(angle >= period, 0.0, angle))


def to_signal(signal: Any, map_: LatentMap, about: dict[str, Any]) -> LatentMap1D | LatentMap2D:
    """A map as a signal on the scan axes of `signal`; `about` goes into its metadata too."""
    axes = _hyperspy_axes.scan(signal)
    kind = LatentMap1D if len(axes) == 1 else LatentMap2D
    result = kind(np.ascontiguousarray(map_.values), axes=axes)
    result.metadata.General.title = f"{map_.name} of {title(signal)}"
    units = "" if map_.units == DIMENSIONLESS else f" ({map_.units})"
    result.metadata.Signal.quantity = map_.name + units
    cyclic = map_.period is not None
    result.metadata.add_dictionary(
        {
            "RRVAE": {
                "map": map_.name,
                "units": map_.units,
                "cyclic": cyclic,
                "period": _in_words(map_.period),
                "description": map_.description,
                "convention": CONVENTION,
                "package": "py4dstem_rrvae",
                "version": __version__,
                **about,
            }
        }
    )
    return result


def _in_words(period: Any) -> str:
    if period is None:
        return ""
    return FOLD_PERIOD if isinstance(period, np.ndarray) else f"{period:.6f}"


SAID = ("map", "units", "cyclic", "description")


def title(signal: Any) -> str:
    """Title of a signal, or the word itself."""
    return str(signal.metadata.get_item("General.title", "")) or "signal"


def check(maps: Mapping[str, Any], needed: Iterable[str] = ()) -> None:
    """Refuse maps, which may come from a file, that lack something or have unlike shapes.

    Raises
    ------
    ValueError
        If a map is missing, says not what it is, or is of another shape than the others.
    """
    if missing := [name for name in needed if name not in maps]:
        raise ValueError(f"the maps must be those of fit or encode; {missing[0]} is missing")
    shape = np.shape(next(iter(maps.values())).data)
    for name, map_ in maps.items():
        about = map_.metadata.get_item("RRVAE")
        lacking = [key for key in SAID if about is None or not hasattr(about, key)]
        if lacking:
            raise ValueError(
                f"map {name!r} must say what it is in metadata.RRVAE, as fit, encode and compare "
                f"make it; {lacking[0]} is missing"
            )
        if about.cyclic and not isinstance(about.period, (str, int, float)):
            raise ValueError(f"map {name!r} must have a period; got {type(about.period).__name__}")
        if map_.data.shape != shape or map_.data.dtype.kind not in "uifb":
            raise ValueError(
                f"map {name!r} must hold numbers of shape {shape}; got {map_.data.dtype} of shape "
                f"{map_.data.shape}"
            )


def to_map(map_: Any, all_maps: Mapping[str, Any]) -> LatentMap:
    """A map as it was before it became a signal."""
    about = map_.metadata.RRVAE
    period: Any = None
    if about.cyclic and about.period != FOLD_PERIOD:
        period = float(about.period)
    elif about.cyclic and "fold" in all_maps:
        period = period_of(np.asarray(all_maps["fold"].data))
    return LatentMap(about.map, np.asarray(map_.data), about.units, period, about.description)


def _castable(value: Any) -> Any:
    """`value` as what HyperSpy's files hold; its `str` if nothing else fits."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str, np.ndarray, list, tuple)):
        return value
    return str(value)
