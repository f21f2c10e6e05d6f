# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, units and periods of the maps."""

from dataclasses import replace

import numpy as np
import pytest

from py4dstem_rrvae import Codes, latent_maps
from py4dstem_rrvae.maps.latent import codes_of, period_of

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
    reliable = latent_maps(replace(source, angle_reliability=np.ones(SCAN)))
    assert list(reliable) == [*names[:8], "angle_reliability", *names[8:]]
    assert all(name == map_.name and map_.description for name, map_ in maps.items())
    np.testing.assert_array_equal(maps["z2"].values, source.z[..., 1])
    np.testing.assert_array_equal(maps["z3_std"].values, source.z_std[..., 2])
    np.testing.assert_array_equal(maps["fold"].values, source.fold)


@pytest.mark.parametrize("handedness", [None, np.linspace(0, 1, 30).reshape(SCAN)])
@pytest.mark.parametrize("reliability", [None, np.linspace(1, 0, 30).reshape(SCAN)])
def test_codes_of_their_maps_are_the_codes(handedness, reliability):
    source = replace(codes(d=11), handedness=handedness, angle_reliability=reliability)
    found = codes_of({name: map_.values for name, map_ in latent_maps(source).items()})
    for name, values in vars(source).items():
        np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)


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
