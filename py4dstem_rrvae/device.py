# SPDX-License-Identifier: GPL-3.0-or-later
"""Where tensors live."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# What libraries beside torch's own allocator say of memory that they cannot have.
TOO_LITTLE = ("out of memory", "ALLOC_FAILED", "INSUFFICIENT_RESOURCES")


def choose_device(name: str) -> torch.device:
    """Torch device of a name; "auto" is cuda, else mps, else cpu."""
    if name != "auto":
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f'device must be "auto" or one this torch can use; got {name!r}: {reason}'
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def sparse_device(device: torch.device) -> torch.device:
    """Where products with sparse matrices are taken for tensors of a device.

    Apple's backend has no sparse matrices; main memory serves all but CUDA.
    """
    return device if device.type == "cuda" else torch.device("cpu")


@contextmanager
def within_device_memory() -> Iterator[None]:
    """Say what to do where a device's memory is too small, and give back what was taken of it.

    Raises
    ------
    MemoryError
        In place of what torch and the libraries below it raise.
    """
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        is_torch = isinstance(error, torch.cuda.OutOfMemoryError)
        if not is_torch and not any(words in reason for words in TOO_LITTLE):
            raise
        # The frames of the traceback hold tensors.
        traceback.clear_frames(error.__traceback__)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise MemoryError(
            f'the device has too little memory free for this; device="cpu" takes main memory '
            f"instead ({reason})"
        ) from error
