"""Blobs that stand out, and what they are worth."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore import io
from blinkcore.datasets.dataset import Sample
from blinkcore.datasets.suggest import _unseen, suggest
from blinkcore.simulation.ranges import GENERAL
from blinkcore.simulation.scenes import simulate
from programs import call_blinkcore

rng = np.random.default_rng(0)
noise = rng.poisson(100, (256, 256)).astype(np.uint16)


def with_blobs(places, sigma):
    rows, cols = np.ogrid[:256, :256]
    light = sum(
        np.exp(-0.5 * ((rows - y) ** 2 + (cols - x) ** 2) / sigma**2) for y, x in places
    )
    return np.random.default_rng(1).poisson(100 + 60 * light)


@pytest.mark.parametrize("sigma", [1.3, 2.5, 5.0])
def test_blobs_of_any_width_are_seen_once(sigma):
    places = [(40, 50), (120, 200), (200, 90)]
    found = _unseen(with_blobs(places, sigma), np.empty((0, 2)))
    assert len(found) == 3
    assert found == pytest.approx(np.array(places), abs=2)


def test_what_the_model_found_is_not_unseen():
    places = [(40, 50), (120, 200), (200, 90)]
    found = _unseen(with_blobs(places, 2.0), np.array([(41.0, 50.0), (200.0, 91.0)]))
    assert found == pytest.approx(np.array([(120, 200)]), abs=2)


def padded(image, value):
    image = image.astype(float)
    image[:, :150] = value
    return image


@pytest.mark.parametrize(
    "image",
    [
        noise,
        padded(noise, 100),
        padded(noise, np.nan),
        rng.poisson(0.02, (256, 256)),
        (noise // 8).astype(np.uint8),
        np.full((256, 256), 7),
    ],
    ids=["noise", "margin", "NaN", "few photons", "coarse", "flat"],
)
def test_noise_is_no_blob(image):
    assert len(_unseen(image, np.empty((0, 2)))) <= 3


def test_crops_that_the_model_is_blind_to_come_first(tmp_path, general):
    """Spots too wide for `general` among images that it knows."""
    easy = dict.fromkeys((n for n in vars(GENERAL) if n.startswith("p_")), 0.0)
    for number, sigma in enumerate((1.3, 4.0, 1.3, 1.3)):
        ranges = type(GENERAL)(
            **easy, sigma=(sigma, sigma + 0.01), snr=(8, 9), density=(1e-3, 1.1e-3)
        )
        image = simulate((256, 256), np.random.default_rng(number), ranges=ranges).image
        io.write_image(image, tmp_path / f"{number}.tif")
    crops = suggest(sorted(tmp_path.iterdir()), general, count=3)
    assert crops[0].path.stem == "1"
    assert crops[0].unseen > max(crop.unseen for crop in crops[1:])


def test_what_is_labelled_already_is_not_new(tmp_path, general):
    rng = np.random.default_rng(0)
    for number, light in enumerate((100, 4000)):
        pixels = rng.poisson(light, (128, 128)).astype(np.uint16)
        io.write_image(pixels, tmp_path / f"{number}.tif")
    paths = sorted(tmp_path.iterdir())
    first, second = suggest(paths, general, count=2)
    labelled = Sample(first.pixels, np.empty((0, 2)), "train", "a", "a")
    again = suggest(paths, general, count=2, known=[labelled])
    novelty = {crop.name: crop.novelty for crop in again}
    assert novelty[first.name] == pytest.approx(0.0, abs=1e-6)
    assert novelty[second.name] > 0.01


def test_names_that_spreadsheets_run_are_written_safely(scene, tmp_path):
    tifffile.imwrite(tmp_path / "=b.tif", scene.image)
    done = call_blinkcore("dataset", "suggest", ".", "-o", "crops", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "crops" / "suggest.csv", dtype=str)
    names = table[["crop", "image"]].to_numpy().ravel()
    assert not [name for name in names if name.startswith(("=", "+", "-", "@"))]
