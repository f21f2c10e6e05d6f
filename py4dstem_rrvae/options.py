# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of `RRVAE` and what they may be."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from .blocks import MOST_INTENSITY
from .core.architectures import Architecture
from .core.coordinate import NoiseKind
from .core.intensity import INTENSITY_KINDS
from .core.model import BACKGROUNDS
from .core.training import RateKind

if TYPE_CHECKING:
    from .estimator import RRVAE

ScanBackground = Literal["stored", "refit"]
RandomState = int | np.random.Generator | np.random.RandomState | None

MIN_PATTERNS = 8
# Of the detector trained on, in polar bins: on 8 x 8 the angle is off by two to four times its
# bound.
MIN_PIXELS = 80


def check_options(estimator: RRVAE) -> None:
    """Refuse options that cannot be.

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
        if getattr(estimator, name) not in allowed:
            listed = ", ".join(map(repr, allowed))
            raise ValueError(f"{name} must be one of {listed}; got {getattr(estimator, name)!r}")
    if isinstance(estimator.center, str) and estimator.center not in ("refine", "each"):
        raise ValueError(
            f'center must be (row, col), one per position, "refine", "each" or None; '
            f"got {estimator.center!r}"
        )
    for name in ("latent_dim", "max_epochs", "batch_size", "sample"):
        value, least = getattr(estimator, name), MIN_PATTERNS if name == "sample" else 1
        if value is None and name == "max_epochs":
            continue
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")
    shape = estimator.signal_shape
    if shape is not None and not (np.shape(shape) == (2,) and all(map(_is_pixels, shape))):
        raise ValueError(
            f"signal_shape must be two whole numbers of pixels, or None; got {shape!r}"
        )
    for name in ("learning_rate", "beta", "angle_prior"):
        number = getattr(estimator, name)
        if number is None and name == "learning_rate":
            continue
        if not isinstance(number, Real) or not 0 < float(number) < np.inf:
            raise ValueError(f"{name} must be above 0 and finite; got {number!r}")
    for name, positive in (("gain", True), ("offset", False)):
        number = getattr(estimator, name)
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
    share = estimator.fold_threshold
    if not isinstance(share, Real) or not 0 <= float(share) < 1:
        raise ValueError(f"fold_threshold must be from 0 to below 1; got {share!r}")
    if estimator.architecture == "coordinate" and estimator.mirror:
        raise ValueError('mirror=True is for architecture="polar"; got "coordinate"')
    if estimator.architecture == "polar" and estimator.noise != "learned":
        raise ValueError('noise="unit" is for architecture="coordinate"; got "polar"')


def _is_pixels(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and int(value) > 0


def generator(random_state: RandomState) -> np.random.Generator:
    """NumPy generator of a seed, of another generator, or of scikit-learn's older kind."""
    if isinstance(random_state, np.random.RandomState):
        random_state = int(random_state.randint(2**31))
    return np.random.default_rng(random_state)
