# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened in training, as one figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ..training.latents import LEAST_REPEATABILITY
from ..training.loop import History
from .canvas import as_drawn, new_figure


def history_figure(history: History, title: str | None = None) -> Figure:
    """Draw the loss and the latents of a training.

    On the left the loss of the patterns trained on and of those held out, and the epoch that was
    kept. In the middle what each latent tells of the held-out patterns; latents settle into one
    order at the end. On the right how well each repeats between two noise draws; below the dashed
    line a latent is switched off.

    Parameters
    ----------
    history
        ``history_`` of a fitted `RRVAE`.
    title
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If no epoch was completed.
    """
    if not history.validation_loss:
        raise ValueError("the history must hold at least one epoch; it holds none")
    figure = new_figure(10.5, 3.2)
    loss, told, repeats = figure.subplots(1, 3, width_ratios=(1.3, 1.3, 1))
    epochs = np.arange(1, len(history.validation_loss) + 1)
    loss.plot(epochs, history.train_loss, color="0.6", label="trained on")
    loss.plot(epochs, history.validation_loss, color="#0072b2", label="held out")
    if history.best_epoch >= 0:
        kept = history.best_epoch
        loss.plot(kept + 1, history.validation_loss[kept], "o", color="#0072b2", label="kept")
    finite = np.array([*history.train_loss, *history.validation_loss])
    finite = finite[np.isfinite(finite)]
    if finite.size:
        # The first epochs would flatten all others.
        low, high = finite.min(), np.quantile(finite, 0.9)
        margin = 0.1 * (high - low) or 1.0
        loss.set_ylim(low - margin, high + margin)
    loss.set(xlabel="epoch", ylabel="loss (nats per pattern)")
    loss.legend(frameon=False, fontsize=8)
    for number, worth in enumerate(np.array(history.kl).T, 1):
        told.plot(epochs, worth, label=f"latent {number}")
    told.set(xlabel="epoch", ylabel="KL divergence (nats per pattern)")
    told.set_ylim(bottom=0)
    told.legend(frameon=False, fontsize=8)
    for ax in (loss, told):
        ax.xaxis.get_major_locator().set_params(integer=True)
    names = [f"z{k + 1}" for k in range(len(history.repeatability))]
    colours = ["0.8" if gone else "#009e73" for gone in history.collapsed]
    bars = repeats.bar(names, np.clip(history.repeatability, 0, 1), color=colours)
    labels = [
        "off" if gone else f"{value:.2f}"
        for gone, value in zip(history.collapsed, history.repeatability, strict=True)
    ]
    repeats.bar_label(bars, labels, fontsize=8)
    repeats.axhline(LEAST_REPEATABILITY, color="k", ls="--", lw=0.8)
    repeats.set(ylabel="correlation of noise draws", ylim=(0, 1.1))
    if title is not None:
        figure.suptitle(as_drawn(title), fontsize=12)
    return figure
