# SPDX-License-Identifier: GPL-3.0-or-later
"""How unlikely a pattern is: known outliers, calibration, what must not matter."""

from dataclasses import replace

import numpy as np
import pytest

from py4dstem_rrvae import Codes, anomaly
from py4dstem_rrvae.maps.anomaly import anomaly_map

SCAN = (48, 50)
ODD = (20, 31)


def codes(z, error=None):
    scan = z.shape[:-1]
    error = np.random.default_rng(9).normal(1, 0.03, scan) if error is None else error
    blank = np.zeros(scan)
    return Codes(z, np.full_like(z, 0.1), blank, blank, blank.astype(int), error)


def site_kinds(seed=0):
    """Three kinds of sites, compact and of different shares, at random places."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, SCAN, p=[0.5, 0.3, 0.2])
    centre = np.array([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    return centre[kind] + rng.normal(0, 0.2, (*SCAN, 2))


def lattice(seed=0):
    """Latents that repeat every 12 positions, and noise."""
    row, col = np.indices(SCAN)
    waves = [np.cos(2 * np.pi * row / 12), np.cos(2 * np.pi * col / 12)]
    noise = np.random.default_rng(seed).normal(0, 0.1, (*SCAN, 2))
    return np.stack(waves, axis=-1) + noise


def test_a_pattern_between_the_kinds_is_the_oddest_though_it_is_at_the_centre_of_all():
    z = site_kinds()
    z[ODD] = 0.3, 0.8
    score = anomaly(codes(z))
    assert np.unravel_index(score.argmax(), SCAN) == ODD
    assert score[ODD] > 2 * np.sort(score.ravel())[-2]


def test_the_scale_is_that_of_robust_standard_deviations():
    # One kind of site, so that the distance of 2 latents is known: that of a chi distribution.
    score = anomaly(codes(np.random.default_rng(1).normal(size=(*SCAN, 2))), neighbourhood=0)
    assert score.shape == SCAN
    assert score.min() >= 0
    assert np.median(score) == pytest.approx(0.674, rel=0.01)
    assert (score > 3).mean() < 0.01


def test_a_misfit_counts_where_the_latents_are_ordinary():
    z = site_kinds()
    source = codes(z)
    source.error[ODD] = 2.0
    assert np.unravel_index(anomaly(source).argmax(), SCAN) == ODD
    without = anomaly(replace(source, error=np.ones(SCAN)))
    assert without[ODD] < 3


def patch():
    """A site that is missing: its codes are those of gaps, which every cell has."""
    z = lattice()
    row, col = np.indices(SCAN)
    near = np.hypot(row - 24, col - 24) < 5
    z[near] = np.full(2, -1.0) + np.random.default_rng(3).normal(0, 0.1, (near.sum(), 2))
    return z, near


def test_a_missing_site_is_found_from_its_neighbourhood():
    z, near = patch()
    score = anomaly(codes(z), neighbourhood=4)
    assert near[np.unravel_index(score.argmax(), SCAN)]
    alone = anomaly(codes(z))
    assert np.median(alone[near]) < np.quantile(alone[~near], 0.95)
    assert np.median(score[near]) > np.quantile(score[~near], 0.99)


def test_a_border_through_a_row_of_sites_is_as_usual_as_the_other_rows():
    row = np.indices((49, 40))[0]
    waves = np.stack([np.cos(2 * np.pi * row / n) for n in (12, 24)], axis=-1)
    score = anomaly(codes(waves, np.ones(row.shape)), neighbourhood=3)
    np.testing.assert_allclose(score[[0, 48]], score[[24, 24]], rtol=1e-6)


@pytest.mark.slow
def test_a_perfect_lattice_has_no_such_place():
    z, near = patch()
    assert anomaly(codes(lattice()), neighbourhood=4).max() < 3
    assert anomaly(codes(z), neighbourhood=4)[near].max() > 3


@pytest.mark.slow
@pytest.mark.parametrize("neighbourhood", [0, 2])
def test_neither_collapsed_latents_nor_their_order_nor_their_scale_matter(neighbourhood):
    z = site_kinds()[:24, :25]
    plain = anomaly(codes(z), neighbourhood=neighbourhood)
    padded = np.concatenate([z, np.zeros((24, 25, 1))], axis=-1)
    np.testing.assert_array_equal(anomaly(codes(padded), neighbourhood=neighbourhood), plain)
    noise = padded.copy()
    noise[..., 2] = np.random.default_rng(2).normal(size=(24, 25))
    told = anomaly(codes(noise), collapsed=[False, False, True], neighbourhood=neighbourhood)
    np.testing.assert_array_equal(told, plain)
    scaled = anomaly(codes(z[..., ::-1] * [5.0, -0.1]), neighbourhood=neighbourhood)
    np.testing.assert_allclose(scaled, plain, rtol=0.05, atol=0.05)


def test_a_scan_without_a_live_latent_is_judged_by_its_misfit():
    source = codes(np.zeros((*SCAN, 2)))
    source.error[ODD] = 3.0
    for neighbourhood in (0, 1):
        score = anomaly(source, neighbourhood=neighbourhood)
        assert np.unravel_index(score.argmax(), SCAN) == ODD


def test_frames_of_a_series_and_lines_are_averaged_over_their_scan_axes_alone():
    z = np.zeros((3, 20, 20, 1)) + np.random.default_rng(0).normal(0, 0.01, (3, 20, 20, 1))
    z[1, 10, 10] = 5
    score = anomaly(codes(z, np.ones(z.shape[:-1])), neighbourhood=1)
    assert score[1, 10, 12] > 5 > score[[0, 2], 10, 10].max()
    line = z[1, 10]
    assert anomaly(codes(line, np.ones(20)), neighbourhood=1).shape == (20,)


def test_the_map_says_what_it_is():
    source = codes(site_kinds()[:10, :12])
    map_ = anomaly_map(source, neighbourhood=2)
    assert (map_.name, map_.units, map_.period) == ("anomaly", "robust std", None)
    assert "averaged over 2 positions" in map_.description
    np.testing.assert_array_equal(map_.values, anomaly(source, neighbourhood=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"collapsed": [False]}, "one value per latent, 2; got 1"),
        ({"neighbourhood": -1}, "0 or more positions; got -1"),
        ({"neighbourhood": np.nan}, "0 or more positions; got nan"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        anomaly(codes(site_kinds()), **options)


def test_too_few_positions():
    with pytest.raises(ValueError, match="at least 30 positions; got 25"):
        anomaly(codes(site_kinds()[:5, :5]))
