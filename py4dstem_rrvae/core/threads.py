# SPDX-License-Identifier: GPL-3.0-or-later
"""Work shared out among threads, where torch would rather share out every small operation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


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


def in_parallel(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Results of some work on each of the parts, in their order.

    Done by as many threads as torch may take, each of which works on a part alone; one after the
    other in a thread of somebody else's, who shares out the cores already.
    """
    threads = min(torch.get_num_threads(), len(parts))
    if threads < 2 or threading.current_thread() is not threading.main_thread():
        return [work(part) for part in parts]
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))
