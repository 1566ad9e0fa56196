import numpy as np
import pytest
from scipy import ndimage

from blinkcore.simulation import contrast
from blinkcore.simulation.implant import estimate_gain, implant
from blinkcore.simulation.processing import process
from blinkcore.simulation.ranges import GENERAL, SceneRanges

NOTHING = {n: 0.0 for n in SceneRanges.__dataclass_fields__ if n.startswith("p_")}
PLAIN = SceneRanges(
    **NOTHING,
    sigma=(1.3, 1.31),
    density=(1e-3, 1.01e-3),
    zoom=(1.0, 1.0001),
    contrast=(20.0, 20.1),
    intensity_spread=(0.0, 1e-9),
)


@pytest.fixture(scope="module")
def plane():
    rng = np.random.default_rng(0)
    level = 200 + 80 * ndimage.gaussian_filter(rng.standard_normal((300, 320)), 20) * 20
    return rng.poisson(level).astype(np.uint16)


def test_one_seed_implants_the_same_spots(plane):
    one, same = (implant(plane, (96, 80), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.points, same.points)
    assert one.image.shape == (96, 80)
    assert one.image.dtype in (np.uint8, np.uint16)


def test_implanted_spots_lie_where_the_truth_says(plane):
    errors = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        scene = implant(plane, (128, 128), rng, ranges=PLAIN)
        smooth = ndimage.gaussian_filter(scene.image.astype(float), 4)
        pixels = np.maximum(scene.image - smooth, 0)
        for y, x in scene.points:
            others = np.hypot(*(scene.points - (y, x)).T)
            if (others < 12).sum() > 1 or not (8 < y < 119 and 8 < x < 119):
                continue
            row, col = round(y), round(x)
            window = pixels[row - 3 : row + 4, col - 3 : col + 4]
            cy, cx = ndimage.center_of_mass(window)
            errors.append((row - 3 + cy - y, col - 3 + cx - x))
    assert len(errors) > 50
    assert np.abs(np.mean(errors, axis=0)).max() < 0.08


def test_a_spot_has_the_contrast_that_is_asked_for():
    """On white noise of known width, by the formula of the contrast itself."""
    rng = np.random.default_rng(1)
    ground = rng.normal(1000, 10, (400, 400))
    sigma = 1.5
    response = contrast.difference_of_gaussians(ground, sigma)
    noise = contrast.local_noise(response, sigma)
    expected = contrast.WHITE_RESPONSE / sigma * 10
    assert np.median(noise) == pytest.approx(expected, rel=0.05)
    y, x = np.ogrid[:400, :400]
    spot = 100 * np.exp(-((y - 200) ** 2 + (x - 200) ** 2) / (2 * sigma**2))
    peak = contrast.difference_of_gaussians(spot, sigma)[200, 200]
    assert peak == pytest.approx(100 * contrast.SPOT_RESPONSE, rel=0.03)


def test_dim_spots_are_drawn_and_not_labelled(plane):
    """With contrasts about the limit a part of the spots carries no label."""
    from dataclasses import replace

    faint = replace(PLAIN, contrast=(2.0, 2.01), density=(3e-3, 3.1e-3))
    all_ = replace(faint, min_contrast=1e-9, min_relative_height=0.0)
    n_seen = n_drawn = 0
    for seed in range(5):
        n_seen += len(
            implant(plane, (128, 128), np.random.default_rng(seed), ranges=faint).points
        )
        n_drawn += len(
            implant(plane, (128, 128), np.random.default_rng(seed), ranges=all_).points
        )
    assert n_seen < 0.2 * n_drawn


def test_the_gain_of_a_camera_is_estimated_from_one_plane():
    rng = np.random.default_rng(2)
    y, x = np.ogrid[:512, :512]
    photons = 50 + 400 * np.exp(-((y - 250) ** 2 + (x - 200) ** 2) / 2e4)
    for gain in (0.5, 3.0):
        image = 100 + gain * rng.poisson(photons)
        assert estimate_gain(image) == pytest.approx(gain, rel=0.2)
    assert estimate_gain(rng.normal(100, 5, (128, 128))) < 5


def test_processing_gives_finite_pixels_that_are_not_negative():
    rng = np.random.default_rng(3)
    pixels = rng.poisson(50, (64, 70)).astype(np.float32)
    for seed in range(60):
        result = process(pixels.copy(), np.random.default_rng(seed))
        assert result.shape == pixels.shape
        assert result.dtype == np.float32
        assert np.isfinite(result).all()
        assert result.min() >= 0


def test_planes_of_every_kind_can_be_backgrounds():
    rng = np.random.default_rng(4)
    planes = [
        rng.integers(0, 2, (40, 50)).astype(np.uint8),
        np.where(rng.random((256, 256)) < 0.01, 255, 0).astype(np.uint8),
        rng.normal(0, 1, (100, 100)),
        np.full((64, 64), 65535, np.uint16) - rng.integers(0, 9, (64, 64), np.uint16),
    ]
    for seed, plane in enumerate(planes):
        for ranges in (PLAIN, GENERAL):
            scene = implant(plane, (96, 96), np.random.default_rng(seed), ranges=ranges)
            assert scene.image.shape == (96, 96)
            assert ((scene.points >= -0.5) & (scene.points < 95.5)).all()
