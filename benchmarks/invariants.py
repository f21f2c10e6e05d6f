# SPDX-License-Identifier: GPL-3.0-or-later
"""What does not change as a pattern turns, by hand: nothing but principal components is learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import eval_jacobi
from sklearn.decomposition import PCA

from . import scores

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Geometry = dict[str, Any] | None
"""Centre and matrix, as of `Frames`."""
FOLDS = np.arange(1, 13)
# The best of 4, 6, 10 and 16 rings and of 6, 8 and 12 orders on lobes, twisted rings and graphene.
RINGS, ORDERS = 4, 8
ZERNIKE_RINGS, ZERNIKE_ORDER = 20, 12
DARK = 1.05
"""Dark field begins at so many radii of the bright disc."""


def strongest_turn(coefficients: Complex) -> Array:
    """Angle (n,) of the strongest of the harmonics ``(n, R, M)``, summed over the rings."""
    low = coefficients[..., FOLDS]
    strongest = np.square(np.abs(low)).sum(axis=1).argmax(axis=1)
    phase = -np.angle(low.sum(axis=1)[np.arange(len(low)), strongest])
    turn: Array = phase / FOLDS[strongest]
    return turn


def _harmonics(frames: np.ndarray, n_radial: int, geometry: Geometry) -> Complex:
    """Angular Fourier coefficients of each ring's counts, (n, R, M)."""
    polar = scores.ring_counts(frames, n_radial, geometry=geometry).astype(float)
    harmonics: Complex = np.fft.rfft(polar, axis=-1)
    return harmonics


class Bispectrum:
    """PCA of the triple correlation of the rings' harmonics, which is blind to turns alone.

    Of harmonics F of order m on ring a, ``F_a(m) F_a(n) conj(F_b(m + n))`` for all rings a and b
    and orders up to `ORDERS`. For m = 0 the mean of ring a is left out: what remains are the
    rings' powers and their relative phases, which twisted rings differ in.

    Notes
    -----
    R. Kakarala, The bispectrum as a source of phase-sensitive invariants for Fourier descriptors
    (J. Math. Imaging Vis. 44, 341, 2012), has the completeness of the set without bounds.
    """

    def __init__(self, train: np.ndarray, n_components: int, geometry: Geometry) -> None:
        self.geometry = geometry
        harmonics = _harmonics(train, RINGS, geometry)
        # Counting noise of a harmonic, alike for all orders.
        self.noise = np.sqrt(harmonics[..., :1].real.mean(axis=0))
        features, variance = self._features(harmonics)
        self.scale = np.sqrt(variance.mean(axis=0))
        self.components = PCA(n_components, random_state=0).fit(features / self.scale)
        self.shown = len(train)

    def _features(self, harmonics: Complex) -> tuple[Array, Array]:
        """Invariants (n, features), and the variance that counting noise gives each."""
        white = harmonics / self.noise
        features = [white[..., 0].real]
        variance = [np.ones_like(features[0])]
        for low in range(ORDERS + 1):
            for high in range(max(low, 1), ORDERS + 1 - low):
                factors = _factors(white, low, high)
                power = np.square(np.abs(factors))
                product = np.prod(factors, axis=0)
                others = sum(np.prod(np.delete(power, i, 0), axis=0) for i in range(len(power)))
                features += [product.real, product.imag]
                variance += [others, others]
        return np.concatenate(features, axis=1), np.concatenate(variance, axis=1)

    def encode(self, frames: np.ndarray) -> tuple[Array, Array]:
        harmonics = _harmonics(frames, RINGS, self.geometry)
        z = self.components.transform(self._features(harmonics)[0] / self.scale)
        return z, strongest_turn(harmonics)

    def expected(self, frames: np.ndarray) -> None:  # noqa: ARG002, invariants make no pattern
        return None


def _factors(white: Complex, low: int, high: int) -> Complex:
    """Harmonics (2 or 3, n, pairs of rings) whose product turns leave alone."""
    rings = white.shape[1]
    if low == 0:
        first, second = np.triu_indices(rings)
        return np.stack([white[:, first, high], white[:, second, high].conj()])
    first, second = np.indices((rings, rings)).reshape(2, -1)
    third = white[:, second, low + high].conj()
    return np.stack([white[:, first, low], white[:, first, high], third])


class Zernike:
    """PCA of the moduli of Zernike moments up to order 12, taken from the counts of 20 rings."""

    def __init__(self, train: np.ndarray, n_components: int, geometry: Geometry) -> None:
        self.geometry = geometry
        moduli = self._moduli(_harmonics(train, ZERNIKE_RINGS, geometry))
        self.components = PCA(n_components, random_state=0).fit(moduli)
        self.shown = len(train)

    @staticmethod
    def _moduli(harmonics: Complex) -> Array:
        radius = (np.arange(ZERNIKE_RINGS) + 0.5) / ZERNIKE_RINGS
        moments = [
            np.sqrt(n + 1) * harmonics[..., m] @ radial_polynomial(n, m, radius)
            for n in range(ZERNIKE_ORDER + 1)
            for m in range(n % 2, n + 1, 2)
        ]
        return np.abs(np.stack(moments, axis=1))

    def encode(self, frames: np.ndarray) -> tuple[Array, Array]:
        harmonics = _harmonics(frames, ZERNIKE_RINGS, self.geometry)
        return self.components.transform(self._moduli(harmonics)), strongest_turn(harmonics)

    def expected(self, frames: np.ndarray) -> None:  # noqa: ARG002, moduli make no pattern
        return None


def radial_polynomial(n: int, m: int, radius: Array) -> Array:
    """Zernike's, of degree n and order m, on the unit disc."""
    value: Array = radius**m * eval_jacobi((n - m) // 2, 0, m, 2 * radius**2 - 1)
    return value


class ComDarkField:
    """Length of the centre of mass, and share of counts beyond the bright disc; COM's direction.

    Nothing is learned but the disc's radius: that of the area where the mean pattern is above half
    of its maximum.
    """

    shown = 0

    def __init__(self, train: np.ndarray, geometry: dict[str, Any]) -> None:
        self.center, self.matrix = (np.array(geometry[name]) for name in ("center", "matrix"))
        mean = train.mean(axis=0)
        area = (mean > mean.max() / 2).sum() * abs(np.linalg.det(self.matrix))
        self.radius = float(np.sqrt(area / np.pi))

    def encode(self, frames: np.ndarray) -> tuple[Array, Array]:
        index = np.moveaxis(np.indices(frames.shape[1:]), 0, -1)
        q = (index - self.center.reshape(-1, 1, 1, 2)) @ self.matrix.T
        total = frames.sum(axis=(1, 2))
        com = (frames[..., None] * q).sum(axis=(1, 2)) / total[:, None]
        beyond = np.hypot(q[..., 0], q[..., 1]) > DARK * self.radius
        dark = (frames * beyond).sum(axis=(1, 2)) / total
        return np.column_stack([np.hypot(*com.T), dark]), np.arctan2(com[:, 1], com[:, 0])

    def expected(self, frames: np.ndarray) -> None:  # noqa: ARG002, two numbers make no pattern
        return None
