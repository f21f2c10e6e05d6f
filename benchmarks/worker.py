# SPDX-License-Identifier: GPL-3.0-or-later
"""One method on one data set in a process of its own: files in, files out, and what it cost.

Runs in the peers' Python too, so it needs NumPy alone. ``IN.npz`` holds `train` and `fresh`
patterns (n, H, W) in counts and `options`, a JSON object. ``OUT.npz`` gets of the fresh patterns
`z` (n, d), `angle` (n,) in radians and `expected` (n, H, W) in counts, both NaN where the method
has none, and `cost`, a JSON object.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Fitted(Protocol):
    """A trained method; `shown` is the number of patterns that training looked at, repeats too."""

    shown: int

    def encode(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Latents (n, d), and angles (n,) where it has them."""

    def expected(self, frames: np.ndarray) -> np.ndarray | None:
        """Counts (n, H, W) that it expects where it has encoded these, if it can."""


Fit = Callable[[np.ndarray, dict[str, Any]], Fitted]


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB; NaN where the system does not say."""
    # Not getrusage: its maximum is inherited from the process that started this one.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else "")
    return int(found[1]) / 1024 if found else float("nan")


def run(fit: Fit, source: str, target: str) -> None:
    """Train, encode and decode, timed by the processor time of this process."""
    stored = np.load(source)
    train, fresh = stored["train"], stored["fresh"]
    clock = [time.process_time()]
    fitted = fit(train, json.loads(str(stored["options"])))
    clock.append(time.process_time())
    z, angle = fitted.encode(fresh)
    clock.append(time.process_time())
    cost = {
        "fit_s": clock[1] - clock[0],
        "encode_s": clock[2] - clock[1],
        "shown": fitted.shown,
        "encoded": len(fresh),
        "peak_mib": peak_mib(),
    }
    angle = np.full(len(fresh), np.nan) if angle is None else angle
    expected = fitted.expected(fresh)
    expected = np.full(len(fresh), np.nan) if expected is None else expected.astype(np.float32)
    np.savez(target, z=z, angle=angle, expected=expected, cost=json.dumps(cost))
