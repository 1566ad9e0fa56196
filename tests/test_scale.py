from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from blinkcore import predict
from blinkcore.detection.scale import (
    _largest_around,
    estimate_blob_width,
    factor_to,
    is_within,
    resampled,
    scale_factor,
    scale_warning,
)
from blinkcore.evaluation.scores import evaluate, match
from blinkcore.image import Image
from blinkcore.simulation.scenes import simulate

TRAINED = (0.8, 2.5)


def spots_of(sigma, easy, seed=0):
    ranges = replace(
        easy, sigma=(sigma, sigma * 1.001), density=(6e-4, 6.1e-4), snr=(14.0, 15.0)
    )
    return simulate((256, 300), np.random.default_rng(seed), ranges=ranges)


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0, 3.0, 4.0])
def test_the_width_of_spots_is_found(sigma, easy):
    blobs = estimate_blob_width(spots_of(sigma, easy).image)
    assert blobs.sigma == pytest.approx(sigma, rel=0.06)
    assert blobs.n > 20


def test_noise_and_tiny_planes_have_no_blobs():
    rng = np.random.default_rng(0)
    assert estimate_blob_width(rng.poisson(100, (300, 300))) is None
    assert estimate_blob_width(np.zeros((300, 300), np.uint8)) is None
    assert estimate_blob_width(np.ones((8, 300))) is None


def test_a_fitting_width_needs_no_scale():
    assert is_within(1.3, TRAINED)
    assert not is_within(5.0, TRAINED)
    assert 5.0 * factor_to(5.0, TRAINED) == pytest.approx(np.sqrt(2.0))


@pytest.mark.parametrize("factor", [0.31, 0.5, 1.7, 3.0])
def test_places_of_a_resampled_plane_map_back(factor):
    plane = np.full((90, 120), 100.0)
    y, x = np.mgrid[:90, :120]
    plane += 900 * np.exp(-((y - 33.3) ** 2 + (x - 77.7) ** 2) / (2 * 4.0**2))
    other = resampled(plane, factor)
    light = np.clip(other - np.median(other), 0, None)
    light[light < 0.05 * light.max()] = 0
    rows, cols = np.mgrid[: other.shape[0], : other.shape[1]]
    found = np.array([(rows * light).sum(), (cols * light).sum()]) / light.sum()
    ratio = np.array(plane.shape) / np.array(other.shape)
    np.testing.assert_allclose((found + 0.5) * ratio - 0.5, (33.3, 77.7), atol=0.2)


def test_auto_finds_wide_spots_that_are_missed_otherwise(easy, general):
    scene = spots_of(5.0, easy)
    image = Image(scene.image, "YX")
    assert scale_factor(image, general, "auto") < 0.5
    missed = evaluate(scene.points, predict(image, general)[["y", "x"]])
    found = predict(image, general, scale="auto")
    scores = evaluate(scene.points, found[["y", "x"]])
    assert missed.recall < 0.5
    assert scores.f1 > 0.8  # crowded: they are 5 px wide
    assert scores.rmse < 1.0


def test_a_warning_says_what_to_do(easy, general):
    words = scale_warning(Image(spots_of(5.0, easy).image, "YX"), general)
    assert "--scale auto" in words
    assert "0.8 to 2.5 px" in words
    assert scale_warning(Image(spots_of(1.3, easy).image, "YX"), general) is None


def test_errors_hold_where_an_image_is_enlarged(easy, general):
    """Interpolated pixels are alike: a fit would think itself surer than it is."""
    said, off = [], []
    for seed in range(6):
        scene = simulate(
            (128, 128),
            np.random.default_rng(seed),
            ranges=replace(easy, sigma=(0.65, 0.66), snr=(20, 21)),
        )
        found = predict(scene.image, general, scale=2.0)
        i, j = match(scene.points, found[["y", "x"]], cutoff=1.0).T
        error = found["localization_uncertainty"].to_numpy()[j]
        off.append((found[["y", "x"]].to_numpy()[j] - scene.points[i]) / error[:, None])
        said.append(error)
    assert sum(map(len, said)) > 100
    assert np.sqrt((np.concatenate(off) ** 2).mean()) < 1.2


def test_spots_of_two_widths_have_no_width(easy):
    images = [
        simulate(
            (256, 128),
            np.random.default_rng(i),
            ranges=replace(easy, sigma=(sigma, sigma + 0.01)),
        ).image
        for i, sigma in enumerate((1.0, 4.0))
    ]
    assert estimate_blob_width(images[0]) is not None
    assert estimate_blob_width(np.hstack(images)) is None


def test_a_width_far_below_the_range_does_not_fit():
    assert is_within(0.7, (0.8, 2.5))
    assert not is_within(0.4, (0.8, 2.5))


def test_the_largest_value_around_is_that_of_scipy():
    values = np.random.default_rng(0).normal(size=(5, 7, 6)).astype(np.float32)
    np.testing.assert_array_equal(
        _largest_around(values), ndimage.maximum_filter(values, 3)
    )
