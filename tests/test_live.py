# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps of a simulated camera's stream are those of the same patterns in memory."""

import numpy as np
import pytest
from libertem.executor.inline import InlineJobExecutor
from libertem_live.api import LiveContext

from benchmarks import live
from py4dstem_rrvae import synthetic


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:all latents are switched off")
def test_a_camera_s_stream_is_learned_and_mapped_as_it_comes():
    frames = synthetic.lobes(1024, size=32, counts=3000).frames.astype(np.uint16)
    with LiveContext(executor=InlineJobExecutor()) as context:
        model = live.trained(context, frames, max_epochs=4)
        found = live.encoded(context, model, frames, 32, 0.0)
    assert found["lost"] == 0
    assert found["looks"] == 4  # partitions of 256
    assert found["z_differs"] < 1e-5
    assert 0 < found["first_map_s"] < found["camera_s"] + found["after_the_last_s"]
