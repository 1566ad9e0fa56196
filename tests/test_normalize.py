import numpy as np
import pytest

from blinkcore.network.normalize import Scaling, normalized, plane_scaling


def test_noise_scaling_finds_median_and_noise_under_spots():
    rng = np.random.default_rng(0)
    plane = rng.normal(1000, 12, (512, 512))
    plane[::16, ::16] += 5000  # 1 pixel in 256
    scaling = plane_scaling(plane, "noise")
    assert scaling.center == pytest.approx(1000, abs=0.5)
    # 65,000 differences: 0.5 % of error; every fourth row is looked at, a quarter of
    # which have a spot each 16 px, which touches 1 in 32 of all differences: 4 %.
    assert scaling.scale == pytest.approx(12, rel=0.05)


@pytest.mark.parametrize("shape", [(3, 5), (7, 8), (64, 64)])
def test_the_centre_is_the_median(shape):
    for plane in (
        np.random.default_rng(0).normal(100, 5, shape),
        np.random.default_rng(0).poisson(30, shape).astype(np.uint16),
    ):
        assert plane_scaling(plane, "noise").center == np.median(plane)


def test_noise_scaling_ignores_slow_background():
    rng = np.random.default_rng(0)
    slope = np.linspace(0, 3000, 512)
    plane = rng.normal(0, 12, (512, 512)) + slope
    assert plane_scaling(plane, "noise").scale == pytest.approx(12, rel=0.15)


def test_standard_scaling_is_mean_and_deviation():
    plane = np.random.default_rng(0).normal(7, 3, (64, 64))
    result = normalized(plane, plane_scaling(plane, "standard"))
    assert result.mean() == pytest.approx(0, abs=1e-5)
    assert result.std() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("method", ["noise", "standard"])
@pytest.mark.parametrize("value", [0, 7, 65535])
def test_constant_planes_become_zero(method, value):
    plane = np.full((5, 4), value, np.uint16)
    assert (normalized(plane, plane_scaling(plane, method)) == 0).all()


@pytest.mark.parametrize("method", ["noise", "standard"])
def test_nan_and_infinity_are_left_out_and_become_finite(method):
    plane = np.random.default_rng(0).normal(100, 5, (64, 64))
    clean = plane_scaling(plane, method)
    plane[3, 5], plane[8, 9], plane[20, 20] = np.nan, np.inf, -np.inf
    scaling = plane_scaling(plane, method)
    assert scaling.scale == pytest.approx(clean.scale, rel=0.01)
    result = normalized(plane, scaling)
    assert np.isfinite(result).all()
    assert result[3, 5] == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_tiny_planes_have_a_scale(shape):
    plane = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    assert plane_scaling(plane, "noise").scale > 0


def test_all_nan_is_background():
    plane = np.full((4, 4), np.nan)
    assert (normalized(plane, plane_scaling(plane, "noise")) == 0).all()


def test_gain_and_offset_do_not_matter():
    plane = np.random.default_rng(0).poisson(100, (64, 64)).astype(float)
    one = normalized(plane, plane_scaling(plane, "noise"))
    other = normalized(plane * 3 + 400, plane_scaling(plane * 3 + 400, "noise"))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_large_integers_keep_their_differences():
    plane = np.array([[2**31, 2**31 + 1]], np.uint32)
    assert normalized(plane, Scaling(2.0**31, 1.0)).tolist() == [[0.0, 1.0]]


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="got 'fancy'"):
        plane_scaling(np.zeros((2, 2)), "fancy")


def test_rows_that_are_missing_leave_the_noise_as_it_is():
    """Of a large plane every fifth row is looked at: here the ones without a number."""
    plane = np.random.default_rng(0).normal(100, 5, (600, 600)).astype(np.float32)
    plane[::5] = np.nan
    assert plane_scaling(plane, "noise").scale == pytest.approx(5.0, rel=0.05)


def test_the_noise_of_a_coarse_image_is_a_mean():
    """Half of the differences are 0, so that their median says nothing."""
    plane = np.ones((64, 64), np.uint8)
    plane[:, ::10], plane[:, 4::20] = 2, 0
    mean = np.abs(np.diff(plane.astype(float))).mean()
    scale = plane_scaling(plane, "noise").scale
    assert scale == pytest.approx(mean * np.sqrt(np.pi) / 2, rel=0.1)


@pytest.mark.parametrize("method", ["noise", "texture"])
def test_what_was_cut_off_or_masked_is_left_out(method):
    rng = np.random.default_rng(0)
    plane = rng.normal(1000, 12, (512, 512))
    whole = plane_scaling(plane, method)
    masked = plane.copy()
    masked[:400] = 0  # outside of the tissue
    assert plane_scaling(masked, method).scale == pytest.approx(whole.scale, rel=0.02)
    assert plane_scaling(masked, method).center == pytest.approx(1000, abs=1)
    # Half is cut off at 0. Of pairs in which not both are, the median difference is 0.624
    # standard deviations (of 10^7 pairs that were drawn), instead of 0.954.
    cut = np.maximum(plane - 1000, 0)
    expected = 0.624 / 0.954 * 12
    assert plane_scaling(cut, method).scale == pytest.approx(expected, rel=0.05)
    assert plane_scaling(np.zeros((8, 8)), method) == Scaling(0.0, 1.0)


def test_a_few_pixels_of_the_smallest_value_change_nothing():
    plane = np.random.default_rng(0).normal(1000, 12, (512, 512))
    before = plane_scaling(plane, "texture")
    plane[::4, ::20] = 0.0  # one in twenty of the rows that are looked at
    after = plane_scaling(plane, "texture")
    assert after.center == pytest.approx(before.center, abs=1.5)
    assert after.scale == pytest.approx(before.scale, rel=0.2)  # one pair in ten


def test_bright_spots_are_not_clipped():
    plane = np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32)
    plane[10, 10] = 500.0
    pixels = normalized(plane, plane_scaling(plane, "noise"))
    assert pixels[10, 10] > 450


def test_smoothed_noise_is_less_independent_than_white_noise():
    """1 for white noise; for noise of a known correlation the root of 1 - correlation."""
    rng = np.random.default_rng(0)
    white = rng.normal(100, 10, (400, 500))
    assert plane_scaling(white, "texture").independence == pytest.approx(1.0, abs=0.02)
    for weight in (0.5, 0.9):  # of a moving average along the rows
        rows = white[:, 1:] + weight * white[:, :-1]
        correlation = weight / (1 + weight**2)
        found = plane_scaling(rows, "texture").independence
        assert found == pytest.approx(np.sqrt(1 - correlation), abs=0.02)
    assert plane_scaling(np.full((50, 50), 7.0), "texture").independence == 1.0
    assert plane_scaling(white, "standard").independence == 1.0
