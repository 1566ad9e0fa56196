"""Files that hold more than any real one are refused before they are read."""

import zipfile

import numpy as np
import pandas as pd
import pytest

from blinkcore import io, limits
from blinkcore.io import npz
from programs import run_blinkcore


def test_a_zip_of_selections_that_unpacks_to_gigabytes(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", bytes(limits.SELECTIONS + 1))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ValueError, match="more than the 268,435,456 that are allowed"):
        io.read_labels(path)


@pytest.mark.parametrize(
    ("suffix", "limit"), [(".csv", "TABLE"), (".json", "TABLE"), (".xml", "XML"), (".roi", "SELECTIONS")]
)  # fmt: skip
def test_large_files_of_spots(suffix, limit, tmp_path, monkeypatch):
    path = tmp_path / f"a{suffix}"
    io.write_spots(pd.DataFrame({"y": [1.0], "x": [2.0]}), path)
    monkeypatch.setattr(limits, limit, 10)
    with pytest.raises(ValueError, match="BLINKCORE_NO_LIMITS=1"):
        io.read_labels(path)
    monkeypatch.setenv("BLINKCORE_NO_LIMITS", "1")
    assert len(io.read_labels(path)) == 1


def test_a_data_set_that_unpacks_to_too_much(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    sample = {"image": np.zeros((90, 90)), "points": np.zeros((0, 2)), "split": "train"}
    npz.write([sample | {"name": "a", "source": "a"}], path)
    assert npz.read(path)
    monkeypatch.setattr(limits, "DATASET", 10_000)
    with pytest.raises(ValueError, match="bytes in it"):
        npz.read(path)


@pytest.mark.parametrize("command", ["run", "train"])
def test_a_recipe_of_megabytes(command, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("# " + "x" * (limits.RECIPE + 10))
    done = run_blinkcore(command, path)
    assert done.returncode == 2
    assert "that are allowed" in done.stderr
