# SPDX-License-Identifier: GPL-3.0-or-later
"""Work shared out among threads, where torch would rather share out every small operation."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import numpy as np
import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


_HOLDING = threading.Lock()
_held: list[int] = []
_STARTED = os.getpid()


@contextmanager
def torch_as_it_comes() -> Iterator[None]:
    """Let torch and NumPy work as if nobody had changed their settings, which stay as they were.

    Notebooks that use other packages set a default dtype or device, turn gradients off, ask for
    deterministic algorithms, automatic precision, or an error where a number is too small. In a
    forked process, OpenMP would wait for threads of its parent.
    """
    if os.getpid() != _STARTED:
        torch.set_num_threads(1)
    dtype, strict = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    if dtype != torch.float32:
        torch.set_default_dtype(torch.float32)
    if strict:
        torch.use_deterministic_algorithms(False)
    try:
        with ExitStack() as settings:
            if torch.get_default_device().type != "cpu":
                settings.enter_context(torch.device("cpu"))
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    settings.enter_context(torch.autocast(kind, enabled=False))
            settings.enter_context(np.errstate(all="warn", under="ignore"))
            settings.enter_context(torch.inference_mode(False))
            settings.enter_context(torch.enable_grad())
            yield
    finally:
        if dtype != torch.float32:
            torch.set_default_dtype(dtype)
        if strict:
            torch.use_deterministic_algorithms(True, warn_only=only_warns)


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch to one thread for a while; whatever happens, it then has as many as before.

    In steps as small as those of training, every operation waits for the thread that has no core:
    on two cores that had other work, training with two threads took 28 times as long as with one.
    """
    with _HOLDING:
        # Of several threads that hold it, the last to end gives back what the first has found.
        _held.append(_held[0] if _held else torch.get_num_threads())
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _HOLDING:
            before = _held.pop()
            if not _held:
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
