# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation-aware latent maps of 4D-STEM scans.

Importing this package imports neither a host nor PyTorch; both wait until they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _accessor

if TYPE_CHECKING:
    from . import datasets as datasets
    from .angle_maps import smooth_angle as smooth_angle
    from .angle_maps import unwrap_angle as unwrap_angle
    from .anomalies import anomaly as anomaly
    from .codes import Codes as Codes
    from .descriptors import Descriptors as Descriptors
    from .descriptors import describe as describe
    from .estimator import RRVAE as RRVAE
    from .frames import Frames as Frames
    from .maps import LatentMap as LatentMap
    from .maps import latent_maps as latent_maps
    from .selection import latent_dims as latent_dims

__version__ = "0.1.0"
__all__ = [
    "RRVAE",
    "Codes",
    "Descriptors",
    "Frames",
    "LatentMap",
    "__version__",
    "anomaly",
    "datasets",
    "describe",
    "latent_dims",
    "latent_maps",
    "smooth_angle",
    "unwrap_angle",
]

_HOMES = {
    "smooth_angle": "angle_maps",
    "unwrap_angle": "angle_maps",
    "Descriptors": "descriptors",
    "describe": "descriptors",
    "RRVAE": "estimator",
    "Codes": "codes",
    "Frames": "frames",
    "LatentMap": "maps",
    "anomaly": "anomalies",
    "latent_dims": "selection",
    "latent_maps": "maps",
}
_MODULES = (
    "adapters",
    "anomalies",
    "cli",
    "datasets",
    "estimator",
    "explore",
    "frames",
    "maps",
    "plot",
    "selection",
    "signals",
    "simulate",
    "sites",
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})


_accessor.register(
    "py4DSTEM", "DataCube", "rrvae", "py4dstem_rrvae.adapters._py4dstem_accessor:DataCubeAccessor"
)
_accessor.register(
    "hyperspy.signal",
    "BaseSignal",
    "rrvae",
    "py4dstem_rrvae.adapters._hyperspy_accessor:SignalAccessor",
)
