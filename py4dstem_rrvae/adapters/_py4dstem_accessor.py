# SPDX-License-Identifier: GPL-3.0-or-later
"""The accessor ``datacube.rrvae``."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _py4dstem_angles, _py4dstem_explore, py4dstem
from ._docstrings import documented

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from py4DSTEM import DataCube, RealSlice

    from ..estimator import RRVAE
    from ..explore import Explorer
    from ..scan.adoption import ScanBackground
    from ..symmetry.autocorrelation import SymmetryKind
    from ..symmetry.descriptors import StillPart


class DataCubeAccessor:
    """The functions of `adapters.py4dstem` on one data cube, and the model it used last."""

    def __init__(self, host: DataCube) -> None:
        self.host = host
        self._model: RRVAE | None = None

    @property
    def model(self) -> RRVAE:
        """The model that `fit` or `encode` used last on this data cube.

        Raises
        ------
        ValueError
            If neither has been called.
        """
        if self._model is None:
            raise ValueError(
                "this datacube has no model yet: call datacube.rrvae.fit() or "
                "datacube.rrvae.encode(model) first"
            )
        return self._model

    @documented(
        py4dstem.fit,
        (
            "maps = datacube.rrvae.fit(latent_dim=2, random_state=0)\n"
            "maps['z1'].data.shape, maps['z1'].calibration"
        ),
    )
    def fit(
        self,
        *,
        model: RRVAE | None = None,
        roi: NDArray[np.bool_] | None = None,
        **options: Any,
    ) -> py4dstem.Maps:
        """Train on this data cube and attach its maps; see `py4dstem.fit`."""
        maps = py4dstem.fit(self.host, model=model, roi=roi, **options)
        self._model = maps.model
        return maps

    @documented(py4dstem.encode, "maps = other_datacube.rrvae.encode('graphene.rrvae')")
    def encode(
        self, model: RRVAE | str | PathLike[str], *, background: ScanBackground = "refit"
    ) -> py4dstem.Maps:
        """Attach the maps of a trained model; see `py4dstem.encode`."""
        maps = py4dstem.encode(self.host, model, background=background)
        self._model = maps.model
        return maps

    @documented(py4dstem.compare, "datacube.rrvae.compare(energy=60e3)['com_x']")
    def compare(
        self, *, energy: float, max_iter: int = 64, mask: NDArray[np.bool_] | None = None
    ) -> dict[str, RealSlice]:
        """Attach the host's COM and DPC; see `py4dstem.compare`."""
        return py4dstem.compare(self.host, energy=energy, max_iter=max_iter, mask=mask)

    @documented(py4dstem.symmetry, "datacube.rrvae.symmetry()['rotation_6']")
    def symmetry(
        self,
        *,
        kind: SymmetryKind = "angular",
        background: StillPart = "none",
        mask: NDArray[np.bool_] | None = None,
    ) -> dict[str, RealSlice]:
        """Attach symmetry scores; see `py4dstem.symmetry`."""
        return py4dstem.symmetry(self.host, kind=kind, background=background, mask=mask)

    @documented(py4dstem.anomaly, "datacube.rrvae.anomaly(neighbourhood=3)")
    def anomaly(self, *, neighbourhood: float = 0.0) -> RealSlice:
        """Attach how unusual each pattern is; see `py4dstem.anomaly`."""
        return py4dstem.anomaly(self.host, neighbourhood=neighbourhood)

    @documented(_py4dstem_angles.smooth_angle, "datacube.rrvae.smooth_angle(sigma=1.5)")
    def smooth_angle(self, sigma: float = 1.0) -> RealSlice:
        """Attach the angle averaged over `sigma` positions; see `py4dstem_rrvae.smooth_angle`."""
        return _py4dstem_angles.smooth_angle(self.host, sigma)

    @documented(_py4dstem_angles.unwrap_angle, "datacube.rrvae.unwrap_angle()")
    def unwrap_angle(self, mask: ArrayLike | None = None) -> RealSlice:
        """Attach the angle without jumps by whole periods; see `py4dstem_rrvae.unwrap_angle`."""
        return _py4dstem_angles.unwrap_angle(self.host, mask)

    @documented(py4dstem.plot, "datacube.rrvae.plot().savefig('maps.png')")
    def plot(self) -> Figure:
        """Draw the attached maps; see `py4dstem.plot`."""
        return py4dstem.plot(self.host)

    def plot_history(self) -> Figure:
        """Draw the training of the model: its loss, and what each latent tells and repeats.

        Returns
        -------
        Figure
            Loss of each epoch, KL divergence of each latent, and R^2 between two noise draws.

        Raises
        ------
        ValueError
            If neither `fit` nor `encode` has been called.

        Examples
        --------
        >>> datacube.rrvae.plot_history().savefig("history.png")  # doctest: +SKIP
        """
        from ..plot import history_figure

        return history_figure(self.model.history_)

    @documented(
        _py4dstem_explore.explore,
        "explorer = datacube.rrvae.explore()\ndatacube.data[explorer.mask].mean(0)",
    )
    def explore(
        self,
        *,
        model: RRVAE | str | PathLike[str] | None = None,
        latents: Sequence[int] | None = None,
    ) -> Explorer:
        """Maps to touch in a notebook; see `_py4dstem_explore.explore`."""
        return _py4dstem_explore.explore(
            self.host, self._model if model is None else model, latents=latents
        )
