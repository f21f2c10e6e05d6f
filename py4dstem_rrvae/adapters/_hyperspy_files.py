# SPDX-License-Identifier: GPL-3.0-or-later
"""Patterns of a signal, scans from any format that HyperSpy knows, and files of maps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import hyperspy.api as hs
from hyperspy.signals import BaseSignal

from ..replacing import replacing
from ..scan.frames import Frames
from . import _hyperspy_axes, _outputs


def frames(signal: BaseSignal) -> Frames:
    """The patterns, and the geometry that the signal axes hold.

    Raises
    ------
    TypeError
        If it is no signal, or its data are no real numbers.
    ValueError
        If it has no two signal axes or no navigation axis, or the signal axes cannot be used.
    """
    if isinstance(signal, (list, tuple)):
        raise TypeError(
            f"one signal is needed; got a list of {len(signal)} (hyperspy.api.load gives one where "
            "a file holds several: take signals[0])"
        )
    if not isinstance(signal, BaseSignal):
        raise TypeError(f"a HyperSpy signal is needed; got {type(signal).__name__}")
    _hyperspy_axes.check(signal)
    center, matrix, units = _hyperspy_axes.detector(signal)
    return Frames(_hyperspy_axes.data(signal), center=center, matrix=matrix, q_units=units)


def read(
    path: str | PathLike[str], *, lazy: bool = True, file_format: str | None = None
) -> BaseSignal:
    """The scan in a file of any format that HyperSpy reads.

    Parameters
    ----------
    path
        File.
    lazy
        Whether the data stay in the file.
    file_format
        HyperSpy's name of the format, where the ending leaves several (``"EMD"``, ``"EMPAD"``).

    Raises
    ------
    ValueError
        If HyperSpy cannot open the file, or it holds no scan or several.
    """
    try:
        # Some readers take the bare word None for a format.
        named = {} if file_format is None else {"file_format": file_format}
        found = hs.load(str(path), lazy=lazy, **named)
    except Exception as error:  # the readers raise whatever their format makes them
        reason = str(error).strip() or type(error).__name__
        hint = " (file_format, or --file-format, names one)" if "multiple" in reason else ""
        raise ValueError(
            f"{path} must be a file that HyperSpy opens; it says: {reason.splitlines()[0]}{hint}"
        ) from error
    held = found if isinstance(found, list) else [found]
    scans = [one for one in held if _is_scan(one)]
    if len(scans) == 1:
        return scans[0]
    if len(held) == 1:
        frames(held[0])
    listed = ", ".join(repr(one) for one in held if one.data.ndim > 2)
    raise ValueError(
        f"{path} must hold one scan of patterns; got {len(scans)} in {listed} (take one of "
        "hyperspy.api.load, with .transpose(signal_axes=(0, 1)) where it has no navigation axes)"
    )


def save(
    maps: Mapping[str, BaseSignal], path: str | PathLike[str], *, overwrite: bool = False
) -> None:
    """Write maps to one .hspy or .zspy file; ``hyperspy.api.load(path).split()`` gives them back.

    An earlier file is replaced only once the new one is complete.

    Raises
    ------
    ValueError
        If there are no maps, or HyperSpy would not read the name's ending again.
    FileExistsError
        If the file exists and `overwrite` is false.
    OSError
        If it cannot be written.
    """
    path = Path(path)
    _outputs.check(path, "hyperspy", overwrite=overwrite)
    kept = [map_ for name, map_ in maps.items() if name != "beam_shift"]
    if not kept:
        raise ValueError("there are no maps to save: call fit, encode or compare first")
    stack = hs.stack(kept, new_axis_name="map", show_progressbar=False)
    stack.metadata.General.title = f"maps: {', '.join(m.metadata.RRVAE.map for m in kept)}"
    with replacing(path, overwrite=overwrite) as part, warnings.catch_warnings():
        # Of the host's own choice of store.
        warnings.filterwarnings("ignore", message="The NestedDirectoryStore is deprecated")
        stack.save(str(part))


def _is_scan(signal: BaseSignal) -> bool:
    try:
        frames(signal)
    except (TypeError, ValueError):
        return False
    return True
