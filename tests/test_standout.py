# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a defect stands out of its lattice."""

import numpy as np
import pytest

from py4dstem_rrvae.maps.standout import positions_near, site_standout, standout


def test_positions_near_are_a_disc_about_each_place():
    near = positions_near((7, 9), [[3.0, 4.0], [0.4, 0.0]], 1.0)
    found = {(int(r), int(c)) for r, c in np.argwhere(near)}
    assert found == {(3, 4), (2, 4), (4, 4), (3, 3), (3, 5), (0, 0), (1, 0)}


def halves():
    reference = np.zeros((40, 50), dtype=bool)
    reference[:, :40] = True
    target = np.zeros_like(reference)
    target[:, 45:] = True
    return reference, target


def test_standout_counts_robust_standard_deviations():
    reference, target = halves()
    values = np.random.default_rng(1).normal(5.0, 0.1, reference.shape)
    values[target] = 5.7
    values[0, :5] = 1e3
    assert standout(values, reference, target) == pytest.approx(7.0, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2, 5])
def test_nothing_stands_out_of_noise_whatever_the_number_of_features(d):
    reference, target = halves()
    noise = np.random.default_rng(2).normal(size=(*reference.shape, d))
    assert standout(noise, reference, target) == pytest.approx(0.674, rel=0.2)


@pytest.mark.slow
def test_standout_does_not_depend_on_units_or_on_turning_the_features():
    reference, target = halves()
    features = np.random.default_rng(3).normal(size=(*reference.shape, 2))
    features[target] += 4
    plain = standout(features, reference, target)
    skewed = features @ np.array([[1e-3, 2e-3], [-3.0, 1.0]]) + 7
    assert standout(skewed, reference, target) == pytest.approx(plain, rel=0.02)


def test_site_standout_takes_the_radius_where_the_defect_shows():
    rng = np.random.default_rng(4)
    sites = np.stack(np.meshgrid([10, 30, 50, 70], [10, 30, 50], indexing="ij"), -1).reshape(-1, 2)
    sites, defect = np.delete(sites, 5, axis=0), sites[5]
    values = rng.normal(0, 0.1, (80, 60))
    away = np.hypot(*(np.indices(values.shape) - defect[:, None, None]))
    values[(away > 2.5) & (away < 5)] += 1
    found, radius = site_standout(values, sites, defect, [2.0, 5.0])
    assert radius == 5.0
    assert found > 5
    assert site_standout(values, sites, defect, [2.0])[0] < 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.zeros((40, 50), bool)}, "target must hold at least one position; got none"),
        ({"target": np.ones((40, 50), bool)}, "must not overlap; they share 1600 positions"),
        ({"target": np.ones((4, 5), bool)}, r"target must have .* shape \(40, 50\); got \(4, 5\)"),
        ({"reference": np.ones((4, 5), bool)}, r"reference must have .* got \(4, 5\)"),
        ({"reference": np.zeros((40, 50), bool)}, "at least 10 positions for 1 features; got 0"),
        ({"features": np.ones((40, 50))}, "must vary in every feature"),
    ],
)
def test_standout_refuses(change, message):
    reference, target = halves()
    given = {
        "features": np.random.default_rng(5).normal(size=(40, 50)),
        "reference": reference,
        "target": target,
    }
    with pytest.raises(ValueError, match=message):
        standout(**(given | change))
