"""Fits of Gaussians with known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blinkcore import _core
from blinkcore.refine import refined

inner = st.floats(8.0, 23.0)


def picture(y, x, sigma=1.3, peak=40.0, slope=(0.0, 0.0), shape=(32, 32)):
    """A Gaussian on a tilted background, without noise."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    square = (rows - y) ** 2 + (cols - x) ** 2
    spot = peak * np.exp(-0.5 * square / sigma**2)
    return (3.0 + slope[0] * rows + slope[1] * cols + spot).astype(np.float32)


def fit(pixels, points):
    return _core.refine(pixels, np.array(points, float), radius=5, sigma=1.3)


@given(y=inner, x=inner, sigma=st.floats(0.8, 2.5), dy=st.floats(-0.4, 0.4))
def test_a_gaussian_is_found_where_it_is(y, x, sigma, dy):
    pixels = picture(y, x, sigma, slope=(0.5, -0.2))
    (found,) = fit(pixels, [[y + dy, x - 0.3]])
    assert found[:2] == pytest.approx([y, x], abs=2e-3)
    assert found[3] == pytest.approx(sigma, abs=0.01)


def test_the_error_is_the_spread_of_many_fits():
    rng = np.random.default_rng(0)
    pixels = picture(15.3, 16.2)
    noisy = [pixels + rng.normal(0, 2, pixels.shape) for _ in range(400)]
    fits = np.array([fit(n.astype(np.float32), [[15.0, 16.0]])[0] for n in noisy])
    spread = np.sqrt(((fits[:, :2] - [15.3, 16.2]) ** 2).mean())
    assert np.isfinite(fits).all()
    assert fits[:, 2].mean() == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("at", [(0.2, 0.1), (31.3, 31.4), (0.0, 15.4)])
def test_a_spot_at_the_edge(at):
    (found,) = fit(picture(*at), [at])
    assert found[:2] == pytest.approx(at, abs=0.01)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((32, 32), np.float32),
        picture(15, 15, peak=-40.0),
        np.zeros((3, 3), np.float32),
    ],
)
def test_no_gaussian_no_fit(pixels):
    assert np.isnan(fit(pixels, [[1.0, 1.0]])).all()


def test_many_and_none():
    pixels = np.maximum(picture(8, 8), picture(22, 22))
    assert fit(pixels, [[8, 8], [22, 22]])[:, :2] == pytest.approx(
        np.array([[8, 8], [22, 22]]), abs=0.02
    )
    assert fit(pixels, np.empty((0, 2))).shape == (0, 4)


@pytest.mark.parametrize(
    ("pixels", "points", "options", "message"),
    [
        (np.zeros(4, np.float32), np.zeros((1, 2)), {}, "image must have shape"),
        (np.zeros((4, 4), np.float32), np.zeros((1, 3)), {}, "points must have shape"),
        (np.zeros((4, 4), np.float32), np.zeros((1, 2)), {"sigma": 0.0}, "positive"),
        (np.zeros((4, 4), np.float32), np.zeros((1, 2)), {"radius": 0}, "positive"),
    ],
)
def test_wrong_input(pixels, points, options, message):
    with pytest.raises(ValueError, match=message):
        _core.refine(pixels, points, **{"radius": 5, "sigma": 1.3} | options)


def test_the_surer_one_weighs_more():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, (32, 32))
    pixels = (picture(15.0, 16.1) + noise).astype(np.float32)
    y, x, error, _ = fit(pixels, [[15.0, 16.0]])[0]
    (found,) = refined(pixels, np.array([[15.1, 16.0, 0.9, 0.1]]))
    share = 0.1**2 / (0.1**2 + (2 * error) ** 2)
    assert 0.5 < share < 1
    assert found[:2] == pytest.approx(
        [15.1 + share * (y - 15.1), 16 + share * (x - 16)]
    )
    assert found[2] == 0.9
    assert found[3] == pytest.approx((0.1**-2 + (2 * error) ** -2) ** -0.5)


@pytest.mark.parametrize(
    "spot",
    [
        [15.3, 16.0, 0.9, 0.1],  # three errors from where the fit is
        [15.0, 16.1, 0.9, 0.25],  # not sharp
        [3.0, 3.0, 0.9, 0.1],  # nothing there
    ],
)
def test_other_spots_stay(spot):
    spots = np.array([spot])
    np.testing.assert_array_equal(refined(picture(15.0, 16.0), spots), spots)
