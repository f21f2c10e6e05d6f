# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixel patterns with and without symmetry, their bins, and the bias of their scores."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from py4dstem_rrvae import synthetic
from py4dstem_rrvae.detector.bin_operator import BinOperator
from py4dstem_rrvae.detector.bins import Detector, PolarGrid
from py4dstem_rrvae.symmetry.autocorrelation import PolarBins
from py4dstem_rrvae.symmetry.scores import symmetry

SIZE = 48
RADIUS = 22.0
DETECTOR = Detector((SIZE, SIZE), ((SIZE - 1) / 2,) * 2, np.eye(2))
OPERATOR = BinOperator(DETECTOR, PolarGrid(RADIUS, 18, 64, degree=0))
BINS = PolarBins.of(OPERATOR)
ROW, COL = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
CIRCLE = np.hypot(ROW, COL) <= RADIUS


def lobes(turn=0.2, fold=(2.0, 3.0, 4.0, 6.0)):
    size = len(fold)
    return synthetic._expected(
        synthetic._lobed_ring, SIZE, 1.0, np.full(size, turn), np.array(fold), np.zeros(size)
    )


def smooth(n=4, sigma=3.0):
    rng = np.random.default_rng(0)
    noise = np.stack([gaussian_filter(x, sigma) for x in rng.normal(size=(n, SIZE, SIZE))])
    patterns = np.exp(noise / noise.std()) * np.exp(-2 * (ROW**2 + COL**2) / (SIZE / 2) ** 2)
    return patterns / patterns.sum(axis=(1, 2), keepdims=True)


def twisted(n=3):
    still = np.zeros(n)
    twist = np.radians([0.0, 25.0, 40.0])
    return synthetic._expected(synthetic._twisted_rings, SIZE, 1.0, still + 0.4, twist, still)


def polar_of(frames, operator=OPERATOR):
    return operator(torch.tensor(np.asarray(frames), dtype=torch.float32))


def draws(pattern, counts, n, seed=0):
    return np.random.default_rng(seed).poisson(counts * pattern, (n, *pattern.shape))


def dose_bias(patterns, counts, operator=OPERATOR, n=400, **options):
    """Mean n-fold and mirror score less the noise-free ones: (patterns, 11) and (patterns,)."""
    bins = PolarBins.of(operator)
    kind = options.get("kind", "angular")
    truth = symmetry(polar_of(1e4 * patterns, operator), bins, kind=kind, gain=None)
    n_fold, mirror = [], []
    for i, pattern in enumerate(patterns):
        noisy = symmetry(polar_of(draws(pattern, counts, n, seed=i), operator), bins, **options)
        n_fold.append(noisy.n_fold.nanmean(dim=0) - truth.n_fold[i])
        mirror.append(noisy.mirror.nanmean() - truth.mirror[i])
    return torch.stack(n_fold).abs().max().item(), torch.stack(mirror).abs().max().item()
