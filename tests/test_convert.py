import json

import numpy as np
import pytest

from blinkcore import load_model
from blinkcore.convert import convert_deepblink
from blinkcore.detection.predict import find_spots
from blinkcore.network.normalize import normalized, plane_scaling

h5py = pytest.importorskip("h5py")


@pytest.fixture
def source(shared):
    return shared / "deepblink" / "model_small.h5"


def test_a_converted_model_finds_what_deepblink_finds(source, shared, tmp_path):
    made = convert_deepblink(source, tmp_path / "m.pt")
    assert made.arguments == {"filters": [8, 16, 32], "dropout": 0.3}
    assert (made.cell_size, made.cell_map) == (4, "deepblink")
    model = load_model(tmp_path / "m.pt", device="cpu")
    expected = np.load(shared / "deepblink" / "model_small_expected.npz")
    for name in ("crop128", "scene256", "example512"):
        image = expected[f"{name}_input"]
        pixels = normalized(image, plane_scaling(image, "standard"))
        grid = model(pixels[None, None])[0].transpose(1, 2, 0)
        np.testing.assert_allclose(grid, expected[f"{name}_grid"], atol=1e-4)
        theirs = expected[f"{name}_spots_rcp"]
        ours = find_spots(image, model, threshold=0.5)
        assert len(ours) == len(theirs)
        ours, theirs = (a[np.lexsort(a[:, :2].round(2).T)] for a in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, atol=0.01)


def changed(source, path, change):
    """Copy a model with another layer graph."""
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"])
        file.attrs["model_config"] = json.dumps(config)
    return path


def rename(layers):
    layers[12]["class_name"] = "Add"


def rewire(layers):
    layers[42]["inbound_nodes"][0][0][0] = layers[13]["name"]


def cut(layers):
    del layers[60:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rename, "'multiply'"),
        (rewire, "'concatenate'"),
        (cut, "ends after|is not where"),
    ],
)
def test_another_graph_is_refused_by_name(source, tmp_path, change, words):
    path = changed(source, tmp_path / "m.h5", change)
    with pytest.raises(ValueError, match=words):
        convert_deepblink(path, tmp_path / "m.pt")
    assert not (tmp_path / "m.pt").exists()


def test_wrong_files_are_one_sentence(tmp_path):
    (tmp_path / "a.h5").write_text("no model")
    with pytest.raises(ValueError, match="not a Keras model"):
        convert_deepblink(tmp_path / "a.h5", tmp_path / "m.pt")
    with pytest.raises(FileNotFoundError):
        convert_deepblink(tmp_path / "b.h5", tmp_path / "m.pt")
