# SPDX-License-Identifier: GPL-3.0-or-later
"""How many latents a scan carries, as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from .canvas import as_drawn, new_figure

if TYPE_CHECKING:
    from ..selection import LatentDim


def latent_dims_figure(results: Sequence[LatentDim], title: str | None = None) -> Figure:
    """Draw what each latent of a comparison of model sizes is worth.

    On the left the held-out log-likelihood that each size adds to that of the smallest, with its
    standard error over patterns; on the right the KL divergence of each latent, switched-off ones
    empty.

    Parameters
    ----------
    results
        From `latent_dims`.
    title
        Title of the figure.

    Raises
    ------
    ValueError
        If there are no results.
    """
    if not results:
        raise ValueError("results must hold at least one model; got none")
    figure = new_figure(8, 3.4)
    rise, worth = figure.subplots(1, 2)
    dims = [one.latent_dim for one in results]
    gains, errors = zip(*(one.gain(results[0]) for one in results), strict=True)
    rise.errorbar(dims, gains, yerr=errors, fmt="o-", capsize=3)
    rise.set_ylabel(f"log-likelihood over {dims[0]} latent(s)\n(nats per held-out pattern)")
    for one in results:
        for k, kl in enumerate(one.kl):
            shown = "none" if one.collapsed[k] else f"C{k}"
            x = one.latent_dim + 0.12 * (k - (len(one.kl) - 1) / 2)
            worth.plot(x, kl, "o", color=f"C{k}", markerfacecolor=shown)
            worth.annotate(f"z{k + 1}", (x, kl), (0, 5), textcoords="offset points", fontsize=7)
    worth.set_ylabel("KL divergence (nats per pattern)\nempty: switched off")
    worth.margins(y=0.15)
    for ax in (rise, worth):
        ax.set_xlabel("latent_dim")
        ax.set_xticks(dims)
    if title is not None:
        figure.suptitle(as_drawn(title), fontsize=12)
    return figure
