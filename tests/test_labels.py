"""Every format of spots serves as labels, and is documented."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from batches import needs_zarr, write
from blinkcore import io
from blinkcore.datasets.dataset import load_dataset
from blinkcore.io.suffixes import LABELS
from programs import call_blinkcore


@pytest.mark.parametrize("suffix", io.WRITERS)
def test_every_format_is_read_wherever_labels_are(tmp_path, suffix):
    needs_zarr(suffix)
    images, labels = tmp_path / "images", tmp_path / "labels"
    write(images / "a.tif", np.zeros((40, 40), np.uint8))
    one = labels / f"a{suffix}"
    io.write_spots(pd.DataFrame({"y": [7.25, 20.0], "x": [5.0, 9.5]}), one)
    for place in (one, labels):
        made = call_blinkcore("evaluate", place, place, "-o", tmp_path / "scores")
        assert made.returncode == 0, made.stderr
        scores = pd.read_csv(tmp_path / "scores" / "scores.csv")
        assert scores["n_matched"].tolist() == [2]
    image = images / "a.tif"
    for source, place in ((images, labels), (image, one), (image, labels)):
        split = ("--split", "1/0/0", "--unit", "px")
        made = call_blinkcore(
            "dataset", "create", source, place, "-o", tmp_path / "d.npz", *split
        )
        assert made.returncode == 0, made.stderr
        (sample,) = load_dataset(tmp_path / "d.npz").samples
        np.testing.assert_allclose(sample.points, [[7.25, 5], [20, 9.5]], atol=1e-6)


def test_every_format_is_documented():
    page = Path(__file__).parents[1] / "docs" / "formats.md"
    text = page.read_text("utf-8") + page.with_name("predict.md").read_text("utf-8")
    help_ = call_blinkcore("predict", "--help").stdout
    for suffix in {*io.WRITERS, *LABELS}:
        assert f"`{suffix}`" in text, suffix
    for suffix in io.WRITERS.keys() - {".json"}:
        assert suffix[1:] in help_, suffix
