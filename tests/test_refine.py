"""Fits of Gaussians with known answers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blinkcore import _core
from blinkcore.detection.refine import refined
from blinkcore.evaluation.scores import match
from blinkcore.simulation.scenes import simulate

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


def ramp():
    """A slope that flattens: no Gaussian narrower than the window fits."""
    return np.tile(np.sqrt(np.arange(32, dtype=np.float32)), (32, 1))


@pytest.mark.parametrize(
    ("pixels", "start"),
    [
        (np.zeros((32, 32), np.float32), (15, 15)),
        (picture(15, 15, peak=-40.0), (15, 16)),
        (ramp(), (15, 15)),
        (picture(1, 1, shape=(3, 3)), (1, 1)),  # fewer pixels than tell
        (picture(15, 22, sigma=2.5), (15, 15)),  # outside the window
        (picture(15, 15), (np.nan, 15)),
        (np.empty((0, 5), np.float32), (0, 0)),
    ],
)
def test_no_gaussian_no_fit(pixels, start):
    assert np.isnan(fit(pixels, [start])).all()


def test_a_fit_that_begins_within_a_pixel_finds_the_spot():
    rng = np.random.default_rng(2)
    true = np.array([15.3, 16.2])
    pixels = (picture(*true) + rng.normal(0, 0.1, (32, 32))).astype(np.float32)
    starts = true + rng.uniform(-0.7, 0.7, (500, 2))
    fits = fit(pixels, starts)
    assert (np.hypot(*(fits[:, :2] - true).T) < 0.02).all()


def test_a_fit_that_begins_far_away_finds_nothing_or_the_spot():
    rng = np.random.default_rng(2)
    true = np.array([15.3, 16.2])
    pixels = (picture(*true) + rng.normal(0, 0.1, (32, 32))).astype(np.float32)
    fits = fit(pixels, true + rng.uniform(1, 3, (500, 2)))
    found = np.isfinite(fits[:, 0])
    assert 20 < found.sum() < 480
    assert (np.hypot(*(fits[found, :2] - true).T) < 0.02).all()


def test_a_fit_stays_in_its_window_and_is_bright():
    rng = np.random.default_rng(4)
    pixels = rng.normal(0, 1, (256, 256)).astype(np.float32)
    starts = rng.integers(0, 256, (4000, 2)).astype(float)
    fits = fit(pixels, starts)
    found = np.isfinite(fits[:, 0])
    assert found.sum() > 100
    assert (np.abs(fits[found, :2] - starts[found]) <= 5.5).all()
    at = np.rint(fits[found, :2]).clip(0, 255).astype(int).T
    assert pixels[at[0], at[1]].mean() > 1.0


def test_without_noise_no_spot_is_lost():
    """The error of a perfect fit is next to nothing, and weighs as much."""
    rng = np.random.default_rng(3)
    for y, x in rng.uniform(10, 20, (300, 2)):
        pixels = picture(y, x, sigma=rng.uniform(0.9, 2.0))
        (found,) = refined(pixels, np.array([[y + 0.05, x, 1.0, 0.1]]))
        assert found[:2] == pytest.approx([y, x], abs=5e-3)
        assert 0.0 <= found[3] < 0.01


def test_both_sides_alike():
    """A strip, and the same on its side."""
    pixels = picture(0.6, 100.3, sigma=2.1, shape=(2, 200))
    (lying,) = fit(pixels, [[0.5, 100.0]])
    (standing,) = fit(np.ascontiguousarray(pixels.T), [[100.0, 0.5]])
    assert lying[1] == pytest.approx(100.3, abs=0.01)
    assert standing == pytest.approx(lying[[1, 0, 2, 3]], abs=1e-9)


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


@pytest.mark.parametrize("independence", [1.0, 0.25])
def test_the_surer_one_weighs_more(independence):
    """The fit's error counts 1.5 times, and twice that where neighbours share their noise."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, (32, 32))
    pixels = (picture(15.0, 16.1) + noise).astype(np.float32)
    y, x, error, _ = fit(pixels, [[15.1, 16.0]])[0]
    (found,) = refined(pixels, np.array([[15.1, 16.0, 0.9, 0.1]]), independence)
    error /= np.sqrt(independence)
    share = 0.1**2 / (0.1**2 + (1.5 * error) ** 2)
    assert 0.3 < share < 1
    assert found[:2] == pytest.approx(
        [15.1 + share * (y - 15.1), 16 + share * (x - 16)]
    )
    assert found[2] == 0.9
    assert found[3] == pytest.approx((0.1**-2 + (1.9 * error) ** -2) ** -0.5)


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


@pytest.mark.slow
def test_bright_lone_spots_are_placed_nearly_as_well_as_can_be(easy, general):
    """Their RMSE is within 1.25 of the Cramér-Rao bound, and the network's alone is not."""
    from blinkcore.detection.predict import find_spots

    ranges = replace(
        easy,
        sigma=(1.3, 1.31),
        snr=(20, 21),
        density=(2e-4, 2.1e-4),
        background=(100, 101),
    )
    off, bound = {True: [], False: []}, []
    for seed in range(20):
        scene = simulate((200, 200), np.random.default_rng(seed), ranges=ranges)
        apart = np.hypot(*(scene.points[:, None] - scene.points).T)
        lone = (apart < 12).sum(axis=0) == 1
        lone &= ((scene.points > 8) & (scene.points < 191)).all(axis=1)
        for refine, distances in off.items():
            found = find_spots(scene.image, general, threshold=0.5, refine=refine)
            i, j = match(scene.points, found[:, :2], cutoff=1.0).T
            distances.append((found[j, :2] - scene.points[i])[lone[i]])
        bound.append(scene.cramer_rao()[lone])
    best = np.sqrt((np.concatenate(bound) ** 2).mean())
    rmse = {r: np.sqrt((np.concatenate(d) ** 2).mean()) for r, d in off.items()}
    assert rmse[True] < 1.25 * best < rmse[False]
