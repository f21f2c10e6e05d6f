# SPDX-License-Identifier: GPL-3.0-or-later
"""Small HyperSpy scans whose every size, scale, offset and unit differs.

Patterns are analytic: a disc with a bright limb on one side, turned from x (columns) towards y
(rows) by a known angle, so that pyxem's centre of mass and the model's turn both have a truth.
"""

import functools

import hyperspy.api as hs
import numpy as np
from hyperspy.signals import Signal2D

hs.preferences.GUIs.warn_if_guis_are_missing = False

SCAN, DETECTOR = (6, 8), (24, 26)
CENTER = (11.3, 12.9)
Q_SIZE = 0.051
QUICK = {"max_epochs": 2, "random_state": 0, "progress": False, "device": "cpu"}
LEARNED = QUICK | {"max_epochs": 40, "batch_size": 8}
ANGLE = ["angle", "angle_std", "angle_reliability"]
NAMES = ["z1", "z2", "z1_std", "z2_std", *ANGLE, "fold", "error"]
AXES = {
    "y": (0.31, -2.5, "nm"),
    "x": (0.47, 1.25, "um"),
    "ky": (Q_SIZE, -CENTER[0] * Q_SIZE, "1/Å"),
    "kx": (Q_SIZE, -CENTER[1] * Q_SIZE, "1/Å"),
}
SERIES = ("t", (2.0, 7.0, "s"))


def pattern(turn, counts=4e4):
    """Expected counts of a lopsided disc, turned from x towards y by `turn`."""
    y, x = (i - c for i, c in zip(np.indices(DETECTOR), CENTER, strict=True))
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    disc = 1 / (1 + np.exp((radius - 7.0) / 0.6))
    limb = np.exp(-0.5 * ((radius - 5.0) / 1.5) ** 2) * np.exp(2 * np.cos(angle - turn))
    expected = disc * (1 + limb)
    return counts * expected / expected.sum()


def turns(shape=SCAN):
    """A turn per position, evenly spread over the circle."""
    count = int(np.prod(shape))
    return np.random.default_rng(1).permutation(np.arange(count) * 2 * np.pi / count).reshape(shape)


def counts_of(angles, seed=0):
    rng = np.random.default_rng(seed)
    expected = np.array([pattern(angle) for angle in np.ravel(angles)])
    return rng.poisson(expected).reshape(*np.shape(angles), *DETECTOR).astype(np.uint16)


def scan(data, kind=Signal2D, title="scan"):
    """A calibrated signal of ``data (..., y, x, ky, kx)``."""
    names = ["y", "x", "ky", "kx"][-data.ndim :]
    axes = {name: AXES[name] for name in names} if data.ndim < 5 else dict([SERIES]) | AXES
    signal = kind(data)
    signal.metadata.General.title = title
    order = [*signal.axes_manager.navigation_axes[::-1], *signal.axes_manager.signal_axes[::-1]]
    for axis, (name, (scale, offset, units)) in zip(order, axes.items(), strict=True):
        axis.name, axis.scale, axis.offset, axis.units = name, scale, offset, units
    return signal


@functools.cache
def learned():
    """Maps of the scan by a model that has learned its one class; leave both as they are."""
    return scan(counts_of(turns())).rrvae.fit(latent_dim=1, **LEARNED)


def calibration(axis):
    return axis.name, axis.size, axis.scale, axis.offset, axis.units


def off_by(angles, reference):
    """Largest difference after one common offset, in degrees, of angles modulo 2 pi."""
    unit = np.exp(1j * (angles - reference))
    return np.degrees(np.abs(np.angle(unit / unit.mean())).max())
