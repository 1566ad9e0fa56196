"""The light and the camera of simulated scenes, measured."""

import dataclasses

import numpy as np
import pytest

from blinkcore.simulation import camera, light
from blinkcore.simulation.scenes import simulate

SIDE = 61
MIDDLE = np.array([[30.0, 30.0]])


def moments(photons):
    """Variances of the light along y and x, and their covariance, px²."""
    rows, cols = np.indices(photons.shape)
    total = photons.sum()
    y, x = (photons * rows).sum() / total, (photons * cols).sum() / total
    products = ((rows - y) ** 2, (cols - x) ** 2, (rows - y) * (cols - x))
    return tuple((photons * product).sum() / total for product in products)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.5])
def test_a_gaussian_has_its_width_and_that_of_a_pixel(sigma):
    photons = np.zeros((SIDE, SIDE), np.float32)
    light.add_gaussians(photons, MIDDLE, np.array([1000.0]), np.array([sigma]))
    assert moments(photons)[:2] == pytest.approx([sigma**2 + 1 / 12] * 2, rel=5e-3)
    assert photons.sum() == pytest.approx(1000 * 2 * np.pi * sigma**2, rel=2e-3)


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, 0.7])
def test_an_ellipse_has_two_widths_and_an_angle(angle):
    photons = np.zeros((SIDE, SIDE), np.float32)
    light._add_elliptical(
        photons, MIDDLE, np.array([1000.0]), 4.0, 2.0, np.array([angle])
    )
    a, b = 16 + 1 / 12, 4 + 1 / 12
    along, across = np.cos(angle) ** 2, np.sin(angle) ** 2
    y, x, both = moments(photons)
    assert (y, x) == pytest.approx(
        (a * across + b * along, a * along + b * across), rel=0.01
    )
    assert both == pytest.approx((a - b) * np.sin(angle) * np.cos(angle), abs=0.05)
    assert photons.sum() == pytest.approx(1000 * 2 * np.pi * 4 * 2, rel=0.01)


@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_the_core_of_an_airy_pattern_is_as_wide_as_the_gaussian(sigma):
    pair = [np.zeros((SIDE, SIDE), np.float32) for _ in range(2)]
    light._add_airy(pair[0], MIDDLE, np.array([1000.0]), sigma)
    light.add_gaussians(pair[1], MIDDLE, np.array([1000.0]), np.array([sigma]))
    half = [np.interp(-p[30, 30] / 2, -p[30, 30:50], np.arange(20)) for p in pair]
    assert half[0] == pytest.approx(half[1], rel=0.1)
    assert pair[0].max() == pytest.approx(pair[1].max(), rel=0.05)


def test_the_density_is_at_most_what_can_be_told_apart(easy):
    dense = dataclasses.replace(easy, sigma=(2.0, 2.0001), density=(0.009, 1.0))
    numbers = [
        len(simulate((256, 256), np.random.default_rng(i), ranges=dense).points)
        for i in range(8)
    ]
    assert 0.008 * 256**2 < np.mean(numbers) < 0.0105 * 256**2  # 0.04 / sigma²


def test_a_scmos_camera_has_pixels_of_different_noise(easy):
    """Read noise varies from pixel to pixel by a factor of exp(0.4), one sigma."""
    ranges = dataclasses.replace(easy, p_scmos=1.0)
    dark = np.zeros((400, 400), np.float32)
    noise = []
    for seed in range(12):
        counts = camera._expose(dark, np.random.default_rng(seed), ranges, np.inf)
        values = counts - np.median(counts)
        core = np.quantile(np.abs(values), 0.5) / 0.6745
        noise.append((values / core).std())
    # A mixture of normal distributions, and offsets that differ: wider tails than one.
    assert 1.05 < np.mean(noise) < 1.35
    plain = dataclasses.replace(easy, p_scmos=0.0)
    counts = camera._expose(dark, np.random.default_rng(0), plain, np.inf)
    values = counts - np.median(counts)
    assert values.std() == pytest.approx(
        np.quantile(np.abs(values), 0.5) / 0.6745, rel=0.02
    )


@pytest.mark.parametrize(("share", "factor"), [(0.0, 1.0), (1.0, 2.0)])
def test_em_gain_doubles_the_variance(easy, share, factor):
    photons = np.full((300, 600), 100.0, np.float32)
    photons[:, 300:] = 900.0
    ranges = dataclasses.replace(easy, p_em_gain=share)
    counts = camera._expose(photons, np.random.default_rng(1), ranges, np.inf)
    dark, bright = counts[:, :300], counts[:, 300:]
    gain = (bright.mean() - dark.mean()) / 800
    variance = (bright.var() - dark.var()) / gain**2  # without that of the read noise
    assert variance / 800 == pytest.approx(factor, rel=0.05)
