import numpy as np
import pandas as pd
import pytest

from blinkcore.image import PixelSize
from blinkcore.spots import COLUMNS, check_spots, ordered, with_micrometers


def test_empty_table_has_all_columns_in_order_with_types():
    names = ["x", "y", "image", "frame", "probability"]
    table = ordered(pd.DataFrame({name: [] for name in names}))
    assert list(table.columns) == ["image", "frame", "y", "x", "probability"]
    assert table["frame"].dtype == np.int64
    assert table["x"].dtype == np.float64
    filled = ordered(pd.DataFrame({"image": ["a"], "frame": [1.0], "y": [1], "x": [2]}))
    for name in ("image", "frame", "y", "x"):
        assert table[name].dtype == filled[name].dtype


def test_order_is_the_contract():
    assert list(COLUMNS)[:7] == [
        "image",
        "frame",
        "channel",
        "z",
        "y",
        "x",
        "probability",
    ]
    assert list(COLUMNS)[-3:] == ["z_um", "y_um", "x_um"]


def test_unknown_columns_follow():
    table = ordered(pd.DataFrame({"note": ["n"], "x": [1.0], "y": [2.0]}))
    assert list(table.columns) == ["y", "x", "note"]


def test_micrometers_follow_the_pixel_size_and_leave_the_input_alone():
    spots = pd.DataFrame({"z": [2.0], "y": [10.0], "x": [20.0]})
    table = with_micrometers(spots, PixelSize(0.3, 0.1, 0.2))
    assert table[["z_um", "y_um", "x_um"]].to_numpy().tolist() == [[0.6, 1.0, 4.0]]
    assert list(spots.columns) == ["z", "y", "x"]


def test_unknown_distance_of_planes_gives_no_column():
    spots = pd.DataFrame({"z": [2.0], "y": [10.0], "x": [20.0]})
    table = with_micrometers(spots, PixelSize(None, 0.1, 0.1))
    assert "z_um" not in table
    assert "x_um" in table
    assert list(with_micrometers(spots, None).columns) == ["z", "y", "x"]


def test_pixel_size_one_has_the_same_columns_as_any_other():
    spots = pd.DataFrame({"y": [10.0], "x": [20.0]})
    one, other = (with_micrometers(spots, PixelSize(None, s, s)) for s in (1.0, 0.1))
    assert list(one.columns) == list(other.columns) == ["y", "x", "y_um", "x_um"]


def test_check_names_the_missing_column():
    with pytest.raises(ValueError, match=r"a\.csv has no column 'y'; found X, Y"):
        check_spots(pd.DataFrame({"X": [], "Y": []}), source="a.csv")


@pytest.mark.parametrize("bad", [np.nan, np.inf, "far"])
def test_check_names_the_bad_row(bad):
    table = pd.DataFrame({"y": [1.0, 2.0], "x": [1.0, bad]})
    with pytest.raises(ValueError, match=r"'x' must hold finite numbers.*row 1"):
        check_spots(table)
