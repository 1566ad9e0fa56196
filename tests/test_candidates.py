"""Heights of candidates, and the noise of a height."""

import numpy as np
import pytest
from scipy import ndimage

from blinkcore.detection.candidates import height_noise, measure_heights


def difference_of_gaussians(plane):
    return ndimage.gaussian_filter(plane, 1.0) - ndimage.gaussian_filter(plane, 2.0)


def test_the_height_is_the_difference_of_gaussians_there():
    plane = np.random.default_rng(0).normal(100, 9, (60, 70))
    points = np.array([(20, 30), (12, 50), (40, 9)], float)
    expected = (
        difference_of_gaussians(plane)[20, 30],
        *(difference_of_gaussians(plane)[row, col] for row, col in ((12, 50), (40, 9))),
    )
    # Gaussians are cut at 6 px here and at 4 sigma there.
    np.testing.assert_allclose(measure_heights(plane, points), expected, atol=0.05)


@pytest.mark.parametrize("sigma", [1.0, 25.0])
def test_the_noise_of_a_height_is_its_spread_without_spots(sigma):
    plane = np.random.default_rng(1).normal(1000, sigma, (300, 400))
    expected = difference_of_gaussians(plane).std()
    assert height_noise(plane) == pytest.approx(expected, rel=0.08)
    bright = plane.copy()
    bright[::40, ::40] += 1000 * sigma  # a few spots do not count
    assert height_noise(bright) == pytest.approx(expected, rel=0.2)
    assert height_noise(plane) == height_noise(plane.copy())
    assert height_noise(np.full((40, 40), np.nan)) == 0.0


def test_the_noise_is_that_of_the_whole_plane():
    """Half of it is quiet: the median deviation lies between."""
    plane = np.zeros((200, 200))
    plane[:, 100:] = np.random.default_rng(2).normal(0, 10, (200, 100))
    assert 0 < height_noise(plane) < difference_of_gaussians(plane[:, 100:]).std()
