"""Prediction and training on a CUDA device; skipped where there is none."""

import numpy as np
import pytest

from blinkcore import load_model, predict
from blinkcore.datasets.dataset import Dataset, Sample
from programs import call_blinkcore

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICES = [f"cuda:{n}" for n in range(torch.cuda.device_count())] or ["cuda:0"]


def same(found, expected, *, tolerance):
    """Tell apart only spots near the threshold, and positions by a part of a pixel."""
    assert len(found) == pytest.approx(len(expected), rel=0.02)
    distance = np.linalg.norm(
        found[["y", "x"]].to_numpy()[:, None] - expected[["y", "x"]].to_numpy(), axis=2
    )
    assert np.median(distance.min(axis=1)) < tolerance


@pytest.mark.parametrize("device", DEVICES)
def test_spots_are_those_of_the_cpu(scene, single, device):
    expected = predict(scene.image, single)
    full = load_model("general", device=device, amp=False)
    same(predict(scene.image, full), expected, tolerance=1e-3)


def test_tiles_do_not_change_the_spots(scene):
    model = load_model("general", device="cuda", amp=False)
    whole = predict(scene.image, model)
    same(predict(scene.image, model, tile=128), whole, tolerance=1e-3)


def test_auto_takes_the_device():
    assert load_model("general").device == "cuda"


def test_a_training_runs_there(scene, tmp_path):
    samples = [
        Sample(scene.image, scene.points, split, f"{split}{n}", f"{split}{n}")
        for split, n in (("train", 0), ("train", 1), ("valid", 0))
    ]
    Dataset(tuple(samples)).save(tmp_path / "d.npz")
    done = call_blinkcore(
        "train", "--data", "d.npz", "-o", "m.pt", "--from", "general", "--steps", "4",
        "--device", "cuda", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "on cuda" in done.stderr
    assert len(predict(scene.image, tmp_path / "m.pt")) > 0
