import numpy as np
import pytest
import tifffile

from blinkcore.datasets.backgrounds import (
    Background,
    describe_backgrounds,
    load_backgrounds,
    sha256_of_backgrounds,
    split_backgrounds,
    training_samples,
)
from programs import call_blinkcore


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "planes"
    path.mkdir()
    for i in range(13):
        image = rng.poisson(100, (40, 50)).astype(np.uint16)
        tifffile.imwrite(path / f"p{i:02d}.tif", image)
    (path / "._p00.tif").write_bytes(b"macOS")
    (path / "notes.txt").write_text("hello")
    (tmp_path / "index.csv").write_text("name,source,licence\np03,a lab,CC0\n")
    return path


def test_planes_are_read_in_order_and_hidden_files_are_not(folder):
    planes = load_backgrounds(folder)
    assert [p.name for p in planes] == [f"p{i:02d}.tif" for i in range(13)]
    assert planes[0].pixels.shape == (40, 50)


def test_some_planes_are_kept_for_validation_if_there_are_enough(folder):
    planes = load_backgrounds(folder)
    train, valid = split_backgrounds(planes)
    assert [p.name for p in valid] == ["p00.tif", "p06.tif", "p12.tif"]
    assert not {p.name for p in train} & {p.name for p in valid}
    assert len(train) + len(valid) == 13
    assert split_backgrounds(planes[:5]) == (planes[:5], planes[:5])


def test_source_and_licence_come_from_the_index(folder):
    about = describe_backgrounds(folder)
    assert about[3] == {"name": "p03", "source": "a lab", "licence": "CC0"}
    assert about[4] == {"name": "p04"}
    assert describe_backgrounds("") == []


def test_the_hash_is_of_names_and_contents(folder):
    before = sha256_of_backgrounds(folder)
    assert sha256_of_backgrounds(folder) == before
    (folder / "p12.tif").rename(folder / "q.tif")
    renamed = sha256_of_backgrounds(folder)
    assert renamed != before
    image = np.arange(2000, dtype=np.uint16).reshape(40, 50)
    tifffile.imwrite(folder / "q.tif", image)
    assert sha256_of_backgrounds(folder) != renamed


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.ones((50, 50), np.uint8), "values from 1 to 1"),
        (np.arange(200, dtype=np.uint8).reshape(10, 20), "10 x 20 px"),
    ],
)
def test_what_cannot_be_a_background_is_said(folder, image, why):
    tifffile.imwrite(folder / "a.tif", image)
    with pytest.raises(ValueError, match=why):
        load_backgrounds(folder)


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(ValueError, match="has no image"):
        load_backgrounds(tmp_path)


def test_planes_with_spots_are_noticed(tmp_path, scene):
    rng = np.random.default_rng(0)
    empty = rng.poisson(100, (256, 256)).astype(np.uint16)
    folder = tmp_path / "empty"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", empty)
    sheet = tmp_path / "sheet.png"
    done = call_blinkcore("dataset", "backgrounds", folder, "-o", sheet, "--count", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "a.tif: 0 spots found, 0 per megapixel\n"
    assert done.stderr.endswith("0 of 1 planes seem to have spots\n")
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    tifffile.imwrite(folder / "b.tif", scene.image)
    done = call_blinkcore("dataset", "backgrounds", folder)
    assert done.returncode == 1
    assert "b.tif" in done.stdout.splitlines()[1]
    assert "look at it" in done.stdout.splitlines()[1]
    done = call_blinkcore("dataset", "backgrounds", folder, "-o", tmp_path / "s.jpg")
    assert done.returncode == 2
    assert "--output must end in .png" in done.stderr


def test_training_samples_take_planes_in_turn_and_know_their_spots():
    rng = np.random.default_rng(1)
    planes = [
        Background(name, rng.poisson(100, (300, 300)).astype(np.uint16))
        for name in "ab"
    ]
    samples = training_samples(planes, 5, side=96, seed=3)
    assert [name for _, _, name in samples] == ["a", "b", "a", "b", "a"]
    assert all(image.shape == (96, 96) for image, _, _ in samples)
    assert sum(len(points) for _, points, _ in samples) > 0
    again = training_samples(planes, 5, side=96, seed=3)
    assert all((a[0] == b[0]).all() for a, b in zip(samples, again, strict=True))
