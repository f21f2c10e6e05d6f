# SPDX-License-Identifier: GPL-3.0-or-later
"""The attribute `rrvae` of the hosts' classes, put there without importing a host."""

from __future__ import annotations

import inspect
import warnings
from importlib import import_module
from types import ModuleType
from typing import Any

import wrapt


class CachedAccessor:
    """Attribute of a host's class that imports its adapter on first use.

    Each host object gets an accessor of its own, which stays with it: an object made by copying
    starts with a fresh one.

    Parameters
    ----------
    name
        Name of the attribute.
    target
        ``"module:class"`` of the accessor; the class takes the host object and keeps it as `host`.
    """

    def __init__(self, name: str, target: str) -> None:
        self.target = target
        self._key = f"_{name}_accessor"
        self.__doc__ = f"Latent maps of this scan; see {target}."

    def __get__(self, host: object | None, owner: type | None = None) -> Any:
        if host is None:
            return self
        cached = vars(host).get(self._key)
        # A shallow copy of the host takes its attributes along, the accessor of the original too.
        if cached is None or cached.host is not host:
            module, _, accessor = self.target.partition(":")
            cached = getattr(import_module(module), accessor)(host)
            vars(host)[self._key] = cached
        return cached


def register(module: str, owner: str, name: str, target: str) -> None:
    """Give a class the accessor once its module has been imported, or now if it has.

    An attribute that the class already has is left alone, with a warning: raising here would break
    the import of the host.

    Parameters
    ----------
    module, owner
        Module and name of the host's class.
    name
        Name of the attribute.
    target
        ``"module:class"`` of the accessor.
    """

    def attach(loaded: ModuleType) -> None:
        host = getattr(loaded, owner, None)
        if host is None:
            warnings.warn(f"{module} has no {owner}, so it gets no .{name}", stacklevel=2)
            return
        taken = inspect.getattr_static(host, name, None)
        if taken is None:
            setattr(host, name, CachedAccessor(name, target))
        elif getattr(taken, "target", None) != target:
            warnings.warn(
                f"{module}.{owner} already has an attribute {name!r}, which is left alone; the "
                "functions in py4dstem_rrvae.adapters do the same",
                stacklevel=2,
            )

    wrapt.register_post_import_hook(attach, module)
