import numpy as np
import pytest

from blinkcore.detection.measure import measure
from blinkcore.large_plane import LargePlane


def test_a_spot_of_known_light_on_a_known_background():
    plane = np.full((40, 50), 100, np.uint16)
    plane[19:22, 29:32] += 10  # 9 px of 10 counts
    plane[20, 30] += 90
    (row,) = measure(plane, [(20.2, 29.7)])
    np.testing.assert_allclose(row[:2], [100, 180])


def test_the_background_is_that_around_each_spot():
    plane = np.tile(np.arange(200.0), (60, 1))
    background = measure(plane, [(30, 50), (30, 150)])[:, 0]
    np.testing.assert_allclose(background, [50, 150])


def test_snr_is_the_peak_over_the_noise_of_the_ring():
    rng = np.random.default_rng(0)
    plane = rng.normal(500, 10, (400, 400))
    points = [(y, x) for y in range(20, 380, 20) for x in range(20, 380, 20)]
    for y, x in points:
        plane[y, x] = 600
    assert np.median(measure(plane, points)[:, 2]) == pytest.approx(10, rel=0.1)


def test_edges_and_missing_pixels_do_not_count():
    plane = np.full((30, 30), 7.0)
    plane[0, 0] = 17
    plane[1, 1] = np.nan
    (row,) = measure(plane, [(0, 0)])
    np.testing.assert_allclose(row[:2], [7, 10])


def test_no_spots_and_tiny_planes():
    assert measure(np.zeros((9, 9)), np.empty((0, 2))).shape == (0, 3)
    assert np.isnan(measure(np.ones((2, 2)), [(0, 0)])).all()


def test_a_radius_must_be_positive():
    with pytest.raises(ValueError, match="radius must be positive"):
        measure(np.ones((9, 9)), [(4, 4)], radius=0)


def test_light_just_outside_the_disk_is_not_background():
    """Within a pixel of the disk lies light of the spot; the ring begins behind it."""
    plane = np.full((41, 41), 10.0)
    y, x = np.indices(plane.shape) - 20
    plane[np.abs(np.hypot(y, x) - 3.5) < 0.5] = 1000.0
    background, *_ = measure(plane, [(20, 20)])[0]
    assert background == 10.0


def test_many_spots_are_measured_alike():
    plane = np.random.default_rng(0).normal(100, 3, (64, 64))
    rows = measure(plane, [(30, 30)] * 5000)
    assert (rows == rows[0]).all()


def test_every_spot_is_measured_as_by_hand():
    """Disk and ring as their definitions, also across the edges and in few rows of a band."""
    rng = np.random.default_rng(5)
    plane = rng.normal(500, 20, (37, 41))
    points = rng.uniform(-0.4, [36.4, 40.4], (300, 2))
    rows, cols = np.indices(plane.shape)
    for radius in (1.5, 3.0):
        found = measure(plane, points, radius=radius)
        for (y, x), row in zip(points, found, strict=True):
            distance = np.hypot(rows - y, cols - x)
            disk = distance <= radius
            ring = (distance > radius + 1) & (distance <= radius + 3)
            ground = np.median(plane[ring])
            excess = plane[disk] - ground
            noise = 1.4826 * np.median(np.abs(plane[ring] - ground))
            expected = (ground, excess.sum(), excess.max() / noise)
            np.testing.assert_allclose(row, expected, rtol=1e-9)


def test_a_spot_of_a_large_plane_is_measured_like_any():
    """Of which only the bands around the spots are read."""
    plane = np.random.default_rng(6).normal(500, 20, (400, 300))
    points = [(0.0, 0.0), (199.6, 150.2), (205.5, 20.0), (399.0, 299.0)]
    large = LargePlane(plane.shape, plane.dtype, lambda a, b: plane[a:b], 8, "a.tif")
    np.testing.assert_array_equal(measure(large, points), measure(plane, points))
