"""Counts by image and condition, as a report draws them."""

import pandas as pd
import pytest

from blinkcore.io.results import ImageSpots
from blinkcore.report.collect import read_counts, read_pairs, read_panels
from blinkcore.report.conditions import condition_of, read_sample_sheet, warn_of_others
from blinkcore.report.figures import Total, _conditions_figure, _totals, figures_of
from programs import call_blinkcore


def test_conditions_have_a_mean_with_an_interval():
    numbers = {"a": 10.0, "b": 14.0, "c": 12.0, "d": 40.0}
    totals = {(image, ""): Total(n) for image, n in numbers.items()}
    condition = {"a": "control", "b": "control", "c": "control", "d": "drug"}
    figure = _conditions_figure(totals, condition)
    several, single = figure["traces"]
    assert (several["x"], several["y"]) == (["control (3)"], [12.0])
    # Student's t of two degrees of freedom, 4.303, times 2 over the root of 3.
    assert several["error_y"]["array"] == [pytest.approx(4.968, abs=1e-3)]
    assert (single["x"], single["y"]) == (["drug (1)"], [40.0])
    assert "error_y" not in single
    assert single["offsetgroup"] == several["offsetgroup"]
    assert _conditions_figure(totals, {}) is None


def test_movies_count_by_the_mean_of_their_frames():
    rows = [("m.tif", 0, t, n, n, n - 3.0, n + 4.0) for t, n in enumerate((10, 20))]
    names = ["image", "channel", "frame", "n", "expected", "low", "high"]
    counts = pd.DataFrame(rows, columns=names)
    (total,) = _totals([], counts).values()
    # Two frames: their intervals add up as errors do, and are those of a mean of two.
    assert total == pytest.approx((15, 15 - 3 / 2**0.5, 15 + 4 / 2**0.5))


def test_channels_have_bars_of_their_own():
    rows = [("a.tif", 0, 5), ("a.tif", 1, 50), ("b.tif", 0, 7), ("b.tif", 1, 70)]
    counts = pd.DataFrame(rows, columns=["image", "channel", "n"])
    totals = _totals([], counts)
    figure = _conditions_figure(totals, {"a.tif": "x", "b.tif": "x"})
    assert [t["y"] for t in figure["traces"]] == [[6.0], [60.0]]
    # An interval never reaches below zero.
    assert figure["traces"][0]["error_y"]["arrayminus"] == [6.0]


def test_a_sheet_of_excel_is_read(tmp_path):
    text = "image, condition\r\na.tif, gr\u00fcn\r\n"
    (tmp_path / "s.csv").write_bytes(text.encode("cp1252"))
    assert read_sample_sheet(tmp_path / "s.csv") == {"a.tif": "gr\u00fcn"}


@pytest.mark.parametrize(
    ("sheet", "expected"),
    [
        ("image,condition\nctrl/a.tif,c\ndrug/a.tif,d\n", ["c", "d"]),
        ("image;condition\nctrl/a;c\ndrug/a.tif;d\n", ["c", "d"]),
        ("\ufeffimage\tcondition\nin/ctrl/a.tif\tc\n", ["c", ""]),
    ],
)
def test_a_sheet_may_give_the_end_of_a_path(tmp_path, sheet, expected, caplog):
    (tmp_path / "s.csv").write_text(sheet, "utf-8")
    conditions = read_sample_sheet(tmp_path / "s.csv")
    images = [
        ImageSpots("a", f"/data/in/{name}/a.tif", pd.DataFrame())
        for name in ("ctrl", "drug")
    ]
    assert [condition_of(image, conditions) for image in images] == expected
    warn_of_others(images, conditions | {"other": "e"})
    assert "is called, as in the sample sheet, other" in caplog.text
    assert ("drug/a.tif" in caplog.text) == ("" in expected)


def test_one_name_with_two_conditions_is_refused(tmp_path):
    (tmp_path / "s.csv").write_text("image,condition\na.tif,c\na.tif,d\n")
    with pytest.raises(ValueError, match=r"gives a.tif two conditions, c and d"):
        read_sample_sheet(tmp_path / "s.csv")


def test_pairs_are_shown_beside_chance(reported, tmp_path, caplog):
    done = call_blinkcore("colocalize", reported, "-o", "pairs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = call_blinkcore("report", reported, "--pairs", "pairs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Colocalization of each image" in page
    images = [panel.image for panel in read_panels(reported, None)]
    table = read_pairs(tmp_path / "pairs", images)
    assert len(table) > 0
    assert read_pairs(tmp_path / "pairs", ["other.tif"]).empty
    assert "has no pairs of these images" in caplog.text
    (figure,) = (
        f for f in figures_of([], pd.DataFrame(), table) if "partner" in f["title"]
    )
    assert [trace["name"] for trace in figure["traces"]] == ["found", "by chance"]
    done = call_blinkcore("report", reported, "--pairs", reported, cwd=tmp_path)
    assert done.returncode == 2
    assert "is not a folder that colocalize wrote" in done.stderr


def test_one_table_of_a_folder_has_its_own_counts(reported):
    counts = read_counts(reported / "a.csv")
    assert len(counts) == 1
    assert counts["image"].str.endswith("a.tif").all()
