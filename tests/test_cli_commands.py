"""The commands that stand beside `blinkcore predict`, as programs."""

import json

import numpy as np
import pytest
import roifile
import tifffile

from blinkcore.io import tables
from programs import call_blinkcore


@pytest.mark.slow
def test_models_are_listed_and_shown():
    listed = call_blinkcore("models")
    assert "general" in listed.stdout
    shown = json.loads(call_blinkcore("models", "show", "general").stdout)
    assert shown["architecture"] == "blink"
    missing = call_blinkcore("models", "show", "genral")
    assert missing.returncode == 2
    assert "there is no model 'genral'" in missing.stderr
    assert "did you mean 'general'?" in missing.stderr


def test_simulated_scenes_come_with_their_truth(tmp_path):
    done = call_blinkcore(
        "simulate", "-o", tmp_path, "--count", 2, "--size", 64, "--seed", 3
    )
    assert done.returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "scene00000.csv",
        "scene00000.tif",
        "scene00001.csv",
        "scene00001.tif",
    ]
    truth = tables.read(tmp_path / "scene00000.csv")
    assert {"y", "x", "sigma", "snr"} <= set(truth.columns)


def test_a_table_is_converted_with_the_image_that_it_names(tmp_path, scene):
    pixels = np.stack([np.stack([scene.image] * 2)] * 3)
    image = tmp_path / "s.tif"
    tifffile.imwrite(image, pixels, imagej=True, metadata={"axes": "TZYX"})
    more = ["--format", "csv,roi", "--z", "planes"]
    done = call_blinkcore("predict", image, "-o", tmp_path, *more)
    assert done.returncode == 0, done.stderr
    done = call_blinkcore("convert", tmp_path / "s.csv", "-o", tmp_path / "again.roi")
    assert done.returncode == 0, done.stderr
    one, other = ((tmp_path / n).read_bytes() for n in ("s.roi", "again.roi"))
    np.testing.assert_array_equal(
        *(roifile.ImagejRoi.frombytes(b).counter_positions for b in (one, other))
    )
    # The file's own axes say less than what the run was told.
    done = call_blinkcore(
        "predict", image, "-o", tmp_path / "c", "--format", "csv,roi", "--axes", "TCYX"
    )
    assert done.returncode == 0, done.stderr
    done = call_blinkcore(
        "convert", tmp_path / "c" / "s.csv", "-o", tmp_path / "c" / "again.roi"
    )
    assert done.returncode == 0, done.stderr
    one, other = ((tmp_path / "c" / n).read_bytes() for n in ("s.roi", "again.roi"))
    np.testing.assert_array_equal(
        *(roifile.ImagejRoi.frombytes(b).counter_positions for b in (one, other))
    )
    image.unlink()
    done = call_blinkcore("convert", tmp_path / "s.csv", "-o", tmp_path / "again.roi")
    assert done.returncode == 2
    assert "--image" in done.stderr


def test_a_folder_named_like_a_model_is_not_taken_for_it(tmp_path):
    (tmp_path / "general").mkdir()
    done = call_blinkcore(
        "simulate", "-o", "d.npz", "--count", "5", "--size", "64", cwd=tmp_path
    )
    assert done.returncode == 0
    done = call_blinkcore("evaluate", "d.npz", "general", cwd=tmp_path)
    assert done.returncode == 2
    assert "a model and a folder here" in done.stderr


def test_labels_in_micrometers_are_scored_with_a_pixel_size(tmp_path, shared):
    truth = shared / "labels" / "trackmate_7.7_plus.csv"
    done = call_blinkcore("evaluate", truth, truth, cwd=tmp_path)
    assert done.returncode == 2
    assert "--pixel-size" in done.stderr
    done = call_blinkcore("evaluate", truth, truth, "--pixel-size", "0.1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1.000" in done.stdout
