# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps to touch in a notebook: what is selected, what is drawn, and the widgets around it.

``Explorer(patterns, codes, model=model)`` for arrays; the hosts' ``rrvae.explore()`` make one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .state import State as State
    from .widget import Explorer as Explorer

__all__ = ["Explorer", "State"]


def __getattr__(name: str) -> Any:
    # matplotlib and the widgets wait until they are used.
    if name == "Explorer":
        from .widget import Explorer

        return Explorer
    if name == "State":
        from .state import State

        return State
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
