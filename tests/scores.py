# SPDX-License-Identifier: GPL-3.0-or-later
"""How well latents tell classes apart and follow a deformation."""

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor


def knn_accuracy(z, label):
    """Cross-validated accuracy of the 10 nearest neighbours."""
    return cross_val_score(KNeighborsClassifier(10), z, label).mean()


def cluster_agreement(z, label):
    """Adjusted Rand index of a Gaussian mixture, which never saw the labels."""
    mixture = GaussianMixture(
        len(np.unique(label)), n_init=10, init_params="random_from_data", random_state=0
    )
    return adjusted_rand_score(label, mixture.fit_predict(z))


def deformation_r2(z, deformation, label):
    """Share of the deformation's variance within the classes that 10 neighbours explain."""
    left, total = 0.0, 0.0
    for one in np.unique(label):
        truth = deformation[label == one]
        found = cross_val_predict(KNeighborsRegressor(10), z[label == one], truth)
        left += np.square(truth - found).sum()
        total += np.square(truth - truth.mean()).sum()
    return 1 - left / total
