# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be told of a scan's centre, as sentences; None where there is nothing."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from ..detector import beam
from ..detector import center_refinement as refinement
from ..detector.bins import Detector, ring_mean
from ..detector.response import Response
from .binning import Binner
from .frames import FloatArray

# Below this share of the circles about the beam, half of what a turn would show is not seen.
LEAST_SEEN = 0.5
# A ring with this share of its area is seen all round.
WHOLE = 0.95
PARTLY_SEEN = (
    "the detector shows {:.0%} of the circles about the beam at {}, weighted with their counts, "
    "and {} of {} rings all round: turns, folds and latents of patterns that are seen in part may "
    "be wrong"
)
CONTRADICTED = (
    "the centre is given as {}, but the discs or rings of the mean pattern are centred on {}: is "
    "it in pixels, and of this detector as it is after cropping and binning?"
)
WANDERS = (
    "the beam stands {:.2f} pixels (root mean square) off the centre from pattern to pattern, more "
    'than counting noise explains, which makes symmetric patterns look broken: center="each" '
    "finds where it stands in each of them"
)


def partly_seen(binner: Binner, binned: Tensor) -> str | None:
    """Of a detector that shows little of the circles that ``binned (n, R, A)`` are bins of."""
    weight = binner.transform.weight.cpu()
    seen = weight.mean(dim=1)
    counts = ring_mean(binned.mean(dim=0).cpu(), weight).clamp(min=0).double()
    share = float((counts * seen).sum() / counts.sum()) if counts.sum() > 0 else 1.0
    if share >= LEAST_SEEN:
        return None
    whole = int((seen > WHOLE).sum())
    return PARTLY_SEEN.format(share, _rounded(binner.detector.center), whole, len(seen))


def contradicted(detector: Detector, mean_pattern: FloatArray) -> str | None:
    """Of a given centre that a mean pattern (H, W) speaks against."""
    center = detector.center
    found = refinement.contradicted(mean_pattern, center, detector.mask, detector.matrix)
    return None if found is None else CONTRADICTED.format(_rounded(center), _rounded(found))


def wandering(detector: Detector, patterns: NDArray[Any], response: Response) -> str | None:
    """Of a beam that stands elsewhere in each of ``patterns (n, H, W)``."""
    size = beam.wandering(detector, patterns, response.dark_level, response.gain)
    return WANDERS.format(size) if size else None


def _rounded(center: tuple[float, float]) -> tuple[float, float]:
    return round(float(center[0]), 1), round(float(center[1]), 1)
