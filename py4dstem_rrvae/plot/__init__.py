# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of maps, latents and models: the only importer of matplotlib.

Built on `Figure` alone: no window opens and pyplot's state stays as it was.
"""

from .colours import FOLD_COLOURS, UNDEFINED, cyclic_colours
from .figures import map_panels, maps_figure, profiles_figure
from .history import history_figure
from .latent_dims import latent_dims_figure
from .manifold import manifold_figure
from .panels import scale_bar

__all__ = [
    "FOLD_COLOURS",
    "UNDEFINED",
    "cyclic_colours",
    "history_figure",
    "latent_dims_figure",
    "manifold_figure",
    "map_panels",
    "maps_figure",
    "profiles_figure",
    "scale_bar",
]
