# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, units and periods of the maps, and the measure of how far a defect stands out."""

import numpy as np
import pytest

from py4dstem_rrvae import Codes, latent_maps
from py4dstem_rrvae.maps import period_of, positions_near, site_standout, standout

SCAN = (5, 6)


def codes(d=2):
    rng = np.random.default_rng(0)
    fold = rng.integers(0, 4, SCAN)
    return Codes(
        z=rng.normal(size=(*SCAN, d)),
        z_std=rng.uniform(size=(*SCAN, d)),
        angle=np.where(fold > 0, 0.1, np.nan),
        angle_std=np.full(SCAN, 0.2),
        fold=fold,
        error=np.ones(SCAN),
    )


def test_every_code_becomes_a_map():
    source = codes(d=3)
    maps = latent_maps(source)
    names = ["z1", "z2", "z3", "z1_std", "z2_std", "z3_std", "angle", "angle_std", "fold", "error"]
    assert list(maps) == names
    assert all(name == map_.name and map_.description for name, map_ in maps.items())
    np.testing.assert_array_equal(maps["z2"].values, source.z[..., 1])
    np.testing.assert_array_equal(maps["z3_std"].values, source.z_std[..., 2])
    np.testing.assert_array_equal(maps["fold"].values, source.fold)


def test_only_the_angle_is_cyclic_and_in_radians():
    source = codes()
    maps = latent_maps(source)
    assert [name for name, m in maps.items() if m.period is not None] == ["angle"]
    assert {name for name, m in maps.items() if m.units == "rad"} == {"angle", "angle_std"}
    period = maps["angle"].period
    np.testing.assert_allclose((period * source.fold)[source.fold > 0], 2 * np.pi)
    np.testing.assert_array_equal(np.isnan(period), source.fold == 0)


def test_period_of_one_fold():
    assert period_of(3) == pytest.approx(2 * np.pi / 3)
    assert np.isnan(period_of(0))


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


@pytest.mark.parametrize("d", [1, 2, 5])
def test_nothing_stands_out_of_noise_whatever_the_number_of_features(d):
    reference, target = halves()
    noise = np.random.default_rng(2).normal(size=(*reference.shape, d))
    assert standout(noise, reference, target) == pytest.approx(0.674, rel=0.2)


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
