# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation-aware latent maps of 4D-STEM scans.

Importing this package imports neither a host nor PyTorch; both wait until they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _accessor
from ._version import __version__

if TYPE_CHECKING:
    from . import datasets as datasets
    from .codes import Codes as Codes
    from .estimator import RRVAE as RRVAE
    from .maps.angle import smooth_angle as smooth_angle
    from .maps.angle import unwrap_angle as unwrap_angle
    from .maps.anomaly import anomaly as anomaly
    from .maps.latent import LatentMap as LatentMap
    from .maps.latent import latent_maps as latent_maps
    from .scan.frames import Frames as Frames
    from .selection import latent_dims as latent_dims
    from .symmetry.descriptors import Descriptors as Descriptors
    from .symmetry.descriptors import describe as describe

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
    "Codes": "codes",
    "Descriptors": "symmetry.descriptors",
    "Frames": "scan.frames",
    "LatentMap": "maps.latent",
    "RRVAE": "estimator",
    "anomaly": "maps.anomaly",
    "describe": "symmetry.descriptors",
    "latent_dims": "selection",
    "latent_maps": "maps.latent",
    "smooth_angle": "maps.angle",
    "unwrap_angle": "maps.angle",
}
_MODULES = (
    "adapters",
    "camera",
    "cli",
    "datasets",
    "estimator",
    "explore",
    "maps",
    "plot",
    "selection",
    "simulate",
    "synthetic",
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
