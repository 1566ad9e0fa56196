"""Gaussian fits: known answers, honest errors, and what does not fit."""

import numpy as np
import pytest
from scipy.special import erf

from blinkcore import _core, predict
from blinkcore.detection.fit import NAMES, Camera, fit_spots
from programs import call_blinkcore, run_blinkcore

SIDE = 25  # px, of the square that a spot has for itself


def profile(centre, sigma):
    edges = np.arange(SIDE + 1) - 0.5
    return np.diff(0.5 * erf((edges - centre) / (np.sqrt(2) * sigma)))


def drawn(n, photons, background, sigma, seed=0):
    """Squares with a spot near the middle of each, without noise; places and expected light."""
    rng = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(n)))
    light = np.full((across * SIDE, across * SIDE), float(background))
    places = []
    for i in range(n):
        top, left = SIDE * (i // across), SIDE * (i % across)
        y, x = SIDE // 2 + rng.uniform(-0.5, 0.5, 2)
        spot = np.outer(profile(y, sigma), profile(x, sigma))
        light[top : top + SIDE, left : left + SIDE] += photons * spot
        places.append((top + y, left + x))
    return light, np.array(places)


def column(values, name):
    return values[:, NAMES.index(name)]


@pytest.mark.parametrize("method", ["poisson", "lsq"])
def test_without_noise_the_fit_is_exact(method):
    light, places = drawn(9, 800.0, 20.0, 1.4)
    found = fit_spots(light, np.rint(places), method=method)
    np.testing.assert_allclose(found[:, :2], places, atol=1e-4)
    np.testing.assert_allclose(column(found, "sigma"), 1.4, atol=1e-4)
    np.testing.assert_allclose(column(found, "intensity"), 800, rtol=1e-4)
    np.testing.assert_allclose(column(found, "background"), 20, rtol=1e-4)
    np.testing.assert_allclose(
        column(found, "amplitude"), 800 / (2 * np.pi * 1.4**2), rtol=1e-3
    )


@pytest.mark.parametrize("method", ["poisson", "lsq"])
@pytest.mark.parametrize(
    ("photons", "background", "sigma"),
    [
        (300, 10, 1.3),
        (1000, 10, 1.3),
        (1500, 100, 1.3),
        (5000, 100, 1.8),
        (400, 1, 1.0),
    ],
)  # SNR 4.5 and more
def test_errors_are_what_is_said(method, photons, background, sigma):
    light, places = drawn(2500, photons, background, sigma)
    rng = np.random.default_rng(1)
    starts = places + rng.normal(0, 0.15, places.shape)
    camera = Camera(100.0, 2.0)
    counts = 100.0 + 2.0 * rng.poisson(light)
    found = fit_spots(counts, starts, method=method, camera=camera)
    known = np.isfinite(found[:, 0])
    assert known.mean() > 0.995
    found, places = found[known], places[known]
    off = found[:, :2] - places
    stated = np.median(column(found, "fit_uncertainty"))
    assert stated / off.std() == pytest.approx(1.0, abs=0.1)
    assert np.abs(off.mean(axis=0)).max() < 4 * off.std() / np.sqrt(len(off))
    for name, truth in (("sigma", sigma), ("intensity", photons)):
        values = column(found, name)
        said = np.median(column(found, f"{name}_uncertainty"))
        assert said / values.std() == pytest.approx(1.0, abs=0.1)
        assert abs(values.mean() - truth) < 0.15 * values.std()
    said = np.median(column(found, "amplitude_uncertainty"))
    assert said / column(found, "amplitude").std() == pytest.approx(1.0, abs=0.1)


def test_an_unknown_gain_does_not_make_errors_wrong():
    light, places = drawn(1600, 1000, 30, 1.3)
    counts = 3.0 * np.random.default_rng(1).poisson(light)
    found = fit_spots(counts, places)
    off = (found[:, :2] - places)[np.isfinite(found[:, 0])]
    stated = np.nanmedian(column(found, "fit_uncertainty"))
    assert stated / off.std() == pytest.approx(1.0, abs=0.1)


def test_wide_spots_get_a_wider_window():
    light, places = drawn(30, 20000.0, 20.0, 3.0)
    found = fit_spots(light, places)
    np.testing.assert_allclose(column(found, "sigma"), 3.0, atol=0.01)


def test_what_is_no_spot_is_nan():
    flat = np.full((40, 40), 10.0, np.float32)
    flat[5, 5] = np.nan
    points = [(20, 20), (5, 6), (-30, 3), (np.nan, 2), (39.4, 39.4)]
    assert np.isnan(fit_spots(flat, points)).all()
    assert fit_spots(flat, np.empty((0, 2))).shape == (0, len(NAMES))


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma": 0.0},
        {"radius": 0},
        {"radius": 10**6},
        {"offset": np.nan},
        {"gain": 0.0},
        {"read_variance": -1.0},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    right = {
        "radius": 5,
        "sigma": 1.3,
        "poisson": True,
        "offset": 0.0,
        "gain": 1.0,
        "read_variance": 0.0,
        "n_threads": 1,
    }
    with pytest.raises(ValueError, match="must"):
        _core.fit(np.zeros((9, 9), np.float32), np.zeros((1, 2)), **{**right, **wrong})


def test_threads_change_nothing():
    light, places = drawn(400, 500, 10, 1.3)
    pixels = np.random.default_rng(0).poisson(light).astype(np.float32)
    how = {"radius": 5, "sigma": 1.3, "poisson": True}
    how |= {"offset": 0.0, "gain": 1.0, "read_variance": 0.0}
    one, four = (_core.fit(pixels, places, n_threads=n, **how) for n in (1, 4))
    np.testing.assert_array_equal(one, four)


@pytest.mark.slow
def test_predict_measures_and_counts_molecules(examples, tmp_path):
    table = predict(examples / "cells.tif", measure="poisson", molecules=True)
    assert set(NAMES) <= set(table.columns)
    off = np.hypot(table.fit_y - table.y, table.fit_x - table.x)
    assert off.median() < 0.5  # dense: neighbours are not part of the model
    assert table.molecules.median() == pytest.approx(1.0)
    done = run_blinkcore(
        "predict", examples / "cells.tif", "-o", tmp_path / "a.csv",
        "--measure", "poisson", "--camera", "100,2.2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--measure", "best"], "--measure must be one of poisson, lsq"),
        (["--measure", "lsq", "--radius", "3"], "give one"),
        (["--camera", "100,2"], "which measure asks for"),
        (["--measure", "lsq", "--camera", "a"], "--camera must be OFFSET,GAIN"),
        (["--measure", "lsq", "--camera", "1,0"], "a gain above 0"),
        (["--molecules"], "give measure or radius"),
    ],
)
def test_options_that_do_not_fit_are_a_sentence(options, said, examples, tmp_path):
    done = call_blinkcore("predict", examples / "cells.tif", "-o", tmp_path, *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
