# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames to bins and back, as products with sparse matrices.

Counts are summed into bins, never point-sampled, so that the dose is kept.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from scipy.interpolate import BSpline
from torch import Tensor

from .arrays import AnyArray, FloatArray
from .bins import NO_PIXELS, Detector, Grid

# A pixel's square is cut into so many parts each way, which lie in one bin each: into fewer beyond
# each of these distances from the centre, in pixels. The smallest bins then hold some seventy. At
# 5,000 counts two parts throughout cost up to twice the angle error, whole pixels up to ten times
# (`python -m benchmarks.polar`).
SPLITS, FINER_WITHIN = (16, 8, 4, 2), (8.0, 32.0, 64.0)
# Frames summed at once, where the processor's cache has to hold them. With one frame a column, each
# nonzero is one sum of columns: 128 x 128 pixels take 25 us instead of 39, in blocks of 256 as long
# as before. A graphics processor sums as many at once as make so many bytes of float32.
CHUNK, DEVICE_BYTES = 32, 2**28
# A bin that a mask leaves less than this share of is not used: scaled up, it would be noise.
LEAST_COVERAGE = 0.2
# Frames are sharpened until their bins are this near to the wanted ones, as mean squares in units
# of counting noise, or so often.
SHARP, MOST_STEPS = 0.01, 30


class BinOperator:
    """Linear map from one detector's frames to bins, and back.

    Parameters
    ----------
    detector
        Geometry of the frames.
    grid
        Bins to fill.
    device
        Where the product is taken.

    Attributes
    ----------
    weight : Tensor, shape (R, A)
        Share of a bin that lies on the detector and that the mask leaves; 0 where that is too
        little to be used. Scaled to full coverage, a bin's counting variance is proportional to
        1 / weight.
    dof : Tensor, shape (R,)
        Independent numbers among the bins of each ring: a pixel that fills several counts once.
    area : Tensor, shape (R, A)
        Pixels that a bin holds, those beyond the detector among them.
    used : ndarray of bool, shape (H, W)
        Pixels that reach into bins, masked ones among them.

    Raises
    ------
    ValueError
        If the mask leaves no bin.

    Notes
    -----
    Between the middles of pixels the intensity is taken to follow B-splines (M. Unser, IEEE Signal
    Process. Mag. 16 (6), 22, 1999). Those of degree 0 are pixels as they are; where a disc's edge
    meets few of them, their corners turn the pattern with the detector. Quadratic ones (degree 2)
    leave a sixth of that on 25 x 25 pixels. They give a pixel's counts to nine squares about it.
    """

    def __init__(self, detector: Detector, grid: Grid, device: torch.device | str = "cpu") -> None:
        full, area = _shares(detector, grid)
        masked = full @ sparse.diags(detector.kept.ravel() * 1.0)
        seen = masked.sum(axis=1).A1
        share = seen / np.maximum(area, 1e-9)
        share[share < LEAST_COVERAGE] = 0.0
        share[share > 1 - 1e-6] = 1.0
        if not share.any():
            raise ValueError(NO_PIXELS)
        scale = (share > 0) / np.maximum(share, LEAST_COVERAGE)
        independent = (share > 0) * masked.power(2).sum(axis=1).A1 / np.maximum(seen, 1e-9)
        self.grid, self.detector = grid, detector
        self.used = full.sum(axis=0).A1.reshape(detector.shape) > 0
        self.weight, self.area, independent = (
            torch.tensor(x.reshape(grid.shape), dtype=torch.float32, device=device)
            for x in (share, area, independent)
        )
        self.dof = independent.sum(dim=-1)
        self._sum = _torch_csr(sparse.diags(scale) @ masked, device)

    def __call__(self, frames: Tensor) -> Tensor:
        """Sum the counts of ``frames (B, H, W)`` into bins, scaled to full coverage: (B, R, A)."""
        flat = frames.reshape(len(frames), -1)
        return (self._sum @ flat.T.contiguous()).T.reshape(len(frames), *self.grid.shape)

    def bin(self, frames: AnyArray) -> Tensor:
        """The same of NumPy ``frames (B, H, W)`` of any real dtype, in parts."""
        device = self._sum.device
        chunk = CHUNK if device.type == "cpu" else max(1, DEVICE_BYTES // (4 * self.used.size))
        binned = torch.empty((len(frames), *self.grid.shape), device=device)
        for own in (slice(i, i + chunk) for i in range(0, len(frames), chunk)):
            binned[own] = self(as_floats(frames[own], device))
        return binned

    @cached_property
    def _spread(self) -> Tensor:
        # Only made where it is used: a wandering beam has hundreds of operators that never render.
        # What lies beyond the detector takes its part of a bin's counts along.
        full, area = _shares(self.detector, self.grid)
        return _torch_csr((sparse.diags(1 / np.maximum(area, 1e-9)) @ full).T, self._sum.device)

    def render(self, polar: Tensor) -> Tensor:
        """Spread the counts of ``polar (B, R, A)`` evenly over each bin's pixels: (B, H, W)."""
        flat = polar.reshape(len(polar), -1)
        return (self._spread @ flat.T).T.reshape(len(polar), *self.detector.shape)

    def unfold(self, polar: Tensor, sharp: float = SHARP) -> Tensor:
        """Expected counts (B, H, W) whose bins are those of ``polar (B, R, A)``, as far as can be.

        What `render` spreads comes out of the bins blurred: by 3 standard deviations of the noise
        at the edge of a disc of 2e5 counts.

        Notes
        -----
        After W. H. Richardson (J. Opt. Soc. Am. 62, 55, 1972) and L. B. Lucy (1974).
        """
        # Decoded rates may lie below zero, where the ratios below would not settle.
        polar = polar.clamp(min=0)
        frames = self.render(polar)
        within = self.render(self.area[None]).clamp(min=1e-9)
        left = torch.arange(len(polar), device=polar.device)
        for _ in range(MOST_STEPS):
            bins, wanted = self(frames[left]), polar[left]
            misfit = ((bins - wanted).square() / (wanted + 1))[:, self.weight > 0].mean(dim=1)
            blurred = misfit >= sharp
            if not bool(blurred.any()):
                break
            left, bins, wanted = left[blurred], bins[blurred], wanted[blurred]
            ratio = torch.where(bins > 0, wanted / bins, 1.0)
            frames[left] *= self.render(ratio * self.area) / within
        return frames


def as_floats(frames: AnyArray, device: torch.device) -> Tensor:
    """NumPy ``frames`` of any real dtype in float32 on a device.

    Small integers go there as they are, which halves what the bus has to carry.
    """
    if device.type == "cpu" or frames.dtype.kind not in "iu" or frames.dtype.itemsize > 2:
        return torch.from_numpy(np.require(frames, np.float32, ["C", "W"])).to(device)
    native = np.require(frames, frames.dtype.newbyteorder("="), ["C", "W"])
    if native.dtype != np.uint16:
        return torch.from_numpy(native).to(device).float()
    # Not every device computes with uint16.
    there = torch.from_numpy(native.view(np.int16)).to(device)
    return there.to(torch.int32).bitwise_and_(0xFFFF).float()


def _shares(detector: Detector, grid: Grid) -> tuple[sparse.csr_matrix, FloatArray]:
    """Share of each pixel (column) in each bin (row), and how many pixels the bins (n,) hold.

    A bin holds pixels beyond the detector as well, where it goes on there.
    """
    reach = grid.reach * np.linalg.norm(np.linalg.inv(detector.matrix), axis=1) + 1
    first, last = (np.rint(np.asarray(detector.center) + k * reach).astype(int) for k in (-1, 1))
    index = first + np.argwhere(np.ones(last + 1 - first))
    distance = np.linalg.norm((index - detector.center) @ detector.matrix.T, axis=1)
    zone = np.digitize(distance / detector.pixel_size(), FINER_WITHIN)
    shape = math.prod(grid.shape), math.prod(detector.shape)
    shares, area = sparse.csr_matrix(shape), np.zeros(shape[0])
    for k, split in enumerate(SPLITS):
        own, edges = index[zone == k], np.arange(split + 1) / split - 0.5
        middles = (edges[1:] + edges[:-1]) / 2
        parts = np.stack(np.meshgrid(middles, middles, indexing="ij"), axis=-1)
        bins, inside = grid.bins((own[:, None, None] + parts - detector.center) @ detector.matrix.T)
        area += np.bincount(bins[inside], minlength=shape[0]) / split**2
        for step, share in _given_around(edges, grid.degree):
            pixel = own + step
            seen = inside & ((pixel >= 0) & (pixel < detector.shape)).all(axis=1)[:, None, None]
            flat = (pixel[:, 0] * detector.shape[1] + pixel[:, 1])[:, None, None]
            given, column = (np.broadcast_to(x, bins.shape)[seen] for x in (share, flat))
            shares += sparse.csr_matrix((given, (bins[seen], column)), shape=shape)
    return shares, area


def _given_around(edges: FloatArray, degree: int) -> Iterator[tuple[tuple[int, int], FloatArray]]:
    """Steps from a pixel to those around it, and the shares of theirs that its parts get.

    The parts (n, n) lie between ``edges (n + 1,)`` each way, from the pixel's middle; the shares
    are integrals of B-splines. Of degree 0 they are of the pixel alone, each part an equal one.
    """
    knots = np.arange(degree + 2) - (degree + 1) / 2
    total = BSpline.basis_element(knots).antiderivative()
    reach = range(-((degree + 1) // 2), (degree + 1) // 2 + 1)
    given = {k: np.diff(total(np.clip(edges - k, knots[0], knots[-1]))) for k in reach}
    for row, col in itertools.product(reach, repeat=2):
        yield (row, col), np.outer(given[row], given[col])


def _torch_csr(matrix: sparse.spmatrix, device: torch.device | str) -> Tensor:
    csr = sparse.csr_matrix(matrix)
    csr.eliminate_zeros()
    csr.sum_duplicates()
    rows, columns = csr.indptr.astype(np.int64), csr.indices.astype(np.int64)
    values = csr.data.astype(np.float32)
    with warnings.catch_warnings():
        # torch says once per process that its CSR support is in beta.
        warnings.filterwarnings("ignore", message="Sparse")
        return torch.sparse_csr_tensor(rows, columns, values, csr.shape, device=device)
