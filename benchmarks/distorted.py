# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras with the distortions of real instruments, and the scores of a model behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from py4dstem_rrvae import Codes
from py4dstem_rrvae.synthetic import Camera, Patterns

from . import centers, scores
from .quality import Row

Array = NDArray[np.float64]

SIZE = 48
# Single-lobed patterns have a direction, so that their angle can be held against the truth itself.
NUMBERS = (1, 3, 6)


@dataclass(frozen=True)
class Scores:
    """Figures of merit of one model; those of angles are per class."""

    accuracy: float
    ari: float
    deformation: float
    leak: float
    angle: list[float]
    direction: float

    @classmethod
    def of(cls, codes: Codes, truth: Patterns) -> Scores:
        """Of the codes of known patterns."""
        lopsided = truth.fold == 1
        off = np.exp(1j * (codes.angle - truth.angle)[lopsided])
        return cls(
            scores.accuracy(codes.z, truth.label),
            scores.ari(codes.z, truth.label),
            scores.deformation(codes.z, truth),
            scores.leak(codes.z, truth),
            scores.angle_error_over_bound(truth, codes.angle),
            float(np.degrees(np.median(np.abs(np.angle(off))))),
        )

    @classmethod
    def median(cls, several: list[Scores]) -> Scores:
        """Of each figure by itself."""
        names = list(cls.__dataclass_fields__)
        return cls(*(np.median([getattr(s, n) for s in several], axis=0) for n in names))

    def row(self) -> Row:
        """As cells of a table."""
        return {
            "10-NN accuracy": f"{self.accuracy:.3f}",
            "ARI": f"{self.ari:.3f}",
            "deformation R2": f"{self.deformation:.3f}",
            "turn in z": f"{self.leak:.3f}",
            "angle error / bound": " ".join(f"{a:.2f}" for a in self.angle),
            "direction off, degrees": f"{self.direction:.2f}",
        }


def rotation(degrees: float) -> Array:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin], [sin, cos]])


def descan(n: int, size: int = SIZE, reach: float = 2.0) -> Camera:
    """The beam drifts with the scan, by up to `reach` pixels at its corners."""
    rows = int(np.sqrt(n))
    row, col = np.divmod(np.arange(n), rows)
    ramp = np.stack([row / (row.max() or 1), col / (rows - 1)], axis=1) * 2 - 1
    return Camera((size, size), (size - 1) / 2 + reach / np.sqrt(2) * ramp)


def ellipse(size: int = SIZE, ratio: float = 1.04) -> Camera:
    """Circles become ellipses of that ratio of axes, turned by 30 degrees."""
    squeeze = rotation(30) @ np.diag([ratio**0.5, ratio**-0.5]) @ rotation(-30)
    return Camera((size, size), matrix=squeeze)


def unequal(size: int = SIZE, ratio: float = 1.2) -> Camera:
    """Pixels smaller along the columns, and more of them."""
    columns = round(ratio * size)
    return Camera((size, columns), matrix=np.diag([1.0, size / columns]))


def stopped(size: int = SIZE, hot: float = 20.0) -> Camera:
    """A beam stop, 2 % of dead pixels and 1 % of hot ones."""
    rng = np.random.default_rng(7)
    gain = centers.beam_stop((size, size), np.full(2, (size - 1) / 2), 0.5, size / 8)
    gain[rng.random(gain.shape) < 0.02] = 0.0
    dark = np.where(rng.random(gain.shape) < 0.01, hot, 0.0)
    return Camera((size, size), gain=gain, dark=dark)


def turned(size: int = SIZE, degrees: float = 30.0, flip: bool = False) -> Camera:
    """Detector turned against the scan; flipped before that, its columns run the other way."""
    return Camera((size, size), matrix=rotation(degrees) @ np.diag([1.0, -1.0 if flip else 1.0]))


def cameras(n: int, size: int = SIZE) -> dict[str, Camera]:
    return {
        "none": Camera((size, size)),
        "descan, up to 2 pixels": descan(n, size),
        "ellipse, 4 %": ellipse(size),
        "pixels 1 : 1.2": unequal(size),
        "beam stop, bad pixels": stopped(size),
        "detector turned by 30 degrees": turned(size),
        "turned by 30 degrees and flipped": turned(size, flip=True),
    }
