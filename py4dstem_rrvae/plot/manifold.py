# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model decodes along its latents, as one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from ..codes import Codes
from .canvas import as_drawn, new_figure

if TYPE_CHECKING:
    from ..estimator import RRVAE


def manifold_figure(
    model: RRVAE, *, size: int = 9, latents: tuple[int, int] = (1, 2), title: str | None = None
) -> Figure:
    """Draw what a model decodes along its latents: patterns on a grid of z, all at angle 0.

    The grid holds the middles of equal shares of N(0, 1). Drawn is the difference of each pattern
    from the grid's mean, whose detail would else be lost beside the beam.

    Parameters
    ----------
    model
        Trained.
    size
        Patterns along each latent.
    latents
        Numbers, from 1, of the latents along x and along y (upwards); others stay at 0. A model of
        one latent gives one row.
    title
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the size is not positive, or the model lacks such a latent.
    """
    dims = model.latent_dim
    across, up = latents[0] - 1, latents[1] - 1
    if size < 1 or not (0 <= across < dims and (dims == 1 or 0 <= up < dims)):
        raise ValueError(f"latents must be 1 to {dims} and size positive; got {latents} and {size}")
    ticks = norm.ppf((np.arange(size) + 0.5) / size)
    rows = 1 if dims == 1 else size
    z = np.zeros((rows, size, dims))
    if rows > 1:
        z[..., up] = ticks[::-1, None]
    z[..., across] = ticks
    flat = np.zeros(z.shape[:2])
    patterns = model.reconstruct(Codes(z, z, flat, flat, flat.astype(np.int64), flat))
    mosaic = np.concatenate(np.concatenate(patterns - patterns.mean((0, 1)), axis=1), axis=1)
    figure = new_figure(6.4, 5.5 if rows > 1 else 1.6)
    ax = figure.subplots()
    limit = np.percentile(np.abs(mosaic), 99.5) or 1.0
    image = ax.imshow(mosaic, origin="upper", cmap="RdBu_r", vmin=-limit, vmax=limit)
    bar = figure.colorbar(image, ax=ax, shrink=0.8)
    bar.set_label("intensity less the mean of all")
    height, width = patterns.shape[-2:]
    ax.set_xticks((np.arange(size) + 0.5) * width - 0.5, labels=[f"{t:.1f}" for t in ticks])
    ax.set_xlabel(f"z{across + 1}")
    if rows > 1:
        middles = (np.arange(size) + 0.5) * height - 0.5
        ax.set_yticks(middles, labels=[f"{t:.1f}" for t in ticks[::-1]])
        ax.set_ylabel(f"z{up + 1}")
    else:
        ax.set_yticks([])
    if title is not None:
        figure.suptitle(as_drawn(title), fontsize=12)
    return figure
