import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from blinkcore.detection.quality import doubt_warning, image_warning, series_warning


@pytest.fixture
def camera():
    return np.random.default_rng(0).poisson(100, (200, 220)).astype(np.uint16)


def test_a_camera_picture_needs_no_word(camera):
    assert image_warning(camera) is None
    assert image_warning(camera.astype(np.float32)) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: np.where(a < 108, 0, a), "smallest value"),
        (lambda a: np.where(a > 125, 65535, a), "over-exposed"),
        (lambda a: 50 * ndimage.gaussian_filter(20.0 * a, 8), "smoothed"),
    ],
)
def test_what_was_done_to_a_picture_is_said(camera, change, word):
    warning = image_warning(change(camera).astype(np.uint16))
    assert warning is not None
    assert word in warning


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5), (64, 1)])
def test_tiny_and_empty_pictures_do_no_harm(shape):
    rng = np.random.default_rng(1)
    assert image_warning(np.zeros(shape, np.uint8)) is None
    assert image_warning(np.full(shape, 1e300)) is None
    broken = rng.random(shape)
    broken[0, 0] = np.nan
    for picture in (rng.integers(0, 9, shape).astype(np.uint8), broken):
        warning = image_warning(picture)
        # So few pixels may look clipped or over-exposed, but never smoothed.
        assert warning is None or "smoothed" not in warning
    assert "100% of its pixels are not numbers" in image_warning(np.full(shape, np.inf))


def test_pictures_without_any_content_are_told():
    picture = np.full((64, 64), 7.0)
    assert image_warning(picture) == "all of its pixels have the same value, 7"
    picture[:32] = np.nan
    assert "50% of its pixels are not numbers" in image_warning(picture)


def test_a_model_in_doubt_says_so():
    sure = pd.DataFrame({"probability": np.full(50, 0.9)})
    assert doubt_warning(sure) is None
    doubtful = pd.DataFrame({"probability": np.full(50, 0.55)})
    assert "about 22 of these 50 spots" in str(doubt_warning(doubtful))
    assert doubt_warning(doubtful[:5]) is None


def test_rows_with_missing_pixels_are_left_out(camera):
    """What is said is that of the other rows."""
    stretched = np.where(camera < 108, 0, camera).astype(float)
    stretched[::3, 5] = np.nan
    whole = np.delete(np.where(camera < 108, 0, camera), np.s_[::3], axis=0)
    assert image_warning(stretched) == image_warning(whole) is not None


def test_spots_that_blink_in_a_stack_are_noticed():
    rng = np.random.default_rng(0)
    y, x = rng.uniform(0, 512, (2, 40))
    near = rng.normal(0, 0.1, (3, 80))
    blinking = pd.DataFrame(
        {"y": np.tile(y, 2) + near[0], "x": np.tile(x, 2) + near[1], "n_planes": 2}
    )
    assert "blink, give --axes TYX" in str(series_warning(blinking, 20))
    assert series_warning(blinking, 4) is None
    # The same places in another channel are no sign of it, and neither are dense spots.
    both = blinking.assign(channel=np.repeat([0, 1], 40))
    assert series_warning(both, 20) is None
    places = rng.uniform(0, 60, (2, 800))
    dense = pd.DataFrame({"y": places[0], "x": places[1], "n_planes": 2})
    dense["z"] = rng.uniform(0, 19, 800)
    assert series_warning(dense, 20) is None


def test_spots_that_move_in_a_stack_are_noticed():
    """Pieces of different length, each a little beside the end of the one before."""
    rng = np.random.default_rng(1)
    rows = []
    for y, x in rng.uniform(0, 512, (40, 2)):
        begin = 0.0
        for n in (2, 14, 9):
            y, x = y + rng.normal(0, 1.5), x + rng.normal(0, 1.5)
            rows.append((begin + n / 2 + rng.normal(0, n / 8), y, x, n))
            begin += n
    moving = pd.DataFrame(rows, columns=["z", "y", "x", "n_planes"])
    assert "whose spots move, give --axes TYX" in str(series_warning(moving, 25))
    # Spots of a stack, also of a crowded one, all reach through about as many planes.
    assert series_warning(moving.assign(n_planes=6), 25) is None
    far = moving.assign(y=rng.uniform(0, 512, len(moving)))
    assert series_warning(far, 25) is None
    # Spots by chance, dense and of any length, go on no more often than by chance.
    n = 700
    dense = pd.DataFrame(rng.uniform(0, 150, (n, 2)), columns=["y", "x"])
    dense = dense.assign(z=rng.uniform(0, 19, n), n_planes=rng.integers(2, 12, n))
    assert series_warning(dense, 20) is None
