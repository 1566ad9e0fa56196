"""Data sets and models that say other things than blinkcore writes; known sentences."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from blinkcore.network.loading import TRUST
from blinkcore.network.model import bundled_models
from programs import call_blinkcore, run_blinkcore

ABOUT = {"part": "train", "name": "a", "source": "a"}
IMAGE, POINTS = np.zeros((64, 64), np.uint8), np.array([[3.0, 4.0]])


def dataset(path, about=ABOUT, image=IMAGE, points=POINTS):
    text = json.dumps({"format": 1, "samples": [about]})
    arrays = {"image000000": image, "points000000": points}
    np.savez(path, blinkcore=np.frombuffer(text.encode(), np.uint8), **arrays)
    return path


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"about": ABOUT | {"source": {"a": 1}}}, "sample 0 has no name or no source"),
        ({"about": ABOUT | {"name": [1]}}, "sample 0 has no name or no source"),
        ({"about": ABOUT | {"part": "evil"}}, "sample 0 is in none of the splits"),
        ({"about": ABOUT | {"part": [1]}}, "sample 0 is in none of the splits"),
        ({"image": IMAGE[:0]}, "the image of sample 0 must be a 2D array"),
        ({"image": IMAGE[None]}, "the image of sample 0 must be a 2D array"),
        ({"image": IMAGE.astype(complex)}, "the image of sample 0 must be a 2D array"),
        ({"points": np.zeros((3, 5))}, "points of sample 0 are not pairs"),
        ({"points": np.array([[np.nan, 1]])}, "points of sample 0 are not pairs"),
        ({"points": np.array([["a", "b"]])}, "points of sample 0 are not pairs"),
    ],
)
def test_samples_of_another_form_are_a_sentence(tmp_path, changed, said):
    path = dataset(tmp_path / "d.npz", **changed)
    for command in (("info", path), ("view", path, "-o", tmp_path / "v.png")):
        done = call_blinkcore("dataset", *command)
        assert done.returncode == 2
        assert done.stderr.startswith(f"Error: {path} is not a data set")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("place", "said"),
    [("shape", "its shape"), ("order", "order of bytes"), ("encoding", "encoding")],
)
def test_parts_that_are_named_again_and_again_are_a_sentence(tmp_path, place, said):
    """Their text would be longer than any memory."""
    array = pickle.dumps(np.array([np.zeros(2), np.zeros(1)], object), 2)
    old = {
        "shape": b"K\x02\x85",
        "order": b"X\x01\x00\x00\x00<",
        "encoding": b"X\x06\x00\x00\x00latin1",
    }[place]
    assert old in array
    # A tuple of pairs, each of the one before it and itself. The memo may not be longer
    # than the pickle, so that it begins with many times the same.
    pairs = b"()q\xff" + b"".join(b"h\xffh\xff\x86q\xff" for _ in range(60)) + b"t"
    content = array[:2] * 300 + array[2:].replace(old, pairs, 1)
    head = {"descr": "|O", "fortran_order": False, "shape": (2,)}
    npy = io.BytesIO()
    np.lib.format.write_array_header_1_0(npy, head)
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("train", "valid", "test"):
            for axis in "xy":
                archive.writestr(f"{axis}_{name}.npy", npy.getvalue() + content)
    done = run_blinkcore("dataset", "info", path)
    assert done.returncode == 2
    assert "is not a data set that can be read" in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("link", ["external", "soft", "raw file", "virtual"])
def test_weights_of_another_file_are_refused(shared, tmp_path, link):
    """They would be copied into the model, which its user gives on."""
    h5py = pytest.importorskip("h5py")
    path, secret = tmp_path / "m.h5", tmp_path / "secret.h5"
    path.write_bytes((shared / "deepblink" / "model_small.h5").read_bytes())
    with h5py.File(secret, "w") as file:
        file["kernel"] = np.zeros(4, np.float32)
    with h5py.File(path, "r+") as file:
        layers = file["model_weights"].values()
        layer = next(own for own in layers if len(own.attrs["weight_names"]))
        name = layer.attrs["weight_names"][0]
        name = name.decode() if isinstance(name, bytes) else name
        shape, kind = layer[name].shape, layer[name].dtype
        del layer[name]
        if link == "external":
            layer[name] = h5py.ExternalLink(str(secret), "kernel")
        elif link == "soft":
            layer[name] = h5py.SoftLink("/model_weights")
        elif link == "raw file":
            n_bytes = int(np.prod(shape)) * kind.itemsize
            layer.create_dataset(
                name, shape, kind, external=[(str(secret), 0, n_bytes)]
            )
        else:
            layout = h5py.VirtualLayout(shape, kind)
            layer.create_virtual_dataset(name, layout)
    done = call_blinkcore("convert", path, "-o", tmp_path / "m.pt")
    assert done.returncode == 2
    assert "is not a Keras model as deepBlink saves it" in done.stderr
    assert not (tmp_path / "m.pt").exists()


WARNS = '    torch.warn("\\033]0;x\\007\\nError: forged", 2)\n'
FAILS = """    if torch.gt(torch.size(x, 2), 64):
      ops.prim.RaiseException("\\nError: forged", "builtins.ValueError")
    else:
      pass
"""


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (WARNS, 0, "spots"),
        (FAILS, 1, "cells.tif: the network of model 'm' fails on this image"),
    ],
)
def test_a_model_says_nothing_in_its_own_words(
    tmp_path, examples, line, status, said, monkeypatch
):
    """Its code may warn, in escape sequences or lines that look like ours, or give up."""
    monkeypatch.setenv(TRUST, "1")
    path = tmp_path / "m.pt"
    with (
        zipfile.ZipFile(bundled_models()["general"]) as old,
        zipfile.ZipFile(path, "w") as new,
    ):
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith("network/torchscript.py"):
                text = data.decode()
                assert "    network = self.network\n" in text
                text = text.replace(
                    "    network = self.network\n",
                    "    network = self.network\n" + line,
                )
                data = text.encode()
            if info.filename.endswith("blinkcore.json"):  # else its code does not run
                data = data.replace(
                    b'"architecture": "blink"', b'"architecture": "unet"'
                )
            new.writestr(info.filename, data)
    cells = examples / "cells.tif"
    done = run_blinkcore("predict", cells, "--model", path, "-o", tmp_path)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "forged" not in done.stderr
    assert "\033" not in done.stderr
