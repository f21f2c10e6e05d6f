# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user waits for, on small data: reports, and gates nothing."""

from __future__ import annotations

import subprocess
import sys

import torch

from py4dstem_rrvae import RRVAE, synthetic


class Scan:
    """Known patterns of 48 x 48 pixels and a fitted model."""

    timeout = 300.0

    def setup_cache(self) -> tuple[synthetic.Patterns, RRVAE]:
        """Once for all times."""
        patterns = synthetic.lobes(2000, counts=5000)
        return patterns, RRVAE(max_epochs=2, random_state=0, progress=False).fit(patterns.frames)

    def setup(self, cached: tuple[synthetic.Patterns, RRVAE]) -> None:
        torch.set_num_threads(1)

    def time_five_epochs(self, cached: tuple[synthetic.Patterns, RRVAE]) -> None:
        model = RRVAE(max_epochs=5, background="mean", random_state=0, progress=False)
        model.fit(cached[0].frames)

    def time_encode(self, cached: tuple[synthetic.Patterns, RRVAE]) -> None:
        cached[1].encode(cached[0].frames)

    def peakmem_encode(self, cached: tuple[synthetic.Patterns, RRVAE]) -> None:
        cached[1].encode(cached[0].frames)


class Start:
    """A process of its own."""

    def time_import(self) -> None:
        subprocess.run([sys.executable, "-c", "import py4dstem_rrvae"], check=True)
