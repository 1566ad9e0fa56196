import numpy as np
import PIL.Image
import pytest

from blinkcore.detection.overlay import (
    bar_length,
    draw_overlay,
    percentiles,
    write_overlay,
)


def yellow(picture):
    pixels = np.asarray(picture).astype(int)
    return (pixels[..., 0] - pixels[..., 2]) > 60


@pytest.mark.parametrize("shape", [(100, 150), (300, 2000), (1500, 800), (400, 9000)])
def test_circles_lie_around_the_spots(shape):
    y, x = shape[0] * 0.3, shape[1] * 0.7
    picture = draw_overlay(np.zeros(shape), [(y, x)])
    rows, cols = yellow(picture).nonzero()
    zoom = picture.width / shape[1]
    assert rows.mean() == pytest.approx((y + 0.5) * zoom - 0.5, abs=0.6)
    assert cols.mean() == pytest.approx((x + 0.5) * zoom - 0.5, abs=0.6)
    diameter = max(8 * zoom, 8)  # never too small to be seen
    assert rows.max() - rows.min() == pytest.approx(diameter, abs=4)


def test_small_images_are_magnified_and_large_ones_reduced():
    assert draw_overlay(np.zeros((30, 40)), []).size == (1200, 900)
    assert max(draw_overlay(np.zeros((9000, 500)), []).size) <= 4096


def test_contrast_is_stretched_and_outliers_do_not_matter():
    plane = np.random.default_rng(0).uniform(1000, 1100, (200, 200))
    plane[5, 5] = 60000
    grey = np.asarray(draw_overlay(plane, []))[..., 0]
    assert grey.min() == 0
    assert 110 < np.median(grey) < 145


@pytest.mark.parametrize("value", [0.0, 5.0, 1e20, -1e300, np.nan, np.inf])
def test_flat_planes_are_drawn_without_warnings(value):
    picture = draw_overlay(np.full((10, 10), value), [(5, 5)])
    assert yellow(picture).any()


def test_small_spots_stay_visible_in_reduced_pictures():
    plane = np.zeros((10, 9000))
    plane[5, 4501] = 1.0
    grey = np.asarray(draw_overlay(plane, []))[..., 0]
    assert grey.max() > 0


def test_a_written_picture_is_a_png(tmp_path):
    path = tmp_path / "new" / "a.png"
    write_overlay(np.eye(20), np.empty((0, 2)), path)
    with PIL.Image.open(path) as picture:
        assert picture.format == "PNG"


def test_an_infinite_pixel_in_a_narrow_range_gives_no_warning(tmp_path):
    plane = np.full((40, 40), 0.5, np.float32)
    plane[:, ::2] = 0.5000001
    plane[3, 4] = np.inf
    write_overlay(plane, np.empty((0, 2)), tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


def test_one_contrast_shows_pictures_alike():
    rng = np.random.default_rng(0)
    dim, bright = (rng.normal(level, 1, (60, 60)) for level in (10, 100))
    limits = percentiles([dim, bright])
    levels = [
        np.median(np.asarray(draw_overlay(plane, [], contrast=limits))[..., 0])
        for plane in (dim, bright)
    ]
    assert levels[0] < 20
    assert levels[1] > 230
    own = [np.median(np.asarray(draw_overlay(p, []))[..., 0]) for p in (dim, bright)]
    assert own[0] == pytest.approx(own[1], abs=20)


@pytest.mark.parametrize(
    ("width", "length"), [(100.0, 20.0), (7.0, 1.0), (0.3, 0.05), (2500.0, 500.0)]
)
def test_scale_bars_have_round_lengths(width, length):
    assert bar_length(width) == pytest.approx(length)


def test_the_scale_bar_is_as_long_as_it_says():
    picture = np.asarray(draw_overlay(np.zeros((100, 120)), [], pixel_size=0.1))
    white = (picture == 255).all(axis=2)
    row = white[-40:].sum(axis=1).max()  # 2 µm are 20 px, magnified ten times
    assert row == pytest.approx(200, abs=2)


@pytest.mark.parametrize("ground", [0, 255])
def test_the_number_of_spots_stands_in_the_upper_left_corner(ground):
    points = [(90.0, 110.0)] * 12
    plane = np.full((100, 120), ground)

    def drawn(*, count, n=12):
        picture = draw_overlay(plane, points[:n], contrast=(0, 255), count=count)
        return np.asarray(picture).astype(int)

    changed = np.abs(drawn(count=True) - drawn(count=False)).max(axis=2) > 100
    rows, cols = np.nonzero(changed)
    assert changed.any()
    assert rows.max() < 100
    assert cols.max() < 400
    assert (drawn(count=True, n=1)[:100] != drawn(count=True)[:100]).any()


@pytest.mark.parametrize("height", [100, 900])
def test_the_scale_bar_lies_in_the_corner_with_its_length_above_it(height):
    """Two units from the edges, half a unit high; a unit is 8 px, or 1/60 of the height."""
    shape = (height, 1200)
    picture = np.asarray(draw_overlay(np.zeros(shape), [], pixel_size=0.05))
    n_rows, n_cols = picture.shape[:2]
    unit = max(8, n_rows // 60)
    white = (picture == 255).all(axis=2)
    bar = white[n_rows - 2 * unit - unit // 2 : n_rows - 2 * unit + 1]
    rows, cols = np.flatnonzero(bar.any(axis=1)), np.flatnonzero(bar.all(axis=0))
    zoom = n_cols / shape[1]
    assert len(rows) == unit // 2 + 1
    assert cols.max() == n_cols - 2 * unit
    assert len(cols) == pytest.approx(10 / 0.05 * zoom, abs=1.5)  # 10 µm of 60
    assert not white[n_rows - 2 * unit + 1 :].any()
    text = white[: n_rows - 2 * unit - unit // 2]
    assert unit < text.any(axis=1).sum() < 3 * unit
    middle = np.flatnonzero(text.any(axis=0)).mean()
    assert middle == pytest.approx(cols.mean(), abs=unit)


def test_grey_levels_are_those_of_the_contrast():
    plane = np.array([[0.0, 1.0, 2.0, 3.0, 9.0, np.nan, -5.0]])
    picture = np.asarray(draw_overlay(plane, [], contrast=(1.0, 3.0)))
    levels = picture[0, :: picture.shape[1] // 7, 0][:7]
    assert levels.tolist() == [0, 0, 128, 255, 255, 0, 0]
