# SPDX-License-Identifier: GPL-3.0-or-later
"""Intensity scale on which the noise of polar bins is white."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from .bins import ring_mean

IntensityKind = Literal["counts", "sqrt", "linear", "log"]
INTENSITY_KINDS: tuple[str, ...] = get_args(IntensityKind)
COUNTED = ("counts", "sqrt")
"""Scales on which the noise of counting is known."""

# Electrons per bin that are added to the mean of every ring before its root is taken. A ring that
# is all but empty would otherwise weigh as much in training as the others, with noise that is far
# from normal: at 50 counts a pattern both latents are lost.
FEW_ELECTRONS = 0.02


@dataclass(frozen=True, eq=False)
class Intensity:
    """Point-wise, invertible map of binned intensities ``n``.

    Attributes
    ----------
    kind : {"counts", "sqrt", "linear", "log"}
        ``n / scale``, which on the scan trained on has a variance of 1 in all but empty rings;
        ``2 sqrt(n / scale + 3/8)`` (Anscombe, Biometrika 35, 1948: counting noise becomes white
        with unit variance), ``n / scale``, or ``log(1 + n / scale)``. Negative n counts as 0 in the
        second and the last.
    scale : Tensor, shape (R,) or ()
        Of each ring: for "counts" the square root of its mean count, times the gain.
    gain : float
        Detector units per electron.
    """

    kind: IntensityKind
    scale: Tensor
    gain: float = 1.0

    def __call__(self, binned: Tensor) -> Tensor:
        """Scale binned intensities (..., R, A)."""
        scaled = binned / self._per_ring(binned)
        if self.kind == "sqrt":
            return 2 * torch.sqrt(scaled.clamp(min=0) + 0.375)
        if self.kind == "log":
            return torch.log1p(scaled.clamp(min=0))
        return scaled

    def to(self, device: torch.device | str) -> Intensity:
        """The same with its scale on a device."""
        return replace(self, scale=self.scale.to(device))

    def _per_ring(self, binned: Tensor) -> Tensor:
        return self.scale.to(binned)[..., None]

    def mean_electrons(self, stabilised: Tensor, weight: Tensor) -> Tensor | None:
        """Mean electrons per bin (R,) of each ring, where the scale is one of counts.

        Parameters
        ----------
        stabilised : Tensor, shape (n, R, A)
            Patterns on this scale.
        weight : Tensor, shape (R, A)
            Share that is seen of each bin.
        """
        if self.kind != "counts":
            return None
        mean = ring_mean(stabilised.mean(dim=0), weight)
        return (self.scale * mean / self.gain).clamp(min=0)

    def expected(self, stabilised: Tensor, independent: Tensor) -> Tensor:
        """Mean binned intensities (..., R, A) of mean `stabilised` ones (..., R, A).

        Of "sqrt", the root of a mean count lies above the mean of the roots: `invert` would lose a
        fifth of the counts at 0.1 per bin. Between it and the exact inverse for Poisson counts,
        approximated after M. Makitalo and A. Foi (IEEE Trans. Image Process. 20, 2697, 2011), the
        independent share of the bins decides, since parts of pixels scatter less than whole ones.
        Right to 2 % from 0.03 counts per bin up.

        Parameters
        ----------
        stabilised
            Means on this scale.
        independent : Tensor, shape (R,)
            Independent numbers per bin of each ring: `BinOperator.dof` over A.
        """
        algebraic = self.invert(stabilised)
        if self.kind != "sqrt":
            return algebraic
        x, root = stabilised.clamp(min=2 * 0.375**0.5), 1.5**0.5
        counts = x.square() / 4 + root / 4 / x - 11 / 8 / x.square() + 5 / 8 * root / x**3 - 1 / 8
        exact = self._per_ring(counts) * counts.clamp(min=0)
        return torch.lerp(algebraic, exact, independent[:, None])

    def invert(self, stabilised: Tensor) -> Tensor:
        """Binned intensities of scaled ones."""
        scale = self._per_ring(stabilised)
        if self.kind == "sqrt":
            return scale * ((stabilised.clamp(min=0) / 2).square() - 0.375).clamp(min=0)
        if self.kind == "log":
            return scale * torch.expm1(stabilised.clamp(min=0))
        return scale * stabilised


def choose_intensity(kind: IntensityKind, binned: Tensor, gain: float, weight: Tensor) -> Intensity:
    """Find the scale for a sample of binned patterns.

    Parameters
    ----------
    kind
        The scale wanted.
    binned : Tensor, shape (n, R, A)
        Intensities summed into bins.
    gain : float
        Detector units per electron.
    weight : Tensor, shape (R, A)
        Share that is seen of each bin.
    """
    mean = binned.mean(dim=0)
    if kind == "counts":
        few = FEW_ELECTRONS * gain
        scale = ((ring_mean(mean, weight).clamp(min=0) + few) * gain).sqrt()
    elif kind == "linear":
        scale = (binned - mean).square().mean().sqrt()
    elif kind == "log":
        scale = mean.mean()
    else:
        scale = mean.new_tensor(gain)
    return Intensity(kind, scale, gain)
