"""Which files are inputs, outputs and results of each other, by their names."""

import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore import predict
from blinkcore.batch.inputs import find_inputs
from blinkcore.io import tables
from blinkcore.network.networks import network_of
from programs import call_blinkcore


@pytest.mark.parametrize("recursive", [True, False])
def test_hidden_files_and_folders_are_no_inputs(tmp_path, recursive):
    for name in ("a.tif", "._a.tif", "b/c.tif", "b/._c.tif", ".cache/d.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, np.zeros((32, 32), np.uint16))
    place = tmp_path if recursive else tmp_path / "**" / "*.tif"
    inputs, _ = find_inputs([str(place)], recursive=recursive)
    assert sorted(item.path.name for item in inputs) == ["a.tif", "c.tif"]
    inputs, _ = find_inputs([str(tmp_path / ".cache" / "**" / "*.tif")])
    assert [item.path.name for item in inputs] == ["d.tif"]


def test_results_of_ome_files_and_of_several_formats_are_scored(tmp_path, examples):
    shutil.copy(examples / "cells.tif", tmp_path / "a.ome.tif")
    done = call_blinkcore(
        "predict",
        tmp_path / "a.ome.tif",
        "-o",
        tmp_path / "found",
        "--format",
        "csv,roi",
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "truth").mkdir()
    shutil.copy(tmp_path / "found" / "a.ome.csv", tmp_path / "truth" / "a.csv")
    done = call_blinkcore("evaluate", "truth", "found", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1.000" in done.stdout


def test_tables_of_array_jobs_merge_by_a_pattern(tmp_path, examples):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "ab":
        shutil.copy(examples / "cells.tif", folder / f"{name}.tif")
    for part in ("1/2", "2/2"):
        output = tmp_path / f"part{part[0]}.csv"
        done = call_blinkcore("predict", folder, "-o", output, "--shard", part)
        assert done.returncode == 0, done.stderr
    # With the counts, as a shell gives them.
    matches = sorted(tmp_path.glob("part*.csv"))
    assert len(matches) == 4
    done = call_blinkcore("merge", *matches, "-o", tmp_path / "all.csv")
    assert done.returncode == 0, done.stderr
    assert tables.read(tmp_path / "all.csv")["image"].nunique() == 2


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "x.tif", "-o", "spots.feather"],
        ["predict", "x.tif", "-o", "spots.csv.gz"],
        ["predict", "x.tif", "-o", "spots.tif"],
        ["link", "s.csv", "-o", "tracks.csv"],
        ["colocalize", "s.csv", "s.csv", "-o", "pairs.csv"],
        ["evaluate", "s.csv", "s.csv", "-o", "scores.csv"],
        ["simulate", "-o", "scenes.csv", "--count", "1"],
    ],
)
def test_a_folder_is_not_given_the_name_of_a_file(tmp_path, words):
    pd.DataFrame({"y": [1.0], "x": [1.0]}).to_csv(tmp_path / "s.csv", index=False)
    done = call_blinkcore(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert f"--output {words[words.index('-o') + 1]}" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["s.csv"]


def test_a_folder_may_be_called_like_a_well(tmp_path, examples):
    image = examples / "cells.tif"
    done = call_blinkcore("predict", image, "-o", "plate.B02", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plate.B02" / "cells.csv").exists()


def test_cells_without_a_name_stay_empty(tmp_path):
    table = pd.DataFrame({"image": ["=a", None], "group": [-0.5, np.nan]})
    tables.write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "image,group\n./=a,-0.5\n,\n"


def test_formulas_are_not_passed_on_to_spreadsheets(tmp_path):
    spots = pd.DataFrame({"image": ["=cmd"], "frame": [0], "y": [1.0], "x": [1.0]})
    spots.to_csv(tmp_path / "=cmd.csv", index=False)
    for words in (
        ["link", "=cmd.csv", "-o", "t"],
        ["evaluate", "=cmd.csv", "=cmd.csv"],
    ):
        output = ["-o", "t"] if words[0] == "evaluate" else []
        done = call_blinkcore(*words, *output, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for path in (tmp_path / "t").glob("*.csv"):
        cells = pd.read_csv(path, dtype=str, keep_default_na=False).to_numpy().ravel()
        assert not any(cell.startswith("=") for cell in cells), path.name


def test_a_folder_with_the_name_of_a_registered_model_is_told_apart(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "blinkcore.evaluation.methods.registered_models", lambda: {"ours": None}
    )
    (tmp_path / "ours").mkdir()
    pd.DataFrame({"y": [1.0], "x": [1.0]}).to_csv(tmp_path / "s.csv", index=False)
    done = call_blinkcore("evaluate", "s.csv", "ours", cwd=tmp_path)
    assert done.returncode == 2
    assert "ours is a model and a folder here" in done.stderr


@pytest.mark.parametrize(
    ("architecture", "arguments"), [("foo", {}), ("blink", {"width": 3})]
)
def test_networks_of_others_are_named(architecture, arguments):
    with pytest.raises(ValueError, match="which is not one of blinkcore's"):
        network_of(architecture, arguments)


def test_the_library_takes_numbers_as_the_command_line_does(scene):
    found = predict(scene.image, threshold="0.5", pixel_size=np.float32(0.1))
    pd.testing.assert_frame_equal(
        found, predict(scene.image, threshold=0.5, pixel_size="0.1"), atol=1e-6
    )
    with pytest.raises(ValueError, match="threshold must be a number, got 'high'"):
        predict(scene.image, threshold="high")


def test_the_log_tells_all_whatever_the_terminal_shows(tmp_path, examples):
    words = ["predict", "none.tif", examples / "cells.tif", "-o", "out"]
    logs = []
    for progress in ("json", "none"):
        log = tmp_path / f"{progress}.txt"
        done = call_blinkcore(
            *words, "--progress", progress, "--log-file", log, cwd=tmp_path
        )
        assert done.returncode == 1
        logs.append([line[20:] for line in log.read_text().splitlines()])
    assert logs[0] == logs[1]
    assert logs[0][0].startswith("Error: none.tif")
