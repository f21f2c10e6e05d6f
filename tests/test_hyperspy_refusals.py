# SPDX-License-Identifier: GPL-3.0-or-later
"""What the HyperSpy adapter refuses, and the call that mends it."""

import subprocess
import sys

import hyperspy_scans as scans
import numpy as np
import pytest
from hyperspy.signals import BaseSignal, Signal1D, Signal2D
from hyperspy_fixtures import data, learned, signal  # noqa: F401, fixtures
from hyperspy_scans import DETECTOR, QUICK, SCAN

from py4dstem_rrvae.adapters import hyperspy


def ragged():
    data = np.empty(3, dtype=object)
    data[:] = [np.ones((9, 9)), np.ones((9, 8)), np.ones((8, 8))]
    return BaseSignal(data, ragged=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda d: Signal1D(d[..., 0]), ValueError, r"got spectra \(signal\.transpose\(signal_ax"),
        (lambda d: BaseSignal(d), ValueError, r"got 4 signal axes \(signal\.transpose\(signal_axe"),
        (lambda d: Signal2D(d[0, 0]), ValueError, "needs a pattern at every position; got 2 axes"),
        (
            lambda d: Signal2D(d[0]).transpose(signal_axes=3),
            ValueError,
            "two signal axes; got 3 signal axes",
        ),
        (
            lambda d: Signal2D(d[0]).transpose(signal_axes=0),
            ValueError,
            "two signal axes; got 0 signal axes",
        ),
        (lambda d: Signal2D(d * 1j), TypeError, r"got complex128 \(take signal\.real, or abs"),
        (lambda _: ragged(), TypeError, "got a ragged signal"),
        (lambda d: Signal2D(d[:0]), ValueError, "at least one position"),
        (lambda d: Signal2D(d[..., :5]), ValueError, "at least 8 x 8 pixels; got 24 x 5"),
        (
            lambda d: [Signal2D(d), Signal2D(d)],
            TypeError,
            r"one signal is needed; got a list of 2 .*signals\[0\]",
        ),
        (lambda d: d, TypeError, "a HyperSpy signal is needed; got ndarray"),
    ],
)
def test_what_is_no_scan_gets_one_sentence(make, error, match, data):
    with pytest.raises(error, match=match):
        hyperspy.fit(make(data), **QUICK)


def test_the_call_in_the_sentence_mends_it(data):
    mended = BaseSignal(data).transpose(signal_axes=(0, 1))
    assert hyperspy.frames(mended).scan_shape == SCAN


def test_detector_axes_that_cannot_be_used(data):
    signal = scans.scan(data)
    signal.axes_manager["kx"].units = "mrad"
    with pytest.raises(ValueError, match="same units; got '1/Å' and 'mrad'"):
        signal.rrvae.fit(**QUICK)
    signal = scans.scan(data)
    signal.axes_manager["ky"].convert_to_non_uniform_axis()
    with pytest.raises(ValueError, match=r"'ky' is not \(signal\.interpolate_on_axis\(\"unif"):
        signal.rrvae.fit(**QUICK)
    mended = signal.interpolate_on_axis("uniform", "ky")
    assert hyperspy.frames(mended).detector_shape == DETECTOR


@pytest.mark.slow
def test_compare_says_what_to_install():
    program = """
import sys
import numpy as np
from hyperspy.signals import Signal2D
sys.modules["pyxem"] = sys.modules["pyxem.signals"] = None
import py4dstem_rrvae
Signal2D(np.ones((3, 3, 9, 9))).rrvae.compare()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "ImportError: compare needs pyxem: pip install pyxem"
