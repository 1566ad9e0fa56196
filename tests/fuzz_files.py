"""Sound files of every kind, for the fuzzer to damage: (name, content) of each."""

from __future__ import annotations

import io
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np


def _written(name, write):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return name, path.read_bytes()


def images():
    import imagecodecs
    import tifffile

    pixels = np.random.default_rng(0).poisson(100, (3, 24, 32)).astype(np.uint16)
    small = pixels.astype(np.uint8)
    found = [("a.png", imagecodecs.png_encode(pixels[0]))]
    found.append(("a.jpg", imagecodecs.jpeg8_encode(small[0])))
    kinds = [
        {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um"}},
        {"ome": True, "metadata": {"axes": "CYX"}},
        {"photometric": "minisblack"},
        {"photometric": "minisblack", "bigtiff": True},
        {"photometric": "minisblack", "tile": (16, 16)},
        *({"photometric": "minisblack", "compression": c}
          for c in ("zlib", "lzw", "zstd", "packbits", "lzma")),
    ]  # fmt: skip
    for options in kinds:
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, **options)
        found.append(("a.tif", file.getvalue()))
    file = io.BytesIO()
    tifffile.imwrite(file, small, photometric="minisblack", compression="jpeg")
    return [*found, ("a.tif", file.getvalue())]


def labels():
    import pandas as pd

    from blinkcore import io as files
    from blinkcore.image import PixelSize

    spots = pd.DataFrame(
        {"image": "a", "frame": [0, 1, 2], "y": [1.0, 2, 3], "x": [4.0, 5, 6],
         "probability": 0.5}
    )  # fmt: skip
    about = {"image": "a.tif", "pixel_size": PixelSize(None, 0.1, 0.1)}
    found = [
        _written(f"a{suffix}", lambda path: files.write_spots(spots, path, **about))
        for suffix in (".csv", ".parquet", ".json", ".geojson", ".xml", ".roi", ".zip",
                       ".napari.csv", ".isbi.xml")
    ]  # fmt: skip
    return [*found, ("a.csv", b",X,Y\n1,2.5,3.5\n2,4,5\n"), ("a.txt", b"1 2\n3 4\n")]


def datasets():
    from blinkcore.datasets.dataset import Dataset, Sample

    image = np.arange(64.0).reshape(8, 8)
    sample = Sample(image, np.array([[1.0, 2.0]]), "train", "a", "a")
    own = _written("d.npz", Dataset((sample,)).save)
    points = np.empty(2, object)
    points[:] = [np.array([[1.0, 2.0]]), np.empty((0, 2))]
    parts = {}
    for part in ("train", "valid", "test"):
        parts |= {f"x_{part}": np.zeros((2, 8, 8)), f"y_{part}": points}
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, **parts)
    np.savez_compressed(packed, **parts)
    return [own, ("d.npz", plain.getvalue()), ("d.npz", packed.getvalue())]


def models():
    """A small network of blinkcore, and one that has another name, whose code is checked."""
    import torch

    from blinkcore.network.metadata import Metadata
    from blinkcore.network.model import save_model
    from blinkcore.network.networks import Blink

    torch.manual_seed(0)
    network = Blink(filters=4, depth=1, levels=1)
    about = Metadata.of(network, threshold=0.5, spot_sigma=(0.8, 2.5))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("blink", "other"):
            path = Path(folder) / f"{name}.pt"
            save_model(network, replace(about, architecture=name), path)
            found.append(("m.pt", path.read_bytes()))
    return found


def others():
    """A deepBlink model, a recipe, a description of results, a registry."""
    found = [
        ("r.yaml", b"images: [a.tif, b/]\noutput: out\npredict: {threshold: 0.5}\nlink: {}\n"),
        ("a.json", b'{"blinkcore": "0.1.0", "images": [{"image": "a.tif", "spots": 3}]}'),
        ("registry.txt", b"ours.pt 0123456789abcdef https://example.org/ours.pt\n"),
    ]  # fmt: skip
    try:
        import h5py
    except ImportError:
        return found

    def write(path):
        with h5py.File(path, "w") as file:
            layers = [{"class_name": "Conv2D", "name": "c", "inbound_nodes": [],
                       "config": {"filters": 2, "kernel_size": [3, 3], "padding": "same"}}]  # fmt: skip
            file.attrs["model_config"] = json.dumps({"config": {"layers": layers}})
            group = file.create_group("model_weights").create_group("c")
            group["c/kernel:0"] = np.zeros((3, 3, 1, 2), np.float32)
            group.attrs["weight_names"] = ["c/kernel:0"]

    return [*found, _written("m.h5", write)]
