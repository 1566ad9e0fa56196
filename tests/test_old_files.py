"""Files of earlier versions must load for ever, and mean the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from blinkcore import io, predict
from blinkcore.datasets.dataset import load_dataset
from blinkcore.network.model import load_model

DATA = Path(__file__).parent / "data"


# It was saved by a newer PyTorch, with operators that older ones do not know.
@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9),
    reason="needs PyTorch 2.9",
)
def test_a_model_of_0_1_finds_what_it_found_then():
    model = load_model(DATA / "general-0.1.pt", device="cpu", amp=False)
    assert model.metadata.normalization == "noise"
    assert model.metadata.calibration.population == 0.0
    before = io.read_labels(DATA / "table-0.1.csv")
    now = predict(DATA / "cells.tif", model)
    assert len(now) == len(before) > 5
    # The table was written with the former name, localization_error.
    names = ["y", "x", "probability", "localization_uncertainty"]
    np.testing.assert_allclose(now[names], before[names], atol=2e-3)


def test_a_table_of_0_1_is_read():
    spots = io.read_labels(DATA / "table-0.1.csv")
    assert list(spots.columns[:4]) == ["image", "y", "x", "probability"]
    assert spots["image"].unique().tolist() == ["cells.tif"]


def test_a_data_set_of_0_1_is_read():
    data = load_dataset(DATA / "dataset-0.1.npz")
    counts = {part: len(data.split(part)) for part in ("train", "valid", "test")}
    assert counts == {"train": 3, "valid": 1, "test": 1}
    sample = data.split("train")[0]
    assert sample.image.shape == (48, 48)
    first, second, _ = sample.points
    assert first == pytest.approx((3.02, 41.4663), abs=1e-4)
    assert second == pytest.approx((40.5796, 17.7653), abs=1e-4)
    assert sample.image.sum() == 411_230
