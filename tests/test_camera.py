# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera of measured-like scans loses no electron and puts the beam where it says."""

import numpy as np
import pytest

from py4dstem_rrvae.simulate import DescanCamera

EQUAL = np.ones(2)


def disc(center, radius, size):
    row, col = np.indices((size, size))
    return (np.hypot(row - center[0], col - center[1]) < radius).astype(float)


def test_same_pixels_pass_unchanged():
    fine = np.random.default_rng(0).random((2, 3, 12, 12))
    recorded, centers = DescanCamera(8, 1.0).record(fine, (5.5, 5.5), EQUAL)
    np.testing.assert_allclose(recorded, fine[..., 2:10, 2:10])
    np.testing.assert_array_equal(centers, np.full((2, 3, 2), 3.5))


def test_whole_pixels_are_summed():
    fine = np.random.default_rng(0).random((1, 1, 12, 12))
    recorded, _ = DescanCamera(4, 1.0).record(fine, (5.5, 5.5), 3 * EQUAL)
    np.testing.assert_allclose(recorded[0, 0], fine[0, 0].reshape(4, 3, 4, 3).sum((1, 3)))


def test_shift_by_a_pixel_moves_the_pattern_towards_higher_indices():
    fine = np.random.default_rng(0).random((1, 1, 16, 16))
    still, _ = DescanCamera(8, 1.0).record(fine, (7.5, 7.5), EQUAL)
    moved, centers = DescanCamera(8, 1.0, shift=(1.0, 2.0)).record(fine, (7.5, 7.5), EQUAL)
    np.testing.assert_allclose(moved[..., 1:, 2:], still[..., :-1, :-2])
    np.testing.assert_array_equal(centers[0, 0], [4.5, 5.5])


def test_beam_stands_where_the_camera_says_and_no_electron_is_lost():
    camera = DescanCamera(20, 1.0, shift=(0.7, -1.2), descan=((1.0, -0.3), (0.4, 0.6)))
    pattern = disc((31.0, 30.0), 14, 63)
    fine = np.broadcast_to(pattern, (4, 5, 63, 63))
    recorded, centers = camera.record(fine, (31.0, 30.0), np.array([2.4, 2.7]))
    np.testing.assert_allclose(recorded.sum((2, 3)), pattern.sum())
    index = np.indices((20, 20))
    found = np.einsum("abrc,krc->abk", recorded, index) / pattern.sum()
    # Within a pixel the disc is not even: its edge lies in parts of pixels.
    np.testing.assert_allclose(found, centers, atol=5e-3)
    # Along the rows of the scan the beam wanders by the first row of descan.
    np.testing.assert_allclose(centers[-1, 0] - centers[0, 0], (1.0, -0.3))
    np.testing.assert_allclose(centers[0, -1] - centers[0, 0], (0.4, 0.6))
    np.testing.assert_allclose(centers.mean((0, 1)), (9.5 + 0.7, 9.5 - 1.2))


def test_a_single_position_has_no_descan():
    camera = DescanCamera(8, 1.0, descan=((3.0, 3.0), (3.0, 3.0)))
    np.testing.assert_array_equal(camera.centers((1, 1)), [[[3.5, 3.5]]])


def test_camera_beyond_the_fine_pattern_is_refused():
    with pytest.raises(ValueError, match=r"within the 12 fine pixels; it reaches from -2\.0 to 14"):
        DescanCamera(16, 1.0).record(np.zeros((1, 1, 12, 12)), (5.5, 5.5), EQUAL)


def test_pixel_in_inverse_angstrom():
    # 60 kV: 0.0486616 A.
    assert DescanCamera(64, 41.0).q_per_pixel(0.0486616) == pytest.approx(82e-3 / 0.0486616 / 64)
