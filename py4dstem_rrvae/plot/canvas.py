# SPDX-License-Identifier: GPL-3.0-or-later
"""What figures are drawn on, and the user's own words in them."""

from __future__ import annotations

import shutil

from matplotlib import cbook, rcParams
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser


def new_figure(width: float, height: float) -> Figure:
    """A figure of a size in inches, which pyplot does not know of.

    Raises
    ------
    ValueError
        If matplotlib is told to set text with LaTeX, and there is none.
    """
    if rcParams["text.usetex"] and shutil.which("latex") is None:
        raise ValueError(
            "matplotlib is told to set text with LaTeX, which is not installed here: set "
            'matplotlib.rcParams["text.usetex"] = False'
        )
    return Figure(figsize=(width, height), layout="constrained")


def as_drawn(text: str) -> str:
    """Words of the user's, with their dollars as they are where these enclose no formula."""
    if cbook.is_math_text(text):
        try:
            MathTextParser("path").parse(text)
        except ValueError:
            return text.replace("$", r"\$")
    return text
