# SPDX-License-Identifier: GPL-3.0-or-later
"""Correlation of polar patterns with their own turned and mirrored copies, less counting noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ..detector.bin_operator import BinOperator

SymmetryKind = Literal["angular", "pearson"]
SYMMETRY_KINDS: tuple[str, ...] = get_args(SymmetryKind)
# Least share of the unmasked area, and of a ring, that a pattern and its copy must both have.
LEAST_OVERLAP, LEAST_RING_OVERLAP = 0.5, 0.125
# Least variance per area of what they both have, as a share of that of the pattern.
LEAST_VARIANCE = 0.5


@dataclass(frozen=True)
class PolarBins:
    """What a polar operator makes of a flat pattern and of its counting noise.

    Attributes
    ----------
    area : Tensor, shape (R, A)
        Pixels that a bin stands for, 0 where it is not used. Bins of a ring differ by some percent,
        which would otherwise pass for structure.
    covariance : Tensor, shape (R, A, A)
        Of the densities (counts per pixel) in each ring's bins, at one count per pixel. It is not
        diagonal, because bins share pixels.
    """

    area: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, operator: BinOperator) -> PolarBins:
        """Bins of `operator`, on its device."""
        matrix, shape = operator._sum.cpu(), operator.grid.shape
        parts = matrix.values(), matrix.col_indices(), matrix.crow_indices()
        shares = sparse.csr_matrix(tuple(p.numpy() for p in parts), tuple(matrix.shape), float)
        area = shares.sum(axis=1).A1
        density = sparse.diags(np.divide(1.0, area, out=np.zeros_like(area), where=area > 0))
        rings = [(density @ shares)[k : k + shape[1]] for k in range(0, len(area), shape[1])]
        covariance = np.stack([(ring @ ring.T).toarray() for ring in rings])
        like = operator.weight
        return cls(like.new_tensor(area.reshape(shape)), like.new_tensor(covariance))

    @property
    def complete(self) -> bool:
        """Whether every bin is used."""
        return bool((self.area > 0).all())

    def to(self, dtype: torch.dtype) -> PolarBins:
        """Bins in another precision."""
        return PolarBins(self.area.to(dtype), self.covariance.to(dtype))

    @property
    def used(self) -> Tensor:
        """1 where a bin is used, else 0; (R, A)."""
        return (self.area > 0).to(self.area.dtype)

    @property
    def count(self) -> Tensor:
        """Number of used bins of each ring, at least 1; (R,)."""
        return self.used.sum(dim=-1).clamp(min=1)

    @property
    def ring_area(self) -> Tensor:
        """Mean area of the used bins of each ring, (R,)."""
        return self.mean(self.area)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the used bins of each ring: ``(..., R, A)``, 0 in the others, to (..., R)."""
        return values.sum(dim=-1) / self.count

    def integral(self, values: Tensor) -> Tensor:
        """Integral over the used bins: ``(..., R, A)``, 0 in the others, to (...)."""
        return values.sum(dim=-1) @ self.ring_area

    def centred(self, values: Tensor, kind: SymmetryKind) -> Tensor:
        """``values (B, R, A)`` less their mean in each ring ("angular") or in all ("pearson")."""
        if kind == "angular":
            return (values - self.mean(values)[..., None]) * self.used
        mean = self.integral(values) / self.integral(self.used)
        return (values - mean[:, None, None]) * self.used


def noise_power(bins: PolarBins) -> Tensor:
    """Power of counting noise in the angular harmonics of each ring, at one count per pixel.

    Parameters
    ----------
    bins
        Of one operator.

    Returns
    -------
    Tensor, shape (R, A // 2 + 1)
        Expected squared modulus of the unnormalised FFT of the ring's densities, from order 0.
    """
    n = bins.area.shape[-1]
    k = torch.arange(n, device=bins.area.device)
    lagged = bins.covariance[:, k, (k + k[:, None]) % n].sum(dim=-1)
    power: Tensor = torch.fft.rfft(lagged).real
    return power


def autocorrelation(
    density: Tensor, background: Tensor, gain: Tensor, bins: PolarBins, kind: SymmetryKind
) -> tuple[Tensor, Tensor]:
    """Correlate patterns with their turned and with their mirrored copies.

    Parameters
    ----------
    density : Tensor, shape (B, R, A)
        Counts per pixel, to any scale; 0 in bins that are not used.
    background : Tensor, shape (B, R, A)
        Density to leave out; its counting noise stays.
    gain : Tensor, shape (B,)
        Density per count and pixel; 0 for data that are no counts.
    bins
        Of the operator that summed the counts.
    kind
        Which means are removed (`PolarBins.centred`).

    Returns
    -------
    turn, mirror : Tensor, complex Tensor, shape (B, A // 2 + 1)
        Angular harmonics of the correlation as a function of the turn, and of twice the angle of
        the mirror axis. Noise is taken out of both.
    """
    power = noise_power(bins)
    # The variance of Poisson counts is their mean, so the noise lies where the density does. Its
    # own square (not its squared modulus) of order m then follows the density's order 2 m.
    scale = gain[:, None, None] / bins.count[:, None]
    flux = _doubled(torch.fft.rfft(density)) * scale
    correlate = _on_whole_rings if bins.complete else _on_shared_bins
    turn, mirror, square = correlate(density - background, flux, power, bins, kind)
    # Noise lengthens every harmonic of `mirror`, and the best axis adds them up in phase.
    noise, weight = flux[..., 0].real, bins.ring_area[:, None].square() * power
    variance = 4 * (noise[..., None] * weight * square).sum(dim=1)
    variance = variance - 2 * noise.square() @ (weight * power)
    variance[:, 0] = 0
    kept = (1 - variance / _squared(mirror).clamp(min=1e-30)).clamp(min=0).sqrt()
    return turn, mirror * kept


def _squared(harmonics: Tensor) -> Tensor:
    return harmonics.real.square() + harmonics.imag.square()


def _doubled(harmonics: Tensor) -> Tensor:
    """Harmonics of order 2 m, for m from 0 to A / 2; those beyond A / 2 are aliases."""
    even = harmonics[..., ::2]
    beyond = harmonics.shape[-1] - even.shape[-1]
    return torch.cat([even, even.conj().flip(-1)[..., -beyond:]], dim=-1)


def _on_whole_rings(
    density: Tensor, flux: Tensor, power: Tensor, bins: PolarBins, kind: SymmetryKind
) -> tuple[Tensor, Tensor, Tensor]:
    """Without a mask, means are nothing but harmonics of order 0, which take noise with them."""
    area = bins.ring_area
    share = area / area.sum() if kind == "pearson" else torch.ones_like(area)
    noise = power * area[:, None]
    noise[:, 0] *= 1 - share
    spectrum = torch.fft.rfft(bins.centred(density, kind))
    square = _squared(spectrum)
    turn = (square * area[:, None]).sum(dim=1) - flux[..., 0].real @ noise
    mirror = (spectrum.square() * area[:, None] - flux * noise).sum(dim=1)
    return turn, mirror, square


def _on_shared_bins(
    density: Tensor, flux: Tensor, power: Tensor, bins: PolarBins, kind: SymmetryKind
) -> tuple[Tensor, Tensor, Tensor]:
    """Over the bins that a pattern and its copy both have.

    Masked normalised cross-correlation (Padfield, IEEE Trans. Image Process. 21, 2706, 2012) at
    shifts by whole bins; the scores, and not what enters them, are interpolated in between.
    """
    values = bins.centred(density, kind)
    spectrum, n, noise = torch.fft.rfft(values), values.shape[-1], flux[..., 0].real
    square = _squared(spectrum)
    k = torch.arange(n, device=values.device)
    back, forth, image = (
        bins.used[:, i % n] for i in (k - k[:, None], k + k[:, None], k[:, None] - k)
    )
    product = torch.fft.irfft(square - noise[..., None] * power, n=n)
    turned, whole = _masked(values, product, noise, bins, kind, back, forth)
    product = torch.fft.irfft(spectrum.square() - flux * power, n=n)
    mirrored, _ = _masked(values, product, noise, bins, kind, image, image)
    turn, mirror = torch.fft.rfft(turned * whole).real, torch.fft.rfft(mirrored * whole)
    return turn, mirror, square


def _masked(
    values: Tensor,
    product: Tensor,
    flux: Tensor,
    bins: PolarBins,
    kind: SymmetryKind,
    first: Tensor,
    second: Tensor,
) -> tuple[Tensor, Tensor]:
    """Pearson correlation (B, S) at S shifts, and variance (B, 1) at the first.

    ``first, second (R, S, A)`` tell whether a bin of the pattern falls on a used bin of the copy,
    and a bin of the copy on one of the pattern.
    """

    def pooled(ring: Tensor) -> Tensor:
        return ring if kind == "angular" else ring.sum(dim=-2, keepdim=True)

    area = bins.ring_area[:, None]
    first, second = first * bins.used[:, None], second * bins.used[:, None]
    common = pooled(area * first.sum(dim=-1))
    seen = common > LEAST_RING_OVERLAP * pooled(area * first.shape[-1])
    overlap = (common * seen).sum(dim=0) / bins.integral(bins.used)
    if overlap.min() < LEAST_OVERLAP:
        raise ValueError(
            f"mask must leave a pattern and its turned and mirrored copies {LEAST_OVERLAP:.0%} of "
            f"its area in common; it leaves {overlap.min():.0%}"
        )

    def central(moment: Tensor, one: Tensor, other: Tensor) -> Tensor:
        sums = [torch.einsum("brk,rsk->brs", values, shared) for shared in (one, other)]
        noise = torch.einsum("rsj,rjk,rsk->rs", one, bins.covariance, other)
        means = pooled(area * sums[0]) * pooled(area * sums[1])
        means = means - pooled(area.square() * flux[..., None] * noise)
        inside = torch.where(seen, means / common, 0)
        return (pooled(area * moment) * seen - inside).sum(dim=1)

    variance = bins.covariance.diagonal(dim1=-2, dim2=-1)
    squares = values.square() - flux[..., None] * variance
    one, other = (
        central(torch.einsum("brk,rsk->brs", squares, shared), shared, shared)
        for shared in (first, second)
    )
    whole = one[:, :1]
    # Where noise leaves next to no variance, the ratio would be anything.
    floor = LEAST_VARIANCE * overlap * whole
    norm = (one.maximum(floor) * other.maximum(floor)).sqrt()
    return central(product, first, second) / norm, whole
