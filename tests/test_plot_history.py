# SPDX-License-Identifier: GPL-3.0-or-later
"""The figure of a training shows what its history holds."""

import numpy as np
import py4DSTEM
import pytest
from estimators import QUICK

from py4dstem_rrvae.plot import history_figure
from py4dstem_rrvae.training.loop import History


def test_losses_latents_and_repeatability_are_drawn(quick):
    history = quick.history_
    loss, told, repeats = history_figure(history, title="few").axes
    trained, held_out, kept = (line.get_ydata() for line in loss.lines)
    np.testing.assert_array_equal(trained, history.train_loss)
    np.testing.assert_array_equal(held_out, history.validation_loss)
    assert kept.tolist() == [min(history.validation_loss)]
    np.testing.assert_array_equal([line.get_ydata() for line in told.lines], np.array(history.kl).T)
    heights = [bar.get_height() for bar in repeats.patches]
    np.testing.assert_allclose(heights, np.clip(history.repeatability, 0, 1))


def test_latents_that_are_switched_off_say_so():
    history = History([3.0, 2.0], [3.0, np.nan], [1.0, 1.0], [[1.0, 0.1], [2.0, 0.0]], 0)
    history.repeatability, history.collapsed = [0.9, -4.0], [False, True]
    *_, repeats = history_figure(history).axes
    assert [text.get_text() for text in repeats.texts] == ["0.90", "off"]
    assert [bar.get_height() for bar in repeats.patches] == [0.9, 0.0]


def test_a_history_without_an_epoch_is_refused():
    with pytest.raises(ValueError, match="must hold at least one epoch; it holds none"):
        history_figure(History())


@pytest.mark.slow
def test_both_hosts_have_it(few):
    import hyperspy.api as hs

    cube = py4DSTEM.DataCube(few.reshape(8, 10, 16, 16))
    cube.calibration.set_origin((7.5, 7.5))
    signal = hs.signals.Signal2D(few.reshape(8, 10, 16, 16))
    with pytest.raises(ValueError, match="no model yet"):
        cube.rrvae.plot_history()
    for host in (cube, signal):
        host.rrvae.fit(**QUICK | {"center": (7.5, 7.5)})
        assert len(host.rrvae.plot_history().axes) == 3
