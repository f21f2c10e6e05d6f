# SPDX-License-Identifier: GPL-3.0-or-later
"""The signal classes registered with HyperSpy: a map of one number per probe position.

What a map is stands in its ``metadata.RRVAE``:

| item | meaning |
|---|---|
| ``map`` | name: z1, z1_std, angle, fold, error, com_x, ... |
| ``units`` | of the values |
| ``cyclic`` | whether something may be added without changing the meaning |
| ``period`` | what that is, in words: ``2 pi / fold`` |
| ``description`` | one line |
| ``convention`` | how angles and vectors are counted: from x (columns) towards y (rows) |
| ``package``, ``version`` | what made it |
| ``model`` | parameters of `RRVAE`; latent maps alone, as all below |
| ``background`` | "stored" or "refit", as in `RRVAE.encode` |
| ``center`` | where the beam's centre came from: "axes", "model", "refined" or "estimated" |
| ``training_center`` | pixel (row, col) of the detector trained on |
| ``collapsed`` | names of latents that carry nothing |
| ``repeatability`` | of each latent between two noise draws |
| ``neighbourhood`` | of the map anomaly alone: positions that the codes were averaged over |
| ``sigma`` | of the map angle_smoothed alone: positions that the angle was averaged over |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hyperspy._signals.lazy import LazySignal
from hyperspy.api import plot
from hyperspy.signals import Signal1D, Signal2D


class LatentMap1D(Signal1D):
    """Map of a line scan."""

    _signal_type = "rrvae_latent_map"


class LatentMap2D(Signal2D):
    """Map of a scan; further scan axes, as of an in-situ series, navigate."""

    _signal_type = "rrvae_latent_map"

    def arrows(
        self, *, every: int = 4, length: float | None = None, **options: Any
    ) -> plot.markers.Arrows:
        """Arrows along an angle map, to draw over any map of the same scan.

        ``other.add_marker(angle.arrows(), permanent=True)`` keeps them in the file too. Where the
        angle is known modulo ``2 pi / fold`` the arrow shows one of the equal directions; where it
        is undefined there is none.

        Parameters
        ----------
        every
            Positions from one arrow to the next along both axes.
        length
            In the units of the scan; None: 0.8 of the distance between arrows.
        **options
            Passed to `hyperspy.api.plot.markers.Arrows`.

        Raises
        ------
        ValueError
            If this is no single cyclic map, or no angle in it is defined.
        """
        if self.axes_manager.navigation_dimension:
            raise ValueError(
                "arrows need one map; got "
                f"{self.axes_manager.navigation_size} (take one: angle.inav[0])"
            )
        if not self.metadata.get_item("RRVAE.cyclic", False):
            raise ValueError(
                f'arrows need a map of angles; got {self.metadata.General.title!r} (maps["angle"])'
            )
        columns, rows = (axis.axis[every // 2 :: every] for axis in self.axes_manager.signal_axes)
        angle = np.asarray(self.data)[every // 2 :: every, every // 2 :: every]
        offsets = np.stack(np.meshgrid(columns, rows), axis=-1)[np.isfinite(angle)]
        angle = angle[np.isfinite(angle)]
        if not angle.size:
            raise ValueError("arrows need defined angles; all those drawn are NaN")
        if length is None:
            length = 0.8 * every * float(np.abs(np.diff(self.axes_manager[0].axis[:2])).sum() or 1)
        return plot.markers.Arrows(
            offsets, length * np.cos(angle), length * np.sin(angle), **options
        )


class LazyLatentMap1D(LazySignal, LatentMap1D):
    """Lazy map of a line scan."""


class LazyLatentMap2D(LazySignal, LatentMap2D):
    """Lazy map of a scan."""
