# SPDX-License-Identifier: GPL-3.0-or-later
"""The model that a host's call names, whichever the host."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from ..estimator import RRVAE


def to_train(model: RRVAE | None, options: dict[str, Any]) -> RRVAE:
    """The model given, or one made of the options.

    Raises
    ------
    TypeError
        If both are given, the model is no `RRVAE`, or `RRVAE` has no such option.
    """
    if model is None:
        return RRVAE(**options)
    if options:
        raise TypeError(
            "give a model or options of RRVAE, not both; got a model and "
            f"{', '.join(sorted(options))}"
        )
    return trained(model)


def trained(model: RRVAE | str | PathLike[str]) -> RRVAE:
    """The model given, or read from its file.

    Raises
    ------
    TypeError
        If it is no `RRVAE`.
    """
    if isinstance(model, (str, PathLike)):
        return RRVAE.load(Path(model))
    if not isinstance(model, RRVAE):
        raise TypeError(f"model must be an RRVAE; got {type(model).__name__}")
    return model


def camera(model: RRVAE) -> dict[str, Any]:
    """Gain, offset and read-out noise that a model's scan was taken to have, for metadata.

    And how many pixels were left out: those masked, and the defects that were found.
    """
    response = model.response_
    return {
        "gain": float(response.gain),
        "offset": float(response.offset),
        "readout": float(response.readout),
        "found": response.source,
        "pixels_left_out": int((~model.mask_).sum()),
    }


def center_from(model: RRVAE, given: str) -> str:
    """Where a model's centre came from; `given` where it had the patterns' own."""
    if model.center is None:
        return given
    return "refined" if isinstance(model.center, str) else "model"
