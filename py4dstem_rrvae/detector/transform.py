# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames to bins, wherever the beam stands in each of them (descan)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage, sparse
from torch import Tensor

from ..device import sparse_device
from .arrays import AnyArray, FloatArray, Index, Mask, Point
from .bin_operator import BinOperator
from .bins import Detector, Grid, PolarGrid, positions, ring_mean
from .fine_mean import SECTORS, FineMean, cell_sums, pixel_cells, radial_cells

Own = Index | slice
"""Which patterns of a block."""

# Patterns with an origin of their own share one operator per eighth of a pixel.
STEPS = 8
# Rings darker than this, relative to the brightest, are not made even; bins are changed at most by
# this factor.
LEAST_BRIGHT, MOST_FLATTENED = 1e-6, 3.0
# Origins of which is remembered what the detector shows of each bin (8 kB each).
SEEN_KEPT = 4096


class BeamAt(NamedTuple):
    """The n patterns of a block whose beam stands at one position, to an eighth of a pixel."""

    own: Index  # which they are, (n,)
    corner: tuple[int, int]  # first pixel of their window, which may lie beyond the detector
    operator: BinOperator  # of the window, without a mask: 0 beyond the detector
    terms: Tensor  # 1, and how far beyond that position each beam stands, in pixels: (n, 3)


def cut(frames: AnyArray, corner: tuple[int, int], size: tuple[int, int]) -> AnyArray:
    """Windows ``(n, *size)`` of ``frames (n, H, W)`` from `corner` on; 0 beyond the detector."""
    inside, onto = [], []
    for first, length, n in zip(corner, size, frames.shape[1:], strict=True):
        low, high = max(first, 0), min(first + length, n)
        inside.append(slice(low, high))
        onto.append(slice(low - first, high - first))
    windows = np.zeros((len(frames), *size), dtype=frames.dtype)
    windows[(slice(None), *onto)] = frames[(slice(None), *inside)]
    return windows


@lru_cache(maxsize=STEPS**2)
def _shared_operator(
    size: tuple[int, int],
    center: Point,
    matrix: tuple[float, ...],
    grid: Grid,
    device: torch.device,
) -> BinOperator:
    """Operator of windows without a mask: to fit a scan and to encode it takes the same ones."""
    detector = Detector(size, center, np.reshape(matrix, (2, 2)))
    return BinOperator(detector, grid, device)


class BinTransform:
    """`BinOperator` for frames that may each have an origin of their own.

    A window about the beam is cut out of each frame by whole pixels, so that 64 operators serve
    however far the beam wanders. What of a bin the detector's edge and a mask leave at an origin is
    found by binning the mask as a frame is binned.

    Parameters
    ----------
    detector
        Geometry; its centre serves frames given without an origin.
    grid
        Bins to fill.
    device
        Where the product is taken.
    wander : float
        Farthest any origin lies from the centre, in pixels; the detector's edge and a mask are
        taken to be wider by as much, so that one `weight` holds for all.
    mean : FineMean or None
        Of the scan, from `sums` or `fine_mean`: what the pixel grid does to it is then taken off
        each pattern.
    offset : float
        Intensity of a pixel without electrons, taken off first.

    Attributes
    ----------
    kept : ndarray of bool, shape (H, W)
        Pixels that the mask leaves.
    """

    def __init__(
        self,
        detector: Detector,
        grid: Grid,
        device: torch.device | str = "cpu",
        wander: float = 0.0,
        mean: FineMean | None = None,
        offset: float = 0.0,
    ) -> None:
        self.device = torch.device(device)
        self._host = sparse_device(self.device)
        self.kept = detector.kept
        size = 2 * int(np.ceil(wander)) + 1
        kept = ndimage.minimum_filter(self.kept, size, mode="constant", cval=False)
        self._common = BinOperator(replace(detector, mask=kept), grid, self._host)
        self.weight = self._common.weight.to(self.device)
        self.dof = self._common.dof.to(self.device)
        self.detector, self.grid = detector, grid
        self.render, self.unfold = self._common.render, self._common.unfold
        # A window reaches as far as the bins and splines, or as the detector from any origin.
        inverse = np.linalg.inv(detector.matrix)
        reach = grid.reach * np.linalg.norm(inverse, axis=1) + grid.degree / 2
        room = np.stack([detector.center, np.asarray(detector.shape) - 1 - detector.center])
        before, after = np.ceil(np.minimum(reach, room + wander)).astype(int) + 1
        self._before, self._size = tuple(before.tolist()), tuple((before + after + 1).tolist())
        self._operator = lru_cache(maxsize=STEPS**2)(self._find_operator)
        self._cells = lru_cache(maxsize=STEPS**2)(self._find_cells)
        self._seen = lru_cache(maxsize=SEEN_KEPT)(self._find_seen)
        self._know(mean, offset)

    def knowing(self, mean: FineMean, offset: float) -> BinTransform:
        """The same with a scan's mean and a camera's offset; operators are shared."""
        other = copy.copy(self)
        other._know(mean, offset)
        return other

    def _know(self, mean: FineMean | None, offset: float) -> None:
        self.offset = offset
        self.dark = (offset * self._common.area).to(self.device) * (self.weight > 0)
        self.mean, self._flat = mean, torch.ones_like(self.weight)
        if mean is not None:
            self._expected = lru_cache(maxsize=256)(partial(self._find_expected, mean))
            self._reference = self._bins_of(mean).to(self.device)
            if isinstance(self.grid, PolarGrid):  # square bins lie in no rings
                self._flat = self._flattening(mean.round()).to(self.device)

    def _bins_of(self, mean: FineMean) -> Tensor:
        """Bins (R, A) of a mean pattern about the detector's centre."""
        return self._common.bin(mean.on(self.detector)[None])[0]

    def _flattening(self, mean: FineMean) -> Tensor:
        """By what to multiply the bins (R, A) of a round pattern to make its rings even.

        Bins hold whole pixels or parts of them, more or less of a disc's edge, and behind a mask's
        edge the inner or the outer side of their ring.
        """
        bins, weight = self._bins_of(mean), self._common.weight
        ring = ring_mean(bins, weight)[:, None]
        # Without the last of these a mean that is nowhere positive would give 0 / 0.
        least = (LEAST_BRIGHT * ring.max()).clamp(min=1e-30)
        factor = (ring.clamp(min=0) + least) / (bins.clamp(min=0) + least)
        return factor.clamp(1 / MOST_FLATTENED, MOST_FLATTENED)

    def __call__(self, frames: AnyArray, origins: FloatArray | None = None) -> Tensor:
        """``frames (B, H, W)`` of any real dtype, ``origins (B, 2)`` in pixels, to (B, R, A)."""
        if origins is None:
            return (self._common.bin(frames).to(self.device) - self.dark) * self._flat
        binned = torch.empty((len(frames), *self.grid.shape), device=self._host)
        for beam in self._beam_positions(origins):
            seen, windows = self._seen(beam.corner, beam.operator), self._window(frames, beam)
            if self.detector.mask is not None:
                windows = np.where(self._kept_in(beam.corner), windows, windows.dtype.type(0))
            binned[beam.own] = self._to_bins(beam.operator, windows, seen)
        binned = (binned.to(self.device) - self.dark) * (self.weight > 0)
        return binned if self.mean is None else self.evened(binned, origins)

    def operators(
        self, frames: AnyArray, origins: FloatArray | None
    ) -> Iterator[tuple[Own, BinOperator, AnyArray]]:
        """Which frames an operator serves, the operator, and what of those frames it takes."""
        if origins is None:
            yield slice(None), self._common, frames
            return
        for beam in self._beam_positions(origins):
            kept, operator = self._kept_in(beam.corner), beam.operator
            if not kept[operator.used].all():
                operator = BinOperator(replace(operator.detector, mask=kept), self.grid, self._host)
            yield beam.own, operator, self._window(frames, beam)

    def sums(self, frames: AnyArray, origins: FloatArray) -> FloatArray:
        """What ``frames (B, H, W)`` add to the `cell_sums` of the scan."""
        total = np.zeros((2, radial_cells(self.detector, self.grid.reach), SECTORS))
        for beam in self._beam_positions(origins):
            added = self._window(frames, beam).sum(axis=0, dtype=float).ravel()
            kept = self._kept_in(beam.corner).ravel().astype(float)
            cells, patterns = self._cells(beam.operator), float(len(beam.own))
            total += cell_sums(cells, kept * added, kept * patterns)
        return total

    def fine_mean(self, mean: FloatArray) -> FineMean:
        """Of a mean pattern (H, W) about the detector's centre, finer than its pixels."""
        kept = self.kept.ravel().astype(float)
        return FineMean.of(cell_sums(self._cells(self._common), kept * mean.ravel(), kept))

    def uneven(self, binned: Tensor) -> Tensor:
        """``binned (..., R, A)`` as before the rings of a round pattern were made even."""
        return binned / self._flat

    def evened(self, binned: Tensor, origins: FloatArray | None) -> Tensor:
        """``binned (B, R, A)`` without what the pixel grid does to the mean pattern at ``origins``.

        The camera's offset has been taken off before.

        Where a disc's edge meets the pixels, its bins hold more or less as the beam moves by parts
        of a pixel: at 100 counts a pixel by several times the noise. The mean pattern is taken to
        be in each pattern as strongly as it is found there.
        """
        if origins is None:
            return binned * self._flat
        reference = self._reference
        strength = (binned.flatten(1) @ reference.flatten()) / reference.square().sum()
        excess = torch.empty_like(binned)
        for beam in self._beam_positions(origins):
            here = torch.tensordot(beam.terms, self._expected(beam.operator), dims=1)
            excess[beam.own] = here.to(excess) - reference
        return (binned - strength[:, None, None] * excess * (self.weight > 0)) * self._flat

    def _beam_positions(self, origins: FloatArray) -> Iterator[BeamAt]:
        """Patterns whose beam stands at one position, to an eighth of a pixel, in turn."""
        for (row, col), own in positions(origins, STEPS):
            corner = row // STEPS - self._before[0], col // STEPS - self._before[1]
            beyond = origins[own] - np.array([row, col]) / STEPS
            terms = torch.from_numpy(np.column_stack([np.ones(len(own)), beyond])).float()
            yield BeamAt(own, corner, self._operator(row % STEPS, col % STEPS), terms)

    def _window(self, frames: AnyArray, beam: BeamAt) -> AnyArray:
        return cut(frames[beam.own], beam.corner, self._size)

    def _kept_in(self, corner: tuple[int, int]) -> Mask:
        """What of the window from a corner on lies on the detector and is not masked."""
        return cut(self.kept[None], corner, self._size)[0]

    def _to_bins(self, operator: BinOperator, windows: AnyArray, seen: Tensor) -> Tensor:
        """Bins (n, R, A) of ``windows (n, h, w)`` in which so many pixels (R, A) are seen of each.

        Scaled to the pixels that the bins have about the detector's centre.
        """
        return operator.bin(windows) * (self._common.area / seen.clamp(min=1e-6))

    def _find_seen(self, corner: tuple[int, int], operator: BinOperator) -> Tensor:
        return operator.bin(self._kept_in(corner)[None])[0]

    def _find_operator(self, row: int, col: int) -> BinOperator:
        """Operator of windows in which the beam stands so many eighths beyond a pixel's middle."""
        center = self._before[0] + row / STEPS, self._before[1] + col / STEPS
        matrix = tuple(self.detector.matrix.ravel().tolist())
        return _shared_operator(self._size, center, matrix, self.grid, self._host)

    def _find_cells(self, operator: BinOperator) -> sparse.csr_matrix:
        """Cells of a `FineMean` that the pixels of an operator belong to."""
        return pixel_cells(operator.detector, radial_cells(self.detector, self.grid.reach))

    def _find_expected(self, mean: FineMean, operator: BinOperator) -> Tensor:
        """Bins of the mean pattern, and their change per pixel along rows and columns: (3, R, A).

        The operator stays as the beam moves on: it serves all origins nearest to its own.
        """
        detector, step = operator.detector, 1 / STEPS
        row, col = detector.center
        around = [(0, 0), (step, 0), (-step, 0), (0, step), (0, -step)]
        shifted = [replace(detector, center=(row + i, col + j)) for i, j in around]
        windows = np.stack([mean.on(one) for one in shifted])
        here, *beside = self._to_bins(operator, windows, operator.area)
        slopes = [(beside[k] - beside[k + 1]) / (2 * step) for k in (0, 2)]
        return torch.stack([here, *slopes]).cpu()
