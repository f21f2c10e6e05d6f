# SPDX-License-Identifier: GPL-3.0-or-later
"""What others set in torch touches nothing here, and nothing here touches what they set."""

import multiprocessing
import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from py4dstem_rrvae import RRVAE, describe, synthetic
from py4dstem_rrvae.threads import one_thread

FRAMES = synthetic.lobes(200, size=32).frames
OPTIONS = {"random_state": 0, "progress": False, "device": "cpu", "max_epochs": 2}


def codes(_=None):
    model = RRVAE(center=(15.5, 15.5), **OPTIONS).fit(FRAMES)
    found = model.encode(FRAMES)
    model.reconstruct(found)
    return found.z


@pytest.fixture(scope="module")
def usual():
    return codes()


def test_a_file_is_read_as_it_was_written(few, quick, tmp_path):
    quick.save(tmp_path / "a.rrvae")
    usual = quick.encode(few).z
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            loaded = RRVAE.load(tmp_path / "a.rrvae")
            np.testing.assert_allclose(loaded.encode(few).z, usual, atol=1e-6)
    finally:
        torch.set_default_dtype(torch.float32)


def test_devices_precision_and_errors_of_others_change_nothing(usual):
    with np.errstate(all="raise"), torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_allclose(codes(), usual, atol=1e-4)
        describe(FRAMES[:20], device="cpu", progress=False)
        assert torch.get_default_device().type == "meta" and torch.is_autocast_enabled("cpu")
        assert np.geterr()["under"] == "raise"


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", [torch.no_grad, torch.inference_mode, nullcontext], ids=lambda s: s.__name__
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_settings_of_others_change_nothing_and_stay(setting, dtype, usual):
    torch.set_default_dtype(dtype)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with setting():
            np.testing.assert_allclose(codes(), usual, atol=1e-5)
        assert torch.get_default_dtype() is dtype
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)


def test_two_threads_that_hold_torch_to_one_give_it_back():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    first_in, second_out = threading.Event(), threading.Event()

    def first():
        with one_thread():
            first_in.set()
            second_out.wait(10)

    worker = threading.Thread(target=first)
    worker.start()
    first_in.wait(10)
    with one_thread():
        second_out.set()
        worker.join(10)
        assert torch.get_num_threads() == 1
    try:
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_forked_process_does_not_wait_for_threads_of_its_parent(usual):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.ones(500, 500) @ torch.ones(500, 500)  # wakes the threads
    try:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            found = pool.apply_async(codes, (0,)).get(timeout=120)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(found, usual, atol=1e-5)
