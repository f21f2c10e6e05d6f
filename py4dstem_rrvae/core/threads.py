# SPDX-License-Identifier: GPL-3.0-or-later
"""How many threads torch may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch to one thread for a while; whatever happens, it then has as many as before.

    In steps as small as those of training, every operation waits for the thread that has no core:
    on two cores that had other work, training with two threads took 28 times as long as with one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
