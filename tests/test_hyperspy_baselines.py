# SPDX-License-Identifier: GPL-3.0-or-later
"""PCA and NMF of HyperSpy's decomposition are those that the comparison has from scikit-learn."""

import numpy as np
import pytest
from hyperspy.signals import Signal2D
from sklearn.decomposition import NMF, PCA

from benchmarks.methods import Components
from py4dstem_rrvae import synthetic

SCAN, SIZE, COMPONENTS = (8, 10), 16, 4


@pytest.fixture(scope="module")
def frames():
    return synthetic.lobes(80, size=SIZE, counts=4000).frames


def decomposed(frames, **options):
    """Loadings (n, d) and factors (d, pixels) of HyperSpy, of the same square roots."""
    signal = Signal2D(Components._rows(frames).reshape(*SCAN, SIZE, SIZE))
    signal.decomposition(output_dimension=COMPONENTS, print_info=False, **options)
    loadings = signal.get_decomposition_loadings().data.reshape(COMPONENTS, -1).T
    return loadings, signal.get_decomposition_factors().data.reshape(COMPONENTS, -1)


def test_pca_is_the_same(frames):
    loadings, factors = decomposed(frames, algorithm="SVD", centre="navigation")
    own = Components(frames, PCA(COMPONENTS, svd_solver="full"))
    z, _ = own.encode(frames)
    scale = np.linalg.norm(factors, axis=1) * np.sign((factors * own.components.components_).sum(1))
    factors, loadings = factors / scale[:, None], loadings * scale
    np.testing.assert_allclose(factors, own.components.components_, atol=1e-8)
    np.testing.assert_allclose(loadings, z, atol=1e-8)


def test_nmf_is_the_same(frames):
    options = {"init": "nndsvda", "max_iter": 500, "random_state": 0}
    loadings, factors = decomposed(frames, algorithm="NMF", **options)
    own = Components(frames, NMF(COMPONENTS, **options))
    z, _ = own.encode(frames)
    np.testing.assert_allclose(loadings @ factors, z @ own.components.components_, rtol=2e-3)
