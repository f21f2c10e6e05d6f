# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of `RRVAE` and what they may be."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, get_args

import numpy as np

from .detector.intensity import INTENSITY_KINDS
from .model.architectures import Architecture
from .model.base import BACKGROUNDS
from .model.coordinate import NoiseKind
from .scan.blocks import MOST_INTENSITY
from .training.defaults import MIN_PATTERNS
from .training.loop import RateKind

RandomState = int | np.random.Generator | np.random.RandomState | None


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options of `RRVAE` (all of them, by name) that cannot be.

    Raises
    ------
    ValueError
        If an option is out of its range, or of the other architecture.
    """
    choices = {
        "architecture": get_args(Architecture),
        "intensity": INTENSITY_KINDS,
        "background": BACKGROUNDS,
        "mirror": (False, True),
        "noise": get_args(NoiseKind),
        "schedule": get_args(RateKind),
    }
    for name, allowed in choices.items():
        if options[name] not in allowed:
            listed = ", ".join(map(repr, allowed))
            raise ValueError(f"{name} must be one of {listed}; got {options[name]!r}")
    center = options["center"]
    if isinstance(center, str) and center not in ("refine", "each"):
        raise ValueError(
            f'center must be (row, col), one per position, "refine", "each" or None; got {center!r}'
        )
    for name in ("latent_dim", "max_epochs", "batch_size", "sample"):
        value, least = options[name], MIN_PATTERNS if name == "sample" else 1
        if value is None and name == "max_epochs":
            continue
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")
    shape = options["signal_shape"]
    if shape is not None and not (np.shape(shape) == (2,) and all(map(_is_pixels, shape))):
        raise ValueError(
            f"signal_shape must be two whole numbers of pixels, or None; got {shape!r}"
        )
    for name in ("learning_rate", "beta", "angle_prior"):
        number = options[name]
        if number is None and name == "learning_rate":
            continue
        if not isinstance(number, Real) or not 0 < float(number) < np.inf:
            raise ValueError(f"{name} must be above 0 and finite; got {number!r}")
    for name, positive in (("gain", True), ("offset", False)):
        number = options[name]
        if number is None:
            continue
        usable = isinstance(number, Real) and not isinstance(number, bool)
        smallest = 1 / MOST_INTENSITY if positive else -MOST_INTENSITY
        if not (usable and smallest <= float(number) <= MOST_INTENSITY):
            wanted = "above 0" if positive else "a finite number"
            raise ValueError(
                f"{name} must be {wanted}, from {smallest:g} to {MOST_INTENSITY:g}, or None; "
                f"got {number!r}"
            )
    share = options["fold_threshold"]
    if not isinstance(share, Real) or not 0 <= float(share) < 1:
        raise ValueError(f"fold_threshold must be from 0 to below 1; got {share!r}")
    if options["architecture"] == "coordinate" and options["mirror"]:
        raise ValueError('mirror=True is for architecture="polar"; got "coordinate"')
    if options["architecture"] == "polar" and options["noise"] != "learned":
        raise ValueError('noise="unit" is for architecture="coordinate"; got "polar"')


def _is_pixels(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and int(value) > 0


def seeded(random_state: RandomState) -> RandomState:
    """The same, with a seed drawn where there is none, so that it can be written down."""
    return int(np.random.default_rng().integers(2**31)) if random_state is None else random_state


def generator(random_state: RandomState) -> np.random.Generator:
    """NumPy generator of a seed, of another generator, or of scikit-learn's older kind."""
    if isinstance(random_state, np.random.RandomState):
        random_state = int(random_state.randint(2**31))
    return np.random.default_rng(random_state)
