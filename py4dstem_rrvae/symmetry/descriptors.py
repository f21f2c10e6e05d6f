# SPDX-License-Identifier: GPL-3.0-or-later
"""Symmetry descriptors of a scan, without learning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..detector.bin_operator import BinOperator
from ..detector.bins import Detector, PolarGrid
from ..device import within_device_memory
from ..maps.latent import DIMENSIONLESS, LatentMap
from ..scan.binning import Binner
from ..scan.blocks import Positions
from ..scan.frames import FloatArray, Frames
from ..scan.sampling import draw
from ..threads import torch_as_it_comes
from .autocorrelation import PolarBins, SymmetryKind
from .scores import ORDERS, symmetry

StillPart = Literal["none", "mean"]
# Patterns drawn for the centre and to tell counts from other numbers, and for the mean pattern.
FIRST_LOOK, MEAN_SAMPLE = 256, 8192


@dataclass(frozen=True)
class Descriptors:
    """Symmetry of each pattern about the centre; the leading shape is the scan's.

    Attributes
    ----------
    rotation : ndarray, shape (..., 11)
        Correlation of the pattern with itself turned by ``2 pi / n``, n = 2 to 12; 1 where the
        turn changes nothing. NaN where noise leaves nothing to compare.
    mirror : ndarray, shape (...)
        Correlation with the mirror image at the best axis through the centre; NaN likewise.
    mirror_axis : ndarray, shape (...)
        Angle of that axis in [0, pi) in radians, from the row axis towards the column axis; NaN
        likewise.
    """

    rotation: FloatArray
    mirror: FloatArray
    mirror_axis: FloatArray

    def maps(self) -> dict[str, LatentMap]:
        """``rotation_2`` to ``rotation_12``, ``mirror_score`` and ``mirror_axis`` as maps."""
        turned = [
            LatentMap(
                f"rotation_{n}",
                self.rotation[..., k],
                DIMENSIONLESS,
                None,
                f"correlation of the pattern with itself turned by 360 / {n} degrees",
            )
            for k, n in enumerate(ORDERS)
        ]
        mirrored = [
            LatentMap(
                "mirror_score",
                self.mirror,
                DIMENSIONLESS,
                None,
                "correlation of the pattern with its mirror image at the best axis",
            ),
            LatentMap(
                "mirror_axis", self.mirror_axis, "rad", np.pi, "angle of the best mirror axis"
            ),
        ]
        return {map_.name: map_ for map_ in (*turned, *mirrored)}


@within_device_memory()
@torch_as_it_comes()
def describe(
    frames: Any,
    *,
    kind: SymmetryKind = "angular",
    background: StillPart = "none",
    center: Any = None,
    mask: Any = None,
    device: str = "auto",
    progress: bool = True,
) -> Descriptors:
    """Score how alike each pattern is to itself turned or mirrored.

    After Symmetry-STEM (Krajnak and Etheridge, PNAS 117, 27805, 2020), with the share of counting
    noise taken out where the data are counts.

    Parameters
    ----------
    frames : array-like of shape (..., H, W), or Frames
        Read in blocks, once for a sample and once for the scores; dask arrays on their scheduler.
    kind
        "angular" compares what remains without each ring's mean, "pearson" whole patterns.
    background
        "mean" leaves out the mean of a sample of the scan, "none" nothing, as published. Where the
        bright disc is sharp and the specimen weak, its edge on the pixel grid makes every pattern
        as lopsided as the next; a scan of one crystal can spare its mean.
    center, mask, device, progress
        As in `RRVAE`.

    Returns
    -------
    Descriptors

    Raises
    ------
    ValueError, TypeError
        If the patterns or an option cannot be used.
    MemoryError
        If the device's memory is too small.
    """
    if background not in get_args(StillPart):
        raise ValueError(f'background must be "none" or "mean"; got {background!r}')
    n = FIRST_LOOK if background == "none" else MEAN_SAMPLE
    source = Frames.of(frames, center=center, mask=mask)
    rng = np.random.default_rng(0)
    drawn = draw(source, n, rng, sharp_bins, device, seek_defects=False)
    still = None
    if background == "mean":
        transform = drawn.binner.transform
        still = (transform.uneven(drawn.binned.mean(dim=0)) + transform.dark).cpu()
    scorer = Scorer(drawn.binner, kind, 1.0 if drawn.response.source == "counted" else None, still)
    source = drawn.frames
    rows = source.gather(scorer, progress="scoring" if progress else None)
    scores = rows.reshape(*source.scan_shape, -1)
    return Descriptors(scores[..., :-2], scores[..., -2], scores[..., -1])


def sharp_bins(detector: Detector, wander: float) -> PolarGrid:
    """Bins of pixels as they are, not smoothed, where a turn leaves a pattern on the detector."""
    return replace(PolarGrid.within(detector.inscribed_radius(wander), detector), degree=0)


class Scorer:
    """Rows of scores of patterns: those of `Descriptors` one after the other.

    Parameters
    ----------
    binner
        Of the patterns' detector.
    kind, gain, background
        As in `symmetry.scores.symmetry`.
    """

    def __init__(
        self,
        binner: Binner,
        kind: SymmetryKind,
        gain: float | None,
        background: Tensor | None = None,
    ) -> None:
        self.binner, self.kind, self.gain, self.background = binner, kind, gain, background
        self._bins = lru_cache(maxsize=256)(PolarBins.of)

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew where it arrives."""
        return Scorer, (self.binner, self.kind, self.gain, self.background)

    def __call__(self, patterns: NDArray[Any], positions: Positions) -> FloatArray:
        """Scores, shape (n, 13), of ``patterns (n, H, W)`` at flat scan positions."""
        rows = np.empty((len(patterns), len(ORDERS) + 2))
        for own, operator, seen in self.binner.operators(patterns, positions):
            rows[own] = self._score(seen, operator)
        return rows

    def _score(self, patterns: NDArray[Any], operator: BinOperator) -> FloatArray:
        polar = operator.bin(patterns)
        still = None if self.background is None else self.background.to(polar.device)
        found = symmetry(
            polar, self._bins(operator), kind=self.kind, gain=self.gain, background=still
        )
        columns = (found.n_fold, found.mirror, found.mirror_axis)
        scores: FloatArray = np.column_stack([c.cpu().double().numpy() for c in columns])
        return scores
