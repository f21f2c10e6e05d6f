# SPDX-License-Identifier: GPL-3.0-or-later
"""The accessor ``signal.rrvae``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import (
    _fingerprint,
    _hyperspy_angles,
    _hyperspy_anomaly,
    _hyperspy_axes,
    _hyperspy_explore,
    hyperspy,
)
from ._docstrings import documented

if TYPE_CHECKING:
    from hyperspy.signals import BaseSignal
    from matplotlib.figure import Figure

    from ..estimator import RRVAE
    from ..explore import Explorer
    from ..scan.adoption import ScanBackground
    from ..symmetry.autocorrelation import SymmetryKind
    from ..symmetry.descriptors import StillPart
    from .hyperspy_signals import LatentMap1D, LatentMap2D


class SignalAccessor:
    """The functions of `adapters.hyperspy` on one signal, and what they gave last."""

    def __init__(self, host: BaseSignal) -> None:
        self.host = host
        self._maps: hyperspy.Maps | None = None
        self._made_for: dict[str, Any] = {}
        self._comparison: dict[str, BaseSignal] = {}
        self._derived: dict[str, BaseSignal] = {}
        self._symmetry: dict[str, BaseSignal] = {}

    @property
    def model(self) -> RRVAE:
        """The model that `fit` or `encode` used last on this signal.

        Raises
        ------
        ValueError
            If neither has been called.
        """
        if self._maps is None:
            raise ValueError(
                "this signal has no model yet: call signal.rrvae.fit() or "
                "signal.rrvae.encode(model) first"
            )
        return self._maps.model

    @documented(
        hyperspy.fit, ("maps = signal.rrvae.fit(latent_dim=2, random_state=0)\nmaps['z1'].plot()")
    )
    def fit(
        self,
        *,
        model: RRVAE | None = None,
        roi: BaseSignal | NDArray[np.bool_] | None = None,
        lazy_output: bool | None = None,
        show_progressbar: bool | None = None,
        **options: Any,
    ) -> hyperspy.Maps:
        """Train on this signal and encode it; see `hyperspy.fit`."""
        self._maps = hyperspy.fit(
            self.host,
            model=model,
            roi=roi,
            lazy_output=lazy_output,
            show_progressbar=show_progressbar,
            **options,
        )
        self._derived = {}
        self._note("maps")
        return self._maps

    @documented(hyperspy.encode, "maps = other_signal.rrvae.encode('graphene.rrvae')")
    def encode(
        self,
        model: RRVAE | str | PathLike[str],
        *,
        background: ScanBackground = "refit",
        lazy_output: bool | None = None,
        show_progressbar: bool | None = None,
    ) -> hyperspy.Maps:
        """Encode this signal with a trained model; see `hyperspy.encode`."""
        self._maps = hyperspy.encode(
            self.host,
            model,
            background=background,
            lazy_output=lazy_output,
            show_progressbar=show_progressbar,
        )
        self._derived = {}
        self._note("maps")
        return self._maps

    @documented(hyperspy.compare, "signal.rrvae.compare()['com_x'].plot()")
    def compare(
        self, *, method: str = "kottler", mask: NDArray[np.bool_] | None = None
    ) -> dict[str, BaseSignal]:
        """Run pyxem's COM and phase retrieval; see `hyperspy.compare`."""
        self._comparison = hyperspy.compare(self.host, method=method, mask=mask)
        self._note("comparison")
        return self._comparison

    @documented(hyperspy.symmetry, "signal.rrvae.symmetry()['rotation_6'].plot()")
    def symmetry(
        self,
        *,
        kind: SymmetryKind = "angular",
        background: StillPart = "none",
        mask: NDArray[np.bool_] | None = None,
        show_progressbar: bool | None = None,
    ) -> dict[str, BaseSignal]:
        """Symmetry scores of the patterns; see `hyperspy.symmetry`."""
        self._symmetry = hyperspy.symmetry(
            self.host,
            kind=kind,
            background=background,
            mask=mask,
            show_progressbar=show_progressbar,
        )
        self._note("symmetry")
        return self._symmetry

    @documented(_hyperspy_anomaly.anomaly, "signal.rrvae.anomaly(neighbourhood=3).plot()")
    def anomaly(self, *, neighbourhood: float = 0.0) -> LatentMap1D | LatentMap2D:
        """How unusual each pattern is; see `py4dstem_rrvae.anomaly`.

        Raises
        ------
        ValueError
            If neither `fit` nor `encode` has been called, or the maps do not suit.
        """
        maps = self._latest()
        found = _hyperspy_anomaly.anomaly(self.host, maps, neighbourhood=neighbourhood)
        self._derived["anomaly"] = found
        return found

    @documented(_hyperspy_angles.smooth_angle, "signal.rrvae.smooth_angle(sigma=1.5)")
    def smooth_angle(self, sigma: float = 1.0) -> LatentMap1D | LatentMap2D:
        """The angle averaged over its neighbourhood; see `py4dstem_rrvae.smooth_angle`."""
        found = _hyperspy_angles.smooth_angle(self.host, self._latest(), sigma)
        self._derived["angle_smoothed"] = found
        return found

    @documented(_hyperspy_angles.unwrap_angle, "signal.rrvae.unwrap_angle()")
    def unwrap_angle(self, mask: ArrayLike | None = None) -> LatentMap1D | LatentMap2D:
        """The angle without jumps by whole periods; see `py4dstem_rrvae.unwrap_angle`."""
        found = _hyperspy_angles.unwrap_angle(self.host, self._latest(), mask)
        self._derived["angle_unwrapped"] = found
        return found

    def _latest(self) -> hyperspy.Maps:
        if self._maps is None:
            raise ValueError("this signal has no latent maps to judge by: call fit or encode first")
        self._check("maps")
        return self._maps

    def _note(self, kind: str) -> None:
        """Remember what the signal is while its maps are made."""
        self._made_for[kind] = _hyperspy_axes.scan(self.host), _fingerprint.of(self.host.data)

    def _check(self, *kinds: str) -> None:
        """Refuse maps of what the signal was before it was cropped or changed in place."""
        axes, pixels = _hyperspy_axes.scan(self.host), _fingerprint.of(self.host.data)
        for kind in kinds:
            then = self._made_for.get(kind)
            if then is not None and (then[0] != axes or _fingerprint.differ(then[1], pixels)):
                raise ValueError(
                    "the signal has changed since its maps were made (cropped, rebinned, swapped "
                    "or calibrated): call fit or encode again, and compare"
                )

    @documented(hyperspy.plot, "signal.rrvae.plot().savefig('maps.png')")
    def plot(self, *, index: tuple[int, ...] = ()) -> Figure:
        """Draw what the other methods gave last; see `hyperspy.plot`."""
        self._check("maps", "comparison", "symmetry")
        maps = self._comparison | (self._maps or {}) | self._derived | self._symmetry
        return hyperspy.plot(maps, index=index, title=self.host.metadata.General.title or None)

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
        >>> signal.rrvae.plot_history().savefig("history.png")  # doctest: +SKIP
        """
        from ..plot import history_figure

        return history_figure(self.model.history_)

    @documented(
        _hyperspy_explore.explore,
        "explorer = signal.rrvae.explore()\nsignal.data[explorer.mask].mean(0)",
    )
    def explore(
        self,
        *,
        maps: Mapping[str, BaseSignal] | None = None,
        model: RRVAE | str | PathLike[str] | None = None,
        index: tuple[int, ...] = (),
        latents: Sequence[int] | None = None,
    ) -> Explorer:
        """Maps to touch in a notebook; see `_hyperspy_explore.explore`."""
        if maps is None:
            latest = self._latest()
            self._check("comparison", "symmetry")
            maps = self._comparison | latest | self._derived | self._symmetry
            model = latest.model if model is None else model
        return _hyperspy_explore.explore(self.host, maps, model, index=index, latents=latents)

    @documented(hyperspy.decomposition, "model = signal.rrvae.decomposition(latent_dim=2)")
    def decomposition(self, **options: Any) -> RRVAE:
        """HyperSpy's decomposition with a model of this signal; see `hyperspy.decomposition`."""
        return hyperspy.decomposition(self.host, **options)
