import dataclasses

import numpy as np
import pytest

from blinkcore.simulation.crlb import cramer_rao
from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate


def test_without_background_it_is_the_width_by_the_root_of_the_photons():
    expected = np.sqrt((1.3**2 + 1 / 12) / np.array([100, 400]))
    np.testing.assert_allclose(cramer_rao([100, 400], 0.0, 1.3), expected, rtol=1e-6)


def test_it_is_the_inverse_of_the_fisher_information():
    """A sum over pixels instead of the integral of the paper: close at this width."""
    sigma, photons, background = 2.0, 800.0, 20.0
    y, x = np.mgrid[-15:16, -15:16].astype(float)
    mean = np.exp(-(y**2 + x**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    slope = photons * mean * x / sigma**2
    information = (slope**2 / (photons * mean + background)).sum()
    bound = cramer_rao(photons, background, sigma)
    assert float(bound) == pytest.approx(1 / np.sqrt(information), rel=0.03)


def test_what_has_no_light_is_nowhere():
    assert np.isinf(cramer_rao([0.0], [1.0], 1.0)).all()


def test_scenes_know_it_for_each_spot():
    n = 0
    for seed in range(40):  # some are resampled
        scene = simulate(
            (64, 64), np.random.default_rng(seed), ranges=PRESETS["general"]
        )
        bound = scene.cramer_rao()
        assert bound.shape == (len(scene.points),)
        assert (bound > 0).all()
        n += len(bound)
    assert n > 20


def test_the_bound_of_a_scene_is_that_of_its_light(easy):
    """One kind of spot on one background, of which the SNR tells the photons."""
    ranges = dataclasses.replace(
        easy, sigma=(1.3, 1.3001), snr=(10.0, 10.001), background=(50.0, 50.01),
        intensity_spread=(0.0, 1e-9),
    )  # fmt: skip
    scene = simulate((96, 96), np.random.default_rng(0), ranges=ranges)
    # (peak - background) / sqrt(peak) = 10, with a peak of 50 + p.
    peak = (100 + np.sqrt(100**2 + 4 * 100 * 50)) / 2
    photons = peak * 2 * np.pi * 1.3**2
    expected = float(cramer_rao(photons, 50.0, 1.3))
    np.testing.assert_allclose(scene.cramer_rao(), expected, rtol=0.03)
