# SPDX-License-Identifier: GPL-3.0-or-later
"""Sharp bright-field discs, each pixel counting what falls on its whole area."""

import numpy as np

SIZE, RADIUS, CENTER = 48, 17.3, 23.5
# Parts along a side that a pixel is integrated over; each weighs a share of a part at the rim.
PARTS = 8


def discs(origins, turns=0.0, strength=0.0, level=100.0):
    """Expected counts (n, SIZE, SIZE) of discs at ``origins (n, 2)``, `level` a pixel.

    They are brighter by up to `strength` towards three sides, turned by ``turns (n,)``.
    """
    n = len(origins)
    turns, strength, level = (np.broadcast_to(x, n) for x in (turns, strength, level))
    place = (np.arange(SIZE * PARTS) + 0.5) / PARTS - 0.5
    frames = np.empty((n, SIZE, SIZE))
    for k, (row, col) in enumerate(origins):
        q = (place - row)[:, None] + 1j * (place - col)
        three = np.real((q * np.exp(-1j * turns[k]) / RADIUS) ** 3)
        rim = np.clip((RADIUS - np.abs(q)) * PARTS + 0.5, 0, 1)
        fine = level[k] * (1 + strength[k] * three) * rim
        frames[k] = fine.reshape(SIZE, PARTS, SIZE, PARTS).mean(axis=(1, 3))
    return frames


def origins(n, reach, seed=0):
    """Where the beam stands, up to `reach` pixels from the middle along each axis, (n, 2)."""
    return CENTER + np.random.default_rng(seed).uniform(-reach, reach, (n, 2))
