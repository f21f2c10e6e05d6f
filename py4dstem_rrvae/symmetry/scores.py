# SPDX-License-Identifier: GPL-3.0-or-later
"""How alike a pattern is to itself turned or mirrored, without learning.

After Symmetry-STEM (Krajnak and Etheridge, PNAS 117, 27805, 2020), which correlates each pattern
with its own turned or mirrored copy. In polar bins every turn and every mirror axis follows from
one FFT. Densities are correlated, each bin with its area, as pixels would be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..model import angle
from .autocorrelation import SYMMETRY_KINDS, PolarBins, SymmetryKind, autocorrelation

# Orders of rotation that are scored.
ORDERS = tuple(range(2, 13))
# Scores are undefined unless the variance of a pattern exceeds what its counting noise leads one to
# expect by this many standard deviations: below 0.5 % of structureless patterns of 20 counts pass,
# below 0.1 % of those of 200 (`python -m benchmarks.symmetry`).
SIGNIFICANT = 5.0
# Nor are they where it is no more than this share of the mean square. Pixel edges leave 1e-5 to
# 1e-3 in a pattern that depends on the radius alone, most where it varies within a pixel or two.
LEAST_SHARE = 1e-4
# Patterns that go through at once.
BLOCK = 2048


@dataclass(frozen=True)
class Symmetry:
    """Scores of B patterns.

    Attributes
    ----------
    n_fold : Tensor, shape (B, 11)
        Correlation of the pattern with itself turned by ``2 pi / n``, for n = 2 to 12 (`ORDERS`).
        1 where the turn changes nothing; noise may carry it a little beyond 1. NaN where the
        pattern has too little structure to be compared.
    mirror : Tensor, shape (B,)
        Correlation with the mirror image, at the best axis through the centre. NaN likewise.
    mirror_axis : Tensor, shape (B,)
        Angle of that axis in [0, pi), radians from the row axis towards the column axis; any one
        of several equal axes. NaN without significant angular structure, whatever the kind.
    significance : Tensor, shape (B,)
        Variance of the pattern over the standard deviation that counting noise alone would give
        that variance; infinite if noise is not accounted for.
    """

    n_fold: Tensor
    mirror: Tensor
    mirror_axis: Tensor
    significance: Tensor


def symmetry(
    polar: Tensor,
    bins: PolarBins,
    *,
    kind: SymmetryKind = "angular",
    gain: float | None = 1.0,
    background: Tensor | None = None,
) -> Symmetry:
    """Score rotational and mirror symmetry about the centre.

    Parameters
    ----------
    polar : Tensor of float, shape (B, R, A)
        Intensities summed into bins (`polar.BinTransform`), not stabilised.
    bins
        Of the operator that summed them. Those of an origin a quarter pixel away do not serve:
        they shift the scores of a contrast of 10 % by up to 0.3.
    kind
        "angular" compares what remains when each ring's mean is removed: 1 is exact symmetry, and
        the radial profile, the same under any turn, has no say. "pearson" removes one mean, as the
        correlation of two images does; a strong profile then lifts all scores towards 1.
    gain
        Detector units per count. The share of counting noise is taken out of every correlation, so
        that expected scores do not depend on the dose. None, for data that are no counts, takes
        out nothing.
    background : Tensor, shape (R, A), or None
        What is fixed to the detector, in the units of `polar`, left out before comparing. The edge
        of the bright disc on the pixel grid can outweigh what the specimen does.

    Returns
    -------
    Symmetry
        Behind a mask, a pattern and its copy are compared over the bins that both have.

    Raises
    ------
    ValueError
        If the shapes do not agree, the bins around are of odd number, `polar` is not of floats,
        `kind` is unknown, `gain` is not positive, or a mask leaves a pattern and a copy too little
        in common.

    Notes
    -----
    The best of many mirror axes is also the luckiest. Harmonics of the correlation are therefore
    shortened to their length without noise. Of perfect mirror symmetry in rings of lobes, at 200,
    1,000 and 5,000 counts, 1.09, 1.01 and 1.00 are found on average (without: 1.24, 1.03, 1.01),
    and behind a beam stop 1.18, 1.02 and 1.00 (`python -m benchmarks.symmetry`).

    Counts must be centred to a fraction of a pixel: about another point every pattern is lopsided.
    """
    _check(polar, bins, kind, gain)
    if background is None:
        background = torch.zeros_like(polar[0])
    elif background.shape != polar.shape[1:]:
        want, got = tuple(polar.shape[1:]), tuple(background.shape)
        raise ValueError(f"background must have shape {want}; got {got}")
    bins = bins.to(polar.dtype)
    parts = [_score(block, background, bins, kind, gain or 0.0) for block in polar.split(BLOCK)]
    n_fold, mirror, axis, significance = (torch.cat(p) for p in zip(*parts, strict=True))
    return Symmetry(n_fold, mirror, axis, significance)


def _check(polar: Tensor, bins: PolarBins, kind: str, gain: float | None) -> None:
    if polar.ndim != 3 or polar.shape[1:] != bins.area.shape:
        want = ", ".join(str(n) for n in bins.area.shape)
        raise ValueError(f"polar must have shape (B, {want}); got {tuple(polar.shape)}")
    if polar.shape[2] % 2:
        raise ValueError(f"polar must have an even number of bins around; got {polar.shape[2]}")
    if not polar.is_floating_point():
        raise ValueError(f"polar must be of floats; got {polar.dtype}")
    if kind not in SYMMETRY_KINDS:
        raise ValueError(f"kind must be one of {SYMMETRY_KINDS}; got {kind!r}")
    if gain is not None and not (math.isfinite(gain) and gain > 0):
        raise ValueError(f"gain must be positive, or None for data that are no counts; got {gain}")


def _score(
    polar: Tensor, background: Tensor, bins: PolarBins, kind: SymmetryKind, gain: float
) -> tuple[Tensor, ...]:
    density, still = (torch.where(bins.area > 0, p / bins.area, 0) for p in (polar, background))
    size = (bins.integral(density.square()) / bins.integral(bins.used)).sqrt()
    density, still = (d / size[:, None, None] for d in (density, still))
    gains = gain / size
    turn, mirror = autocorrelation(density, still, gains, bins, kind)

    # Bins average over their width, which dampens a harmonic by a sinc, and its square twice.
    order = torch.arange(turn.shape[-1], device=polar.device, dtype=polar.dtype)
    sharp = torch.sinc(order / polar.shape[-1]).square().reciprocal()
    sharp[-1] /= 2  # the Nyquist order is its own conjugate, and counts once
    turn, mirror = turn * sharp, mirror * sharp
    whole = angle.at_zero(turn)
    waves = torch.stack([torch.cos(2 * math.pi / n * order) for n in ORDERS], dim=-1)
    n_fold = 2 * turn @ waves - turn[:, :1]
    # A point at phi has its image at 2 axis - phi: the correlation is a function of 2 axis.
    doubled = angle.peak(mirror, 8 * polar.shape[-1])
    best = angle.at_zero(angle.shifted(mirror, doubled))

    significance, defined = _significance(density, still, gains, bins, kind)
    _, structured = _significance(density, still, gains, bins, "angular")
    return (
        (n_fold / whole[:, None]).masked_fill(~defined[:, None], math.nan),
        (best / whole).masked_fill(~defined, math.nan),
        torch.remainder(doubled / 2, math.pi).masked_fill(~(defined & structured), math.nan),
        significance,
    )


def _significance(
    density: Tensor, background: Tensor, gain: Tensor, bins: PolarBins, kind: SymmetryKind
) -> tuple[Tensor, Tensor]:
    """Variance over its standard deviation by noise alone, and whether scores are defined, (B,)."""
    flux, ring_area = gain[:, None] * bins.mean(density), bins.ring_area * bins.count
    moving = density - background
    mean, square = bins.mean(moving), bins.integral(moving.square())
    covariance = bins.covariance.transpose(0, 1)
    if kind == "angular":
        covariance = bins.centred(bins.centred(covariance, kind).transpose(0, 2), kind)
        variance = square - mean.square() @ ring_area
    else:
        variance = square - (mean @ ring_area).square() / ring_area.sum()
    expected = bins.ring_area * covariance.diagonal(dim1=0, dim2=2).sum(dim=-1)
    spread = 2 * bins.ring_area.square() * covariance.square().sum(dim=(0, 2))
    variance = variance - flux @ expected
    significance = variance / (flux.square() @ spread).sqrt()
    enough = variance > LEAST_SHARE * ring_area.sum()
    return significance, enough & (significance > SIGNIFICANT)
