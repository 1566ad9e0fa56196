"""Packages of BioImage.IO, opened and run by bioimageio.core."""

import subprocess
import sys
import zipfile

import numpy as np
import PIL.Image
import pytest
import tifffile

from blinkcore.detection.candidates import find_candidates
from blinkcore.export import export_bioimageio
from blinkcore.network import grid, normalize
from blinkcore.network.model import save_model
from blinkcore.network.networks import DeepBlink
from programs import call_blinkcore

pytestmark = [
    pytest.mark.slow,
    # bioimageio's own
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
]


def run(*arguments):
    return call_blinkcore("export", *arguments)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("zoo") / "general.zip"
    done = run("general", "--bioimageio", "-o", path, "--author", "A. Person")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    return path


def test_bioimageios_own_program_passes_the_package(package):
    done = subprocess.run(
        [sys.executable, "-m", "bioimageio.core", "test", str(package)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout + done.stderr


def test_another_image_gives_the_same_spots_in_bioimageio(package, single, examples):
    from bioimageio.core import load_model, predict
    from bioimageio.core.digest_spec import create_sample_for_model

    plane = tifffile.imread(examples / "cells.tif")
    about = load_model(package)
    images = {"image": plane[None, None].astype(np.float32)}
    sample = create_sample_for_model(about, inputs=images)
    result = predict(model=about, inputs=sample)
    cells = np.asarray(result.members["grid"].data)[0]
    meta = single.metadata
    spots = grid.decode(
        cells,
        cell_size=meta.cell_size,
        cell_map=meta.cell_map,
        threshold=0.7,
        merge_distance=meta.merge_distance,
    )
    expected = find_candidates(plane, single, meta, floor=0.7, refine=False)
    assert len(expected) > 100
    spots, expected = (
        spots[np.lexsort(spots.T)],
        expected[np.lexsort(expected[:, :3].T)],
    )
    np.testing.assert_allclose(spots[:, :2], expected[:, :2], atol=1e-3)


def test_both_weights_of_the_package_give_the_same(package, scene, tmp_path):
    """Also where the statistics look at some of the rows."""
    import onnxruntime
    import torch

    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    script = torch.jit.load(tmp_path / "network.pt")
    for height, width in ((64, 64), (272, 1008), (720, 960)):
        tiled = np.tile(scene.image, (4, 4))[:height, :width]
        pixels = tiled[None, None].astype(np.float32)
        (grid,) = session.run(None, {"x": pixels})
        with torch.inference_mode():
            expected = script(torch.from_numpy(pixels)).numpy()
        assert expected[0, 0].max() > 0.3
        np.testing.assert_allclose(grid, expected, atol=1e-4)


def test_the_package_tells_who_and_shows_a_cover(package):
    with zipfile.ZipFile(package) as archive:
        about = archive.read("rdf.yaml").decode()
        with archive.open("cover.png") as file, PIL.Image.open(file) as cover:
            assert cover.size == (1024, 1024)
    assert "name: A. Person" in about
    assert "license: MIT" in about
    assert "scale: 2.0" in about


def test_a_network_of_the_paper_is_packed_too(tmp_path, describe, scene):
    network = DeepBlink([4, 4, 4])
    save_model(network, describe(network), tmp_path / "m.pt")
    made = export_bioimageio(
        tmp_path / "m.pt",
        tmp_path / "m.zip",
        scene.image,
        authors=["A"],
        license_="MIT",
    )
    assert zipfile.ZipFile(made).testzip() is None


@pytest.mark.parametrize("method", normalize.METHODS)
@pytest.mark.parametrize("kind", ["spots", "flat", "coarse", "large", "cut"])
def test_the_packed_network_normalizes_as_blinkcore(scene, method, kind):
    import torch

    from blinkcore.network.networks import Blink
    from blinkcore.network.torchscript import _Normalizing

    rng = np.random.default_rng(3)
    plane = {
        "spots": scene.image,
        "flat": np.full((64, 80), 7, np.uint16),
        "coarse": (rng.random((64, 64)) < 0.1).astype(np.uint8),
        "large": rng.poisson(50, (600, 900)).astype(np.uint16),
        "cut": np.maximum(rng.poisson(50, (600, 900)) - 55.0, 0).astype(np.uint8),
    }[kind]
    expected = normalize.normalized(plane, normalize.plane_scaling(plane, method))
    network = DeepBlink([4, 4, 4]) if method == "standard" else Blink()
    network.normalization = method
    pixels = torch.from_numpy(plane[None].astype(np.float32))
    scaled = _Normalizing(network).scaled(pixels)[0].numpy()
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["general", "-o", "a.zip"], "--bioimageio"),
        (["general", "-o", "a.pt", "--bioimageio"], "must end in .zip"),
        (["nosuch", "-o", "a.zip", "--bioimageio"], "there is no model 'nosuch'"),
        (["general", "-o", "a.zip", "--bioimageio", "--license", "mine"], "SPDX"),
    ],
)
def test_wrong_use_is_a_sentence(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 200
    assert list(tmp_path.iterdir()) == []


def test_a_small_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 64 x 64"):
        export_bioimageio(
            "general", tmp_path / "a.zip", np.zeros((40, 400)), authors=["A"],
            license_="MIT",
        )  # fmt: skip
