# SPDX-License-Identifier: GPL-3.0-or-later
"""A block of patterns, into codes.

It is sent to the workers of a cluster as it is, so it pickles: without what can be made again
there, and with the device that the worker has.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..codes import pack
from ..detector.intensity import Intensity
from ..model.base import LatentModel
from ..threads import in_parallel
from .binning import Binner
from .blocks import Positions
from .frames import FloatArray

CHUNK = 256
# A graphics processor is given more at once: it takes as long to start an operation on few.
DEVICE_CHUNK = 2048
# Standard deviations of noise, which no pattern that tells anything comes near.
MOST_SCALED = 1e9


class Encoder:
    """Codes of patterns, in the rows that `codes.pack` makes.

    Parameters
    ----------
    model
        Trained model with the noise and background of the patterns' scan.
    binner
        Of the patterns' detector.
    intensity
        Intensity scale with the gain of the patterns' scan.
    angle_offset
        Added to the model's turn, radians.
    """

    def __init__(
        self, model: LatentModel, binner: Binner, intensity: Intensity, angle_offset: float
    ) -> None:
        device = binner.transform.device
        self.model, self.intensity = model.to(device), intensity.to(device)
        self.binner, self.angle_offset = binner, angle_offset

    def __reduce__(self) -> tuple[Any, ...]:
        """The model travels in main memory."""
        model = copy.deepcopy(self.model).cpu()
        return Encoder, (model, self.binner, self.intensity.to("cpu"), self.angle_offset)

    def __call__(self, patterns: NDArray[Any], positions: Positions) -> FloatArray:
        """Codes, shape (n, k), of ``patterns (n, H, W)`` at flat scan positions."""

        def codes(part: slice) -> FloatArray:
            binned = self.binner.polar(patterns[part], positions[part])
            # A pattern far beyond those trained on has squares that single precision cannot hold.
            x = self.intensity(binned).clamp(-MOST_SCALED, MOST_SCALED)
            return pack(self.model.infer(x), self.angle_offset)

        alone = self.binner.transform.device.type == "cpu"
        chunk = CHUNK if alone else DEVICE_CHUNK
        parts = [slice(i, i + chunk) for i in range(0, len(patterns), chunk)]
        if alone:
            return np.concatenate(in_parallel(codes, parts))
        return np.concatenate([codes(part) for part in parts])
