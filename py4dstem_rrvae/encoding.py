# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with each block of patterns: into polar bins, and on to codes.

Both are sent to the workers of a cluster as they are, so both pickle: without what can be made
again there, and with the device that the worker has.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .blocks import Positions
from .codes import pack
from .core.bins import BinOperator, Detector, Grid, GridFor, PolarGrid, center_of_mass
from .core.device import choose_device, sparse_device
from .core.fine_mean import FineMean, FineSums
from .core.inference import Inference
from .core.intensity import COUNTED, Intensity
from .core.model import LatentModel
from .core.outliers import without_pattern
from .core.threads import in_parallel
from .core.transform import BinTransform, Own
from .frames import FloatArray, Frames

CHUNK = 256
# Standard deviations of noise, which no pattern that tells anything comes near.
MOST_SCALED = 1e9
# A graphics processor is given more at once: it takes as long to start an operation on few.
DEVICE_CHUNK = 2048
# Patterns of each block of a sample that are kept as they were recorded, for the camera's response.
RAW = 64


@dataclass(frozen=True)
class Binned:
    """Bins of a block, and what else is learned of it on the way.

    Attributes
    ----------
    polar : ndarray, shape (n, R, A)
        Bins of the patterns that are used.
    used : ndarray of bool, shape (m,)
        Which patterns of the block those are; the others hold none.
    some : ndarray, shape (k, H, W)
        Some of the patterns, as they were recorded.
    total : ndarray, shape (H, W)
        Sum of the patterns.
    sums : FineSums or None
        What they add to the scan's mean pattern, where the beam wanders.
    """

    polar: NDArray[np.float32]
    used: NDArray[np.bool_]
    some: NDArray[Any]
    total: FloatArray
    sums: FineSums | None


class Binner:
    """Counts of patterns summed into polar bins.

    Parameters
    ----------
    detector
        Geometry of the patterns.
    grid
        Bins to fill.
    origins : ndarray, shape (positions, 2), or None
        Centre of every scan position; None where the detector's serves all.
    wander : float
        Farthest any origin lies from the detector's centre, in pixels.
    device
        As in `RRVAE`.
    mean : FineMean or None
        Of the scan; see `BinTransform`.
    offset : float
        Detector units of a pixel without electrons.
    """

    def __init__(
        self,
        detector: Detector,
        grid: Grid,
        origins: FloatArray | None = None,
        wander: float = 0.0,
        device: str = "auto",
        mean: FineMean | None = None,
        offset: float = 0.0,
    ) -> None:
        self._recipe = (detector, grid, origins, wander, device, mean, offset)
        self.detector, self.grid, self.origins, self.mean = detector, grid, origins, mean
        self.transform = BinTransform(detector, grid, choose_device(device), wander, mean, offset)

    @classmethod
    def of(
        cls,
        frames: Frames,
        grid: Grid | GridFor = PolarGrid.for_detector,
        device: str = "auto",
        detector: Detector | None = None,
        mean: FineMean | None = None,
        offset: float = 0.0,
    ) -> Binner:
        """For frames whose centre is known; what makes grids is given their detector.

        `detector` is theirs unless given: patterns of the scan trained on are counted from the
        centre that this scan had.
        """
        detector = detector or frames.detector()
        wander = frames.wander(detector)
        if callable(grid):
            grid = grid(detector, wander)
        return cls(detector, grid, frames.origins(), wander, device, mean, offset)

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew where it arrives, with the device there."""
        return Binner, self._recipe

    def polar(self, patterns: NDArray[Any], positions: Positions) -> Tensor:
        """Bins (n, R, A), on the device, of ``patterns (n, H, W)`` at flat scan positions."""
        return self.transform(patterns, self._origins(positions))

    def operators(
        self, patterns: NDArray[Any], positions: Positions
    ) -> Iterator[tuple[Own, BinOperator, NDArray[Any]]]:
        """Which patterns each operator serves, the operator, and what of them it takes."""
        return self.transform.operators(patterns, self._origins(positions))

    def knowing(self, mean: FineMean, offset: float) -> Binner:
        """The same with the scan's mean and the camera's offset; operators are shared."""
        other = copy.copy(self)
        other.mean, other._recipe = mean, (*self._recipe[:-2], mean, offset)
        other.transform = self.transform.knowing(mean, offset)
        return other

    def evened(self, binned: Tensor, positions: Positions) -> Tensor:
        """What a binner that knows the mean makes of ``binned (n, R, A)`` by one that did not."""
        return self.transform.evened(binned, self._origins(positions))

    def _origins(self, positions: Positions) -> FloatArray | None:
        return None if self.origins is None else self.origins[positions]

    def __call__(self, patterns: NDArray[Any], positions: Positions) -> Binned:
        """Bins of those of ``patterns (m, H, W)``, at flat scan positions, that hold a pattern."""
        used = ~without_pattern(patterns, self.detector.mask)
        patterns, origins = patterns[used], self._origins(positions[used])
        sums = None if origins is None else self.transform.sums(patterns, origins)
        polar = self.transform(patterns, origins).cpu().numpy()
        total = patterns.sum(axis=0, dtype=float)
        return Binned(polar, used, patterns[:RAW].copy(), total, sums)


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


def angle_offset(
    model: LatentModel, stabilised: Tensor, intensity: Intensity, grid: Grid, weight: Tensor
) -> float:
    """Turn the model's zero onto the direction of the centre of mass, weighted by its size.

    ``weight (R, A)`` is 0 in the bins that a mask leaves nothing of.
    """
    parts = [model.infer(x) for x in stabilised.split(CHUNK)]
    theta = torch.cat([p.angle for p in parts]).cpu()
    distinct = torch.cat([p.fold for p in parts]).cpu() == 1
    if not bool(distinct.any()):
        return 0.0
    if bool((weight == 0).any()):
        stabilised = _completed(model, stabilised, parts, weight)
    shift = center_of_mass(intensity.invert(stabilised), grid).cpu()
    shift = (shift - shift.mean())[distinct]
    ahead = shift * torch.exp(-1j * theta[distinct])
    mirrored = torch.cat([p.mirrored for p in parts]).cpu()[distinct]
    return float(torch.angle(torch.where(mirrored, ahead.conj(), ahead).sum()))


@torch.inference_mode()
def _completed(
    model: LatentModel, stabilised: Tensor, parts: list[Inference], weight: Tensor
) -> Tensor:
    """Patterns with what the model expects where a mask leaves nothing.

    Without it the centre of mass would lean away from a beam stop.
    """
    expected = [model.expected(p.z, torch.nan_to_num(p.angle), p.mirrored) for p in parts]
    return torch.where(weight > 0, stabilised, torch.cat(expected))


def redraw(
    clean: Tensor,
    draws: int,
    model: LatentModel,
    transform: BinTransform,
    intensity: Intensity,
    chance: torch.Generator,
) -> list[Tensor]:
    """Stabilised patterns ``clean (n, R, A)`` as the detector would count them so many times more.

    Where the intensity scale is not one of counts, the model's noise is added instead.
    """
    if intensity.kind not in COUNTED:
        noise = (torch.randn(clean.shape, generator=chance).to(clean) for _ in range(draws))
        return [clean + one * model.bin_noise() for one in noise]
    # Bins share pixels, so that noise drawn bin by bin would be too strong.
    host = sparse_device(clean.device)
    mean = transform.uneven(intensity.expected(clean, transform.dof / transform.grid.shape[1]))
    expected = transform.unfold(mean.to(host).clamp(min=0) / intensity.gain).cpu()
    counted = (torch.poisson(expected, chance).numpy() for _ in range(draws))
    frames = (intensity.gain * one + transform.offset for one in counted)
    return [intensity(transform(one)).to(clean.device) for one in frames]
