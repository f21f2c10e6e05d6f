# SPDX-License-Identifier: GPL-3.0-or-later
"""Where tensors live."""

from __future__ import annotations

import torch


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
