# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts done by threads: in order, alone, and as in one thread."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from estimators import NAMES

from py4dstem_rrvae.threads import in_parallel, one_thread


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_one_thread_is_given_back_whatever_happens(three_threads):
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(RuntimeError, match="broken"), one_thread():
        raise RuntimeError("broken")
    assert torch.get_num_threads() == 3


def test_parts_are_done_at_once_and_returned_in_order(three_threads):
    # Each waits until all three are at work, so that one thread would wait for ever.
    together = threading.Barrier(3, timeout=60)

    def work(part):
        together.wait()
        return part, torch.get_num_threads()

    assert in_parallel(work, range(6)) == [(k, 1) for k in range(6)]
    assert torch.get_num_threads() == 3


def test_a_thread_of_somebody_else_s_takes_no_others(three_threads):
    def work(_):
        return threading.get_ident()

    with ThreadPoolExecutor(1) as pool:
        assert len(set(pool.submit(in_parallel, work, range(6)).result())) == 1


def test_an_exception_is_raised_and_the_threads_are_given_back(three_threads):
    def broken(_):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        in_parallel(broken, range(6))
    assert torch.get_num_threads() == 3


def test_codes_do_not_depend_on_the_threads(trained, unseen, three_threads):
    frames = np.concatenate([unseen.frames] * 3)
    several = trained.encode(frames)
    torch.set_num_threads(1)
    one = trained.encode(frames)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(several, name), getattr(one, name))
