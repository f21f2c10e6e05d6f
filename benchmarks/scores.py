# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores of latents and angles against a known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from py4dstem_rrvae import Codes, Frames
from py4dstem_rrvae.synthetic import Patterns, Polycrystal, error_modulo

Array = NDArray[np.float64]


def accuracy(z: Array, label: NDArray[np.int64]) -> float:
    """Cross-validated accuracy of a 10-nearest-neighbour classifier on ``z (n, d)``."""
    return float(cross_val_score(KNeighborsClassifier(10), z, label, cv=5).mean())


def ari(z: Array, label: NDArray[np.int64], components: int = 3) -> float:
    """Adjusted Rand index of a Gaussian mixture on ``z (n, d)``."""
    # Starts from k-means all run into one wrong optimum where classes are long and parallel.
    mixture = GaussianMixture(components, n_init=20, init_params="random_from_data", random_state=0)
    return float(adjusted_rand_score(label, mixture.fit_predict(z)))


def deformation(z: Array, truth: Patterns) -> float:
    """R^2 of the deformation from z by 10 nearest neighbours, mean over the classes."""
    return float(
        np.mean(
            [
                cross_val_score(
                    KNeighborsRegressor(10), z[own], truth.deformation[own], cv=5, scoring="r2"
                ).mean()
                for own in (truth.label == label for label in np.unique(truth.label))
            ]
        )
    )


def leak(z: Array, truth: Patterns) -> float:
    """Share of z's variance within a class that the turn explains, by 10 nearest neighbours."""
    direction = np.stack([np.cos(truth.angle), np.sin(truth.angle)], axis=1)
    explained = total = 0.0
    for label in np.unique(truth.label):
        own = truth.label == label
        within = z[own] - z[own].mean(axis=0)
        guess = cross_val_predict(KNeighborsRegressor(10), direction[own], within, cv=5)
        total += float((within**2).sum())
        explained += float((within**2).sum() - ((within - guess) ** 2).sum())
    # Latents that have all collapsed tell nothing of the turn either.
    return max(explained / total, 0.0) if total else 0.0


def angle_error_over_bound(truth: Patterns, angle: Array) -> list[float]:
    """Median error of defined angles over the median bound, per class; 0.674 is the optimum."""
    error = truth.angle_error(angle)
    return [
        float(np.nanmedian(error[own]) / np.median(truth.bound[own]))
        for own in (truth.label == label for label in np.unique(truth.label))
    ]


def grain_angle_error(truth: Polycrystal, angle: Array) -> Array:
    """Angle errors inside the grains, modulo the fold and one offset per phase, radians."""
    parts = []
    for phase in np.unique(truth.phase):
        own = truth.inside & (truth.phase == phase)
        parts.append(error_modulo(angle[own] - truth.angle[own], 2 * np.pi / truth.fold[own]))
    return np.concatenate(parts)


def turn(first: Codes, second: Codes) -> float:
    """Circular median turn from one scan to another, radians, where both angles have fold 1."""
    both = (first.fold == 1) & (second.fold == 1)
    phasor = np.exp(1j * (second.angle - first.angle)[both])
    return float(np.angle(np.median(phasor.real) + 1j * np.median(phasor.imag)) % (2 * np.pi))


def angular_spectra(frames: NDArray[np.uint16], n_radial: int = 20, n_angular: int = 64) -> Array:
    """Moduli of angular Fourier coefficients of each ring, ``(n, H, W)`` to (n, features)."""
    coefficients = angular_coefficients(frames, n_radial, n_angular)
    return np.abs(coefficients).reshape(len(frames), -1)


def angular_coefficients(
    frames: NDArray[np.uint16], n_radial: int = 20, n_angular: int = 64
) -> NDArray[np.complex128]:
    """Fourier coefficients over the angle of each ring's square root, (n, R, M)."""
    polar = np.sqrt(ring_counts(frames, n_radial, n_angular) + 0.375)
    coefficients: NDArray[np.complex128] = np.fft.rfft(polar, axis=-1)
    return coefficients


def ring_counts(
    frames: NDArray[np.uint16],
    n_radial: int = 20,
    n_angular: int = 64,
    geometry: dict[str, Any] | None = None,
) -> NDArray[np.float32]:
    """Counts in polar bins (n, R, A), about the middle where no centre and matrix are given."""
    from py4dstem_rrvae.detector.bins import PolarGrid
    from py4dstem_rrvae.detector.transform import BinTransform

    middle = [(n - 1) / 2 for n in frames.shape[-2:]]
    placed = Frames(frames, **(geometry or {"center": middle}))
    detector = placed.detector()
    wander = placed.wander(detector)
    grid = PolarGrid(detector.inscribed_radius(wander), n_radial, n_angular, degree=0)
    counts: NDArray[np.float32] = BinTransform(detector, grid)(frames, placed.origins()).numpy()
    return counts
