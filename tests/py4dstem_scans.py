# SPDX-License-Identifier: GPL-3.0-or-later
"""Small py4DSTEM scans whose every scale, unit and offset differs.

Patterns are analytic: a disc with a bright limb on one side, turned by a known angle, so that the
host's centre of mass and the model's turn both have a truth.
"""

import numpy as np
import py4DSTEM

SCAN, DETECTOR = (6, 8), (24, 26)
CENTER = (11.3, 12.9)
QUICK = {"max_epochs": 2, "random_state": 0, "progress": False, "device": "cpu"}
ENERGY = 60e3
ANGLE = ["angle", "angle_std", "angle_reliability"]
NAMES = ["z1", "z2", "z1_std", "z2_std", *ANGLE, "fold", "error"]
LEARNED = QUICK | {"max_epochs": 40, "batch_size": 8}


def pattern(turn, matrix=None, center=CENTER, counts=4e4, shape=DETECTOR):
    """Expected counts of a lopsided disc, turned from x towards y by `turn` in the frame of q."""
    matrix = np.eye(2) if matrix is None else matrix
    index = np.stack(np.indices(shape), axis=-1) - np.asarray(center)
    x, y = np.moveaxis(index @ matrix.T, -1, 0)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    disc = 1 / (1 + np.exp((radius - 7.0) / 0.6))
    limb = np.exp(-0.5 * ((radius - 5.0) / 1.5) ** 2) * np.exp(2 * np.cos(angle - turn))
    expected = disc * (1 + limb)
    return counts * expected / expected.sum()


def balanced_turns():
    """A turn per position whose COM field has neither mean nor slope, so DPC's plane fit is 0."""
    half = SCAN[0] * SCAN[1] // 2
    turns = np.random.default_rng(1).permutation(np.arange(half) * 2 * np.pi / half)
    return np.concatenate([turns, turns[::-1]]).reshape(SCAN)


def counts_of(turns, seed=0, **options):
    rng = np.random.default_rng(seed)
    expected = np.array([pattern(t, **options) for t in turns.ravel()])
    return rng.poisson(expected).reshape(*turns.shape, *DETECTOR).astype(np.uint16)


def calibrate(cube):
    calibration = cube.calibration
    calibration.set_R_pixel_size(0.37)
    calibration.set_R_pixel_units("A")
    calibration.set_Q_pixel_size(0.051)
    calibration.set_Q_pixel_units("A^-1")
    calibration.set_origin(CENTER)
    calibration.set_QR_rotflip_degrees((0.0, False))
    return cube


def lopsided_scan():
    """The patterns of most tests; writing to them raises."""
    data = counts_of(balanced_turns())
    data.setflags(write=False)
    return data


def data_cube(data):
    return calibrate(py4DSTEM.DataCube(data, name="scan"))


def off_by(angles, reference):
    """Largest difference after one common offset, in degrees, of angles modulo 2 pi."""
    unit = np.exp(1j * (angles - reference))
    return np.degrees(np.abs(np.angle(unit / unit.mean())).max())
