# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours of maps: of angles, folds, and what is undefined."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap

UNDEFINED = "0.15"
FOLD_COLOURS = {
    0: "0.85",
    1: "#332288",
    2: "#88ccee",
    3: "#117733",
    4: "#ddcc77",
    5: "#aa4499",
    6: "#cc6677",
}
CYCLE = 2 * np.pi
OKLAB_TO_LMS = np.array(
    [
        [1, 0.3963377774, 0.2158037573],
        [1, -0.1055613458, -0.0638541728],
        [1, -0.0894841775, -1.2914855480],
    ]
)
LMS_TO_SRGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def cyclic_colours(steps: int = 256) -> Colormap:
    """Hues of one lightness and chroma, so that no direction looks brighter than another.

    The circle lies in Oklab (B. Ottosson, 2020) at the largest chroma that sRGB holds throughout.
    Undefined values are nearly black.
    """
    hue = np.linspace(0, CYCLE, steps, endpoint=False)
    lab = np.stack([np.full(steps, 0.74), 0.124 * np.cos(hue), 0.124 * np.sin(hue)])
    lms = (OKLAB_TO_LMS @ lab) ** 3
    linear = np.clip(LMS_TO_SRGB @ lms, 0, 1).T
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return ListedColormap(np.clip(srgb, 0, 1), name="cyclic").with_extremes(bad=UNDEFINED)


def with_undefined(name: str) -> Colormap:
    """Colour map of matplotlib, with NaN nearly black."""
    return colormaps[name].with_extremes(bad=UNDEFINED)
