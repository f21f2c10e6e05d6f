# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scan is known by: maps made before it was changed in place are not its own.

Both hosts crop, swap and rotate in place, and neither says so.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

PIXELS = 4096
# Names of dask arrays hold within a session: nobody can compare them with pixels.
DASK = "dask "


def of(patterns: Any) -> str:
    """Digest of some pixels, their places and the type, or a dask array's name; else ""."""
    if hasattr(patterns, "dask"):
        return f"{DASK}{_before_rechunking(patterns)}"
    if not isinstance(patterns, np.ndarray) or isinstance(patterns, np.memmap):
        return ""
    total = math.prod(patterns.shape)
    where = np.random.default_rng(0).integers(0, total, PIXELS)
    pixels = patterns[np.unravel_index(where, patterns.shape)]
    about = f"{patterns.shape} {patterns.dtype.str}".encode()
    return hashlib.sha256(about + np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


def differ(one: str, other: str) -> bool:
    """Whether two digests are known, and are of different patterns."""
    compare = one.startswith(DASK) == other.startswith(DASK)
    return compare and bool(one) and bool(other) and one != other


def _before_rechunking(patterns: Any) -> str:
    """Name that dask gave the patterns, which is another after every change but of the chunks."""
    name, layers = patterns.name, getattr(patterns.dask, "dependencies", {})
    while name.startswith("rechunk") and len(layers.get(name, ())) == 1:
        (name,) = layers[name]
    return str(name)
