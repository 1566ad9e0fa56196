"""Parts of a run for array jobs, and their tables put together again."""

import json
import shutil

import pandas as pd
import pytest
import tifffile

from blinkcore.io.results import read_results
from programs import call_blinkcore


@pytest.fixture
def five(tmp_path, examples):
    folder = tmp_path / "in"
    folder.mkdir()
    cells = tifffile.imread(examples / "cells.tif")
    for i in range(5):
        tifffile.imwrite(folder / f"{i}.tif", cells[: 100 + 30 * i])
    return folder


def test_shards_together_are_the_run(five, tmp_path):
    out = tmp_path / "whole.csv"
    assert call_blinkcore("predict", five, "-o", out).returncode == 0
    parts = [tmp_path / f"part{i}.csv" for i in range(1, 8)]  # more than images
    for i, part in enumerate(parts, 1):
        done = call_blinkcore("predict", five, "-o", part, "--shard", f"{i}/7")
        assert done.returncode == 0
    assert len(pd.read_csv(parts[-1])) == 0
    merged = tmp_path / "merged.csv"
    done = call_blinkcore("merge", *parts, "-o", merged)
    assert done.returncode == 0, done.stderr
    assert "5 images" in done.stderr
    assert merged.read_bytes() == out.read_bytes()
    again = tmp_path / "again.csv"  # a pattern, which some shells leave to the program
    call_blinkcore("merge", tmp_path / "part?.csv", "-o", again)
    assert again.read_bytes() == out.read_bytes()
    done = call_blinkcore("merge", tmp_path / "none*.csv", "-o", again)
    assert "none*.csv: No such file or directory" in done.stderr
    counts = [tmp_path / f"{name}.counts.csv" for name in ("merged", "whole")]
    assert counts[0].read_bytes() == counts[1].read_bytes()


def test_images_that_failed_in_a_shard_are_told(five, tmp_path):
    (five / "3.tif").write_text("hello")
    parts = [tmp_path / f"part{i}.csv" for i in (1, 2)]
    codes = [
        call_blinkcore("predict", five, "-o", part, "--shard", f"{i}/2").returncode
        for i, part in enumerate(parts, 1)
    ]
    assert codes == [0, 1]
    done = call_blinkcore("merge", *parts, "-o", tmp_path / "all.csv")
    assert done.returncode == 0
    assert f"Warning: {five / '3.tif'} is missing" in done.stderr
    about = json.loads((tmp_path / "all.json").read_text("utf-8"))
    (failed,) = about["failed"]
    assert failed["image"] == str(five / "3.tif")
    assert "not a TIFF" in failed["error"]


def test_a_job_of_one_image_that_fails_is_told_unless_it_is_done_again(five, tmp_path):
    """One image a job, as workflows do it."""
    good = (five / "1.tif").read_bytes()
    (five / "1.tif").write_text("hello")
    parts = [tmp_path / f"part{i}.csv" for i in range(1, 6)]
    for i, part in enumerate(parts, 1):
        done = call_blinkcore("predict", five, "-o", part, "--shard", f"{i}/5")
        assert done.returncode == (1 if i == 2 else 0)
    done = call_blinkcore("merge", *parts, "-o", tmp_path / "all.csv")
    assert f"Warning: {five / '1.tif'} is missing" in done.stderr
    assert "4 images" in done.stderr
    (five / "1.tif").write_bytes(good)
    again = tmp_path / "again.csv"
    assert call_blinkcore("predict", five / "1.tif", "-o", again).returncode == 0
    done = call_blinkcore("merge", *parts, again, "-o", tmp_path / "all.csv")
    assert done.returncode == 0
    assert "Warning" not in done.stderr
    assert "5 images" in done.stderr


def test_a_run_that_fails_keeps_the_table_of_before(five, tmp_path):
    out = tmp_path / "all.csv"
    assert call_blinkcore("predict", five / "1.tif", "-o", out).returncode == 0
    before = out.read_bytes()
    (five / "1.tif").write_text("hello")
    assert call_blinkcore("predict", five / "1.tif", "-o", out).returncode == 1
    assert out.read_bytes() == before


def test_the_folder_where_one_stands_is_an_output(five, tmp_path):
    """`-o .`, whose path has no name, of every command that writes into a folder."""
    spots, tracks = tmp_path / "spots", tmp_path / "tracks"
    for folder in (spots, tracks):
        folder.mkdir()
    done = call_blinkcore("predict", five, "-o", ".", "--status", "s.json", cwd=spots)
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(spots / "counts.csv")["n"].sum() > 0
    assert len(list(spots.glob("[0-9]*.csv"))) == 5
    movie = pd.DataFrame({"frame": [0, 1], "y": [1.0, 1.5], "x": [2.0, 2.0]})
    movie.to_csv(tmp_path / "movie.csv", index=False)
    done = call_blinkcore("link", tmp_path / "movie.csv", "-o", ".", cwd=tracks)
    assert done.returncode == 0, done.stderr
    other = shutil.copytree(spots, tmp_path / "other")
    done = call_blinkcore("colocalize", spots, other, "-o", ".", cwd=tracks)
    assert done.returncode == 0, done.stderr
    done = call_blinkcore("report", ".", "-o", "r.html", cwd=spots)
    assert done.returncode == 0, done.stderr


def test_a_folder_of_results_is_merged(five, tmp_path):
    formats = ("--format", "csv,napari.csv,parquet")
    made = call_blinkcore("predict", five, "-o", tmp_path / "out", *formats)
    assert made.returncode == 0, made.stderr
    # What lies beside a table, in other formats, are the same spots.
    found = list(read_results(tmp_path / "out"))
    assert [spots.name for spots in found] == [
        path.stem for path in sorted(five.iterdir())
    ]
    done = call_blinkcore("merge", tmp_path / "out", "-o", tmp_path / "all.parquet")
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "all.json").read_text("utf-8"))
    assert len(about["images"]) == 5
    assert about["model"]["name"] == "general"
    assert about["threshold"] == 0.3
    assert "merge" in about["command"]
    table = pd.read_parquet(tmp_path / "all.parquet")
    assert table["image"].nunique() == 5
    counts = pd.read_csv(tmp_path / "all.counts.csv")
    assert counts["n"].sum() == len(table)


def test_label_images_stay_with_their_image(tmp_path, examples):
    folder = tmp_path / "in"
    folder.mkdir()
    cells = tifffile.imread(examples / "cells.tif")[:100, :100]
    for name in "ab":
        tifffile.imwrite(folder / f"{name}.tif", cells)
        (tmp_path / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "masks" / f"{name}_masks.tif", cells // 5000)
    for i in (1, 2):
        out = tmp_path / f"{i}.csv"
        done = call_blinkcore(
            "predict", folder, tmp_path / "masks", "-o", out,
            "--labels", tmp_path / "masks", "--shard", f"{i}/2",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert set(pd.read_csv(out)["image"]) == {str(folder / f"{' ab'[i]}.tif")}


def test_label_images_among_the_images_are_refused(five, tmp_path):
    done = call_blinkcore("predict", five, "-o", tmp_path / "o", "--labels", five)
    assert done.returncode == 2
    assert "put label images into a folder of their own" in done.stderr


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "-1/2"])
def test_wrong_shards_are_a_sentence(shard, five, tmp_path):
    done = call_blinkcore("predict", five, "-o", tmp_path / "o", "--shard", shard)
    assert done.returncode == 2
    assert "--shard must be I/N" in done.stderr


def test_what_does_not_fit_together_is_a_sentence(five, tmp_path, examples):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    call_blinkcore("predict", five / "0.tif", "-o", one)
    call_blinkcore("predict", five / "1.tif", "-o", two, "--threshold", "0.9")
    done = call_blinkcore("merge", one, two, "-o", tmp_path / "all.csv")
    assert done.returncode == 2
    assert "other options" in done.stderr
    assert "threshold is 0.9 and not 0.3" in done.stderr
    assert not (tmp_path / "all.csv").exists()
    call_blinkcore("predict", five / "1.tif", "-o", two, "-m", "precise")
    done = call_blinkcore("merge", one, two, "-o", tmp_path / "all.csv")
    assert done.returncode == 2
    assert "name is precise and not general" in done.stderr
    done = call_blinkcore("merge", one, one, "-o", tmp_path / "all.csv")
    assert done.returncode == 2
    assert "twice" in done.stderr
    notes = tmp_path / "notes.csv"
    notes.write_text("a,b\n1,2\n")
    done = call_blinkcore("merge", one, notes, "-o", tmp_path / "all.csv")
    assert done.returncode == 2
    assert "not a result of blinkcore" in done.stderr
    done = call_blinkcore("merge", one, "-o", tmp_path / "all.xlsx")
    assert done.returncode == 2
    assert ".csv or .parquet" in done.stderr
