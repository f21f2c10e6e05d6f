# SPDX-License-Identifier: GPL-3.0-or-later
"""Latent maps of HyperSpy and pyxem signals, and pyxem's COM and phase beside them.

The host's axes are x = columns and y = rows, and its vectors turn from x towards y, so its angle
``arctan2(y, x)`` is a quarter turn less the package's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import hyperspy
import hyperspy.api as hs
import numpy as np
from hyperspy.signals import BaseSignal, Signal2D
from numpy.typing import NDArray

from ..estimator import RRVAE
from ..maps.latent import latent_maps
from ..scan.adoption import ScanBackground
from ..scan.frames import Frames
from ..symmetry.autocorrelation import SymmetryKind
from ..symmetry.descriptors import StillPart, describe
from . import _hyperspy_axes, _hyperspy_maps, _models
from . import hyperspy_signals as signals
from ._hyperspy_files import frames, read, save

__all__ = [
    "Maps",
    "compare",
    "decomposition",
    "encode",
    "fit",
    "frames",
    "plot",
    "read",
    "save",
    "symmetry",
]

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Maps(dict[str, signals.LatentMap1D | signals.LatentMap2D]):
    """Name to map, each with the scan's axes; `model` made them."""

    def __init__(
        self, maps: Mapping[str, signals.LatentMap1D | signals.LatentMap2D], model: RRVAE
    ) -> None:
        super().__init__(maps)
        self.model = model


def fit(
    signal: BaseSignal,
    *,
    model: RRVAE | None = None,
    roi: BaseSignal | NDArray[np.bool_] | None = None,
    lazy_output: bool | None = None,
    show_progressbar: bool | None = None,
    **options: Any,
) -> Maps:
    """Train a model on a signal and encode the signal.

    Parameters
    ----------
    signal
        Patterns on one or more navigation axes; read, never written. A lazy one is read chunk by
        chunk, once to draw the sample and once to encode.
    model
        Model to train; None makes ``RRVAE(**options)``.
    roi : signal or ndarray of bool, of the navigation shape, or None
        Positions to train on (True), without the flyback column or the vacuum for one; the inverse
        of HyperSpy's `navigation_mask`. All are mapped.
    lazy_output
        Whether the maps are lazy signals; None follows the signal. All are computed at once either
        way, in one pass over the data: they are a few numbers a position.
    show_progressbar
        None follows ``hyperspy.api.preferences``.
    **options
        Options of `RRVAE`. `center` may be a pyxem `BeamShift`.

    Returns
    -------
    Maps
        `LatentMap2D` for two scan axes; further ones navigate, and a line scan gives `LatentMap1D`.

    Raises
    ------
    TypeError
        If `RRVAE` has no such option, options come with a model, or the data are no real patterns.
    ValueError
        If the axes cannot be used.
    """
    if "center" in options:
        options["center"] = _center(options["center"], signal)
    model = _models.to_train(model, options)
    roi = roi.data if isinstance(roi, BaseSignal) else roi
    source = replace(frames(signal), roi=None if roi is None else np.asarray(roi))
    if source.center is None and model.center is None:
        warnings.warn(
            "the signal axes have no origin on the detector, so the centre is estimated from the "
            "mean pattern; their offset, center=(row, col) or center=beam_shift gives it",
            stacklevel=2,
        )
    with _progress(model, show_progressbar):
        model.fit(source)
    return _maps(signal, source, model, "stored", lazy_output, show_progressbar)


def encode(
    signal: BaseSignal,
    model: RRVAE | str | PathLike[str],
    *,
    background: ScanBackground = "refit",
    lazy_output: bool | None = None,
    show_progressbar: bool | None = None,
) -> Maps:
    """Encode a signal with a trained model.

    Parameters
    ----------
    signal
        Patterns on one or more navigation axes; read, never written.
    model
        Trained model, or the path of a saved one.
    background
        ``"refit"`` estimates what is fixed to the detector from this scan; ``"stored"`` takes the
        training scan's, for that same scan.
    lazy_output, show_progressbar
        As in `fit`.

    Returns
    -------
    Maps

    Raises
    ------
    TypeError, ValueError
        If the data or the axes do not suit the model.
    """
    source = frames(signal)
    trained = _models.trained(model)
    return _maps(signal, source, trained, background, lazy_output, show_progressbar)


def compare(
    signal: BaseSignal, *, method: str = "kottler", mask: NDArray[np.bool_] | None = None
) -> dict[str, BaseSignal]:
    """Run pyxem's own centre of mass and phase retrieval.

    Parameters
    ----------
    signal
        Patterns on one or more navigation axes; read, never written.
    method
        Of ``BeamShift.phase_retrieval``: "kottler", "arnison" or "frankot".
    mask
        True where a detector pixel counts.

    Returns
    -------
    dict
        ``beam_shift``, the `BeamShift` as pyxem gives it: from the centre of mass back to the
        middle of the detector, in pixels. ``com_x``, ``com_y``: the centre of mass itself along
        columns and rows less its mean over the scan, in the units of the signal axes. ``phase``,
        for two scan axes: pyxem's phase of the beam shift. Shifts lead back, so it is the negative
        of the specimen's phase, on an arbitrary scale.

    Raises
    ------
    ImportError
        If pyxem is missing.
    TypeError, ValueError
        If the data, the axes or the mask cannot be used.
    """
    source = Frames.of(frames(signal), mask=mask)
    try:
        from . import _hyperspy_pyxem
    except ModuleNotFoundError as error:
        raise ImportError("compare needs pyxem: pip install pyxem") from error
    shift = _hyperspy_pyxem.beam_shift(signal, source)
    maps = _hyperspy_pyxem.maps(signal, shift, method)
    named = {map_.name: _hyperspy_maps.to_signal(signal, map_, {}) for map_ in maps}
    return {"beam_shift": shift, **named}


def symmetry(
    signal: BaseSignal,
    *,
    kind: SymmetryKind = "angular",
    background: StillPart = "none",
    mask: NDArray[np.bool_] | None = None,
    show_progressbar: bool | None = None,
) -> dict[str, BaseSignal]:
    """How alike each pattern is to itself turned or mirrored, without learning.

    Parameters
    ----------
    signal
        Patterns on one or more navigation axes; never written.
    kind, background, mask
        As in `descriptors.describe`.
    show_progressbar
        As in `fit`.

    Returns
    -------
    dict
        ``rotation_2`` to ``rotation_12``, ``mirror_score`` and ``mirror_axis``.

    Raises
    ------
    TypeError, ValueError
        If the data, the axes or an option cannot be used.
    """
    preferred = hs.preferences.General.show_progressbar
    shown = preferred if show_progressbar is None else show_progressbar
    found = describe(frames(signal), kind=kind, background=background, mask=mask, progress=shown)
    found = replace(found, mirror_axis=np.mod(np.pi / 2 - found.mirror_axis, np.pi))
    return {
        name: _hyperspy_maps.to_signal(signal, map_, {"kind": kind, "background": background})
        for name, map_ in found.maps().items()
    }


def plot(
    maps: Mapping[str, BaseSignal], *, index: tuple[int, ...] = (), title: str | None = None
) -> Figure:
    """Draw maps of `fit`, `encode` and `compare` in one figure with scale bars.

    Parameters
    ----------
    maps
        Any of them together; a line scan is drawn as lines.
    index
        Which of the maps of a series, one index per navigation axis of the maps (x first, as in
        ``inav``); needed for a series alone.
    title
        Title of the figure.

    Raises
    ------
    ValueError
        If there is nothing to draw, or `index` does not suit the maps.
    """
    from ..plot.figures import maps_figure, profiles_figure

    drawn = {name: map_ for name, map_ in maps.items() if name != "beam_shift"}
    if not drawn:
        raise ValueError("there are no maps to plot: call fit, encode or compare first")
    _hyperspy_maps.check(drawn)
    first = next(iter(drawn.values()))
    navigation = first.axes_manager.navigation_dimension
    if len(index) != navigation:
        raise ValueError(
            f"index must have one number per navigation axis of the maps, {navigation}; got {index}"
        )
    one = {name: map_.inav[index] if index else map_ for name, map_ in drawn.items()}
    plain = {name: _hyperspy_maps.to_map(map_, one) for name, map_ in one.items()}
    collapsed = {z for m in one.values() for z in m.metadata.get_item("RRVAE.collapsed", [])}
    told = (map_.metadata.get_item("RRVAE.repeatability", ()) for map_ in one.values())
    repeatability = next(filter(len, told), ())  # maps of the host have none
    axes = first.axes_manager.signal_axes
    units = [axis.units if isinstance(axis.units, str) else "px" for axis in axes]
    if len(axes) == 1:
        name = axes[0].name if isinstance(axes[0].name, str) else "position"
        return profiles_figure(plain, axes[0].axis, f"{name} ({units[0]})", title, collapsed)
    size, ratio = _hyperspy_axes.pixel(axes)
    return maps_figure(
        plain,
        pixel_size=size,
        units=units[0],
        title=title,
        collapsed=collapsed,
        repeatability=repeatability,
        pixel_ratio=ratio,
    )


def decomposition(
    signal: BaseSignal,
    *,
    navigation_mask: Any = None,
    signal_mask: Any = None,
    show_progressbar: bool | None = None,
    **options: Any,
) -> RRVAE:
    """Run HyperSpy's own ``signal.decomposition`` with a model that knows the signal's geometry.

    ``signal.decomposition(algorithm=RRVAE(...))`` does the same for a square detector, but leaves
    the estimator itself in ``learning_results.decomposition_algorithm``, which no file can hold,
    and ``learning_results.number_significant_components`` empty, which `cluster_analysis` reads.

    Parameters
    ----------
    signal
        Not changed but for `learning_results`. HyperSpy decomposes floats alone: other data are
        seen as float32 meanwhile (lazily where they are lazy). Lazy signals need HyperSpy 2.5.
    navigation_mask, signal_mask
        True = left out, as HyperSpy has it. As NumPy arrays the first is (x, y), the second
        (ky, kx); signals are (x, y | ) and ( | kx, ky).
    show_progressbar
        As in `fit`.
    **options
        Options of `RRVAE`.

    Returns
    -------
    RRVAE
        The trained model.

    Raises
    ------
    TypeError, ValueError
        If the data, the axes or an option cannot be used.
    """
    if signal._lazy and tuple(map(int, hyperspy.__version__.split(".")[:2])) < (2, 5):
        raise ValueError(
            f"decomposition of lazy signals needs HyperSpy 2.5; got {hyperspy.__version__} "
            "(signal.rrvae.fit takes them)"
        )
    source = frames(signal)
    if not np.array_equal(source.matrix, source.matrix[0, 0] * np.eye(2)):
        raise ValueError(
            "decomposition knows square pixels only; got scales "
            f"{np.diag(source.matrix).tolist()} (signal.rrvae.fit takes them)"
        )
    center = _center(options.pop("center", source.center), signal)
    if np.shape(center) == (*source.scan_shape, 2):
        # HyperSpy hands over the positions one after the other.
        center = np.reshape(center, (-1, 2))
    keep = options.pop("mask", None)
    if signal_mask is not None:
        left_out = signal_mask.data if isinstance(signal_mask, BaseSignal) else signal_mask
        keep = ~np.asarray(left_out, dtype=bool)
        # HyperSpy checks the shape of an array in one order and reads it in the other.
        signal_mask = Signal2D(~keep)
    model = RRVAE(signal_shape=source.detector_shape, center=center, mask=keep, **options)
    with _progress(model, show_progressbar), _as_floats(signal):
        signal.decomposition(
            algorithm=model,
            navigation_mask=navigation_mask,
            signal_mask=signal_mask,
            print_info=False,
        )
    kept = sum(not gone for gone in model.history_.collapsed)
    signal.learning_results.decomposition_algorithm = "RRVAE"
    signal.learning_results.number_significant_components = max(kept, 1)
    return model


@contextmanager
def _as_floats(signal: BaseSignal) -> Iterator[None]:
    """Let a signal have floating-point data meanwhile."""
    data = signal.data
    if data.dtype.kind != "f":
        signal.data = data.astype(np.float32)
    try:
        yield
    finally:
        signal.data = data


def _center(center: Any, signal: BaseSignal) -> Any:
    """Centre as the model takes it, (row, col) per position, also of a `BeamShift`.

    Raises
    ------
    ValueError
        If its units are neither pixels nor those of the signal axes.
    """
    if not isinstance(center, BaseSignal):
        return center
    if not center.data.ndim or center.data.shape[-1] != 2:
        raise ValueError(
            f"a beam shift must have two components, x and y; got data of shape {center.data.shape}"
        )
    data = np.asanyarray(center.data)
    shift = np.ma.filled(data.astype(float), np.nan)
    units = getattr(center, "units", None) or ["px", "px"]
    for number, (unit, axis) in enumerate(zip(units, signal.axes_manager.signal_axes, strict=True)):
        if unit not in (None, "px", "pixels"):
            (known, factor), (other, per_pixel) = (
                _hyperspy_axes.q_units(each) for each in (unit, axis.units)
            )
            if known != other:
                raise ValueError(
                    f"the beam shift must be in pixels or in the units of the signal axes, "
                    f"{axis.units!r}; got {unit!r}"
                )
            shift[..., number] *= factor / (axis.scale * per_pixel)
    middle = np.array(signal.axes_manager.signal_shape) / 2
    return (middle - shift)[..., ::-1]


def _maps(
    signal: BaseSignal,
    source: Frames,
    model: RRVAE,
    background: ScanBackground,
    lazy_output: bool | None,
    show_progressbar: bool | None,
) -> Maps:
    with _progress(model, show_progressbar):
        codes = model.encode(source, background=background)
    about = _hyperspy_maps.about(model, background, known_center=source.center is not None)
    lazy = signal._lazy if lazy_output is None else lazy_output
    maps = {
        name: _hyperspy_maps.to_signal(signal, map_, about)
        for name, map_ in latent_maps(_hyperspy_maps.turned(codes)).items()
    }
    return Maps({name: map_.as_lazy() if lazy else map_ for name, map_ in maps.items()}, model)


@contextmanager
def _progress(model: RRVAE, show: bool | None) -> Iterator[None]:
    """Let a model follow HyperSpy's convention for progress bars while something runs."""
    before = model.progress
    preferred = hs.preferences.General.show_progressbar if show is None else show
    model.progress = before and preferred
    try:
        yield
    finally:
        model.progress = before
