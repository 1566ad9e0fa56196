import io as stdio
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore import io
from blinkcore.datasets import dataset
from blinkcore.datasets.dataset import Dataset, Sample
from blinkcore.datasets.pairing import pair_by_name
from programs import call_blinkcore


def sample(image, points, name="a"):
    return Sample(image, np.asarray(points, float).reshape(-1, 2), "train", name, name)


@pytest.fixture
def folder(tmp_path, scene):
    """Five labelled images, one of them without a spot, and one stray of each kind."""
    for number in range(5):
        image = scene.image if number else np.full_like(scene.image, 100)
        points = scene.points if number else scene.points[:0]
        tifffile.imwrite(tmp_path / f"img{number}.tif", image)
        table = pd.DataFrame(points, columns=["y", "x"])
        io.write_spots(table, tmp_path / f"img{number}_points.csv")
    tifffile.imwrite(tmp_path / "alone.tif", scene.image)
    io.write_spots(pd.DataFrame({"y": [1.0], "x": [2.0]}), tmp_path / "stray.csv")
    return tmp_path


def pairs_in(folder):
    return pair_by_name(folder.glob("*.tif"), folder.glob("*.csv"))


def test_images_find_their_labels_by_name(folder):
    pairs = pairs_in(folder)
    assert [(a.name, b.name) for a, b in pairs.pairs] == [
        (f"img{i}.tif", f"img{i}_points.csv") for i in range(5)
    ]
    assert [p.name for p in pairs.images_alone] == ["alone.tif"]
    assert [p.name for p in pairs.labels_alone] == ["stray.csv"]


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        (["a.tif", "ab.tif"], ["ab_spots.csv", "a.roi"], ["a.roi", "ab_spots.csv"]),
        (["a.tif"], ["RoiSet_a.zip"], ["RoiSet_a.zip"]),
        (["x.y.tif"], ["x.y.csv"], ["x.y.csv"]),
        (["a_0.5uM.tif"], ["a_0.5uM_points.csv"], ["a_0.5uM_points.csv"]),
        (["b.ome.tif"], ["b.csv"], ["b.csv"]),
        (["b.tif"], ["b.isbi.xml"], ["b.isbi.xml"]),
        (["i_1.tif", "i_2.tif"], ["i_1.csv", "i_10.csv"], ["i_1.csv"]),
    ],
)
def test_the_longest_name_wins(images, labels, expected):
    pairs = pair_by_name(map(Path, images), map(Path, labels))
    assert [label.name for _, label in pairs.pairs] == expected


def test_labels_of_no_channel_are_not_given_to_all(tmp_path):
    pixels = np.zeros((2, 40, 50), np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", pixels, imagej=True, metadata={"axes": "CYX"})
    io.write_spots(pd.DataFrame({"y": [5.0], "x": [7.0]}), tmp_path / "c.csv")
    pairs = [(tmp_path / "c.tif", tmp_path / "c.csv")]
    with pytest.raises(ValueError, match="choose a channel"):
        dataset.create(pairs)
    (sample,) = dataset.create(pairs, channel=1).samples
    assert sample.points.tolist() == [[5.0, 7.0]]


def test_two_labels_of_one_image_are_refused():
    with pytest.raises(ValueError, match="both fit"):
        pair_by_name([Path("a.tif")], [Path("a.csv"), Path("a_2.csv")])


def test_tiles_lose_nothing_and_stay_in_one_part(folder):
    made = dataset.create(pairs_in(folder).pairs, tile=100, seed=1)
    by_source = {}
    for s in made.samples:
        by_source.setdefault(s.source, []).append(s)
        assert max(s.image.shape) <= 100
        assert ((s.points >= -0.5) & (s.points < np.array(s.image.shape) - 0.5)).all()
    for source, tiles in by_source.items():
        labels = io.read_labels(source.replace(".tif", "_points.csv"))
        assert sum(len(t.points) for t in tiles) == len(labels)
        assert sum(t.image.size for t in tiles) == 256 * 320
        assert len({t.split for t in tiles}) == 1
    parts = [len({s.source for s in made.split(p)}) for p in dataset.SPLITS]
    assert parts == [3, 1, 1]


def test_a_point_keeps_its_pixel_in_a_tile():
    image = np.zeros((60, 90), np.uint16)
    image[41, 77] = 9
    for tile in dataset._tiles(sample(image, [(41, 77)]), 32):
        for y, x in tile.points.astype(int):
            assert tile.image[y, x] == 9


def test_the_same_seed_gives_the_same_split(folder):
    pairs = pairs_in(folder).pairs
    one, two, other = (dataset.create(pairs, seed=s) for s in (3, 3, 4))
    assert [s.split for s in one.samples] == [s.split for s in two.samples]
    assert [s.split for s in one.samples] != [s.split for s in other.samples]


def test_stacks_are_cut_into_planes(tmp_path):
    pixels = np.zeros((3, 2, 40, 50), np.uint16)
    tifffile.imwrite(tmp_path / "s.tif", pixels, imagej=True, metadata={"axes": "TZYX"})
    table = pd.DataFrame({"frame": [2, 0], "z": [1, 0], "y": [5.0, 6], "x": [7.0, 8]})
    io.write_spots(table, tmp_path / "s.csv")
    made = dataset.create([(tmp_path / "s.tif", tmp_path / "s.csv")])
    found = {s.name: s.points.tolist() for s in made.samples}
    assert len(found) == 6
    assert found["s-t2-z1"] == [[5.0, 7.0]]
    assert found["s-t0-z0"] == [[6.0, 8.0]]
    assert sum(map(len, found.values())) == 2


def test_labels_that_do_not_say_their_plane_are_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "s.tif", np.zeros((3, 40, 50), np.uint16), metadata={"axes": "TYX"},
        imagej=True,
    )  # fmt: skip
    io.write_spots(pd.DataFrame({"y": [5.0], "x": [7.0]}), tmp_path / "s.csv")
    with pytest.raises(ValueError, match="does not say in which frame"):
        dataset.create([(tmp_path / "s.tif", tmp_path / "s.csv")])


def test_a_saved_data_set_loads_the_same(tmp_path, scene):
    made = Dataset((sample(scene.image, scene.points), sample(scene.image, [], "b")))
    made.save(tmp_path / "d.npz")
    loaded = dataset.load_dataset(tmp_path / "d.npz")
    for one, other in zip(made.samples, loaded.samples, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.points, other.points)
        assert one.name == other.name


def deepblink_npz(path, points):
    images = np.zeros((2, 16, 16), np.uint16)
    labels = np.empty(2, object)
    labels[:] = points
    parts = {
        f"{a}_{p}": v for p in dataset.SPLITS for a, v in (("x", images), ("y", labels))
    }
    np.savez(path, **parts)


def test_deepblinks_data_sets_load(tmp_path):
    points = [np.array([[1.5, 2.5], [3, 4]]), np.empty((0, 2))]
    deepblink_npz(tmp_path / "d.npz", points)
    made = dataset.load_dataset(tmp_path / "d.npz")
    assert [len(s.points) for s in made.split("valid")] == [2, 0]
    np.testing.assert_array_equal(made.split("test")[0].points, points[0])


class Danger:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def test_pickled_code_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deepblink_npz(tmp_path / "d.npz", [np.zeros((1, 2)), np.zeros((1, 2))])
    evil = stdio.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": (2,)}
    np.lib.format.write_array_header_1_0(evil, header)
    evil.write(pickle.dumps(Danger()))
    with (
        zipfile.ZipFile("d.npz") as old,
        zipfile.ZipFile("evil.npz", "w") as new,
    ):
        for name in old.namelist():
            is_evil = name == "y_train.npy"
            new.writestr(name, evil.getvalue() if is_evil else old.read(name))
    with pytest.raises(ValueError, match="not only arrays"):
        dataset.load_dataset("evil.npz")
    assert not Path("ran").exists()


def test_other_files_are_no_data_sets(tmp_path):
    (tmp_path / "t.npz").write_text("text")
    np.savez(tmp_path / "o.npz", a=np.zeros(3))
    for name in ("t.npz", "o.npz"):
        with pytest.raises(ValueError, match=name):
            dataset.load_dataset(tmp_path / name)


# The commands.


def blinkcore(*arguments, cwd):
    return call_blinkcore(*arguments, cwd=cwd)


@pytest.mark.slow
def test_the_commands(folder):
    done = blinkcore("dataset", "create", ".", ".", "-o", "d.npz", cwd=folder)
    assert done.returncode == 0
    assert "alone.tif has no labels" in done.stderr
    assert "stray.csv fits no image" in done.stderr
    info = blinkcore("dataset", "info", "d.npz", cwd=folder)
    assert info.stdout == done.stdout
    assert blinkcore("dataset", "check", "d.npz", cwd=folder).returncode == 0
    view = blinkcore("dataset", "view", "d.npz", "-o", "sheet.png", cwd=folder)
    assert view.returncode == 0
    assert (folder / "sheet.png").read_bytes()[:4] == b"\x89PNG"
    suggested = blinkcore(
        "dataset", "suggest", "alone.tif", "-o", "next", "--count", "3", cwd=folder
    )
    assert suggested.returncode == 0
    names = sorted(p.suffix for p in (folder / "next").iterdir())
    assert names == [".csv"] * 4 + [".tif"] * 3


def test_wrong_use_is_one_sentence(folder):
    for arguments, words in (
        (("create", ".", ".", "-o", "d.csv"), "must end in .npz"),
        (("create", ".", "nothing", "-o", "d.npz"), "no such file"),
        (("create", ".", ".", "-o", "d.npz", "--split", "1/2"), "three shares"),
        (("info", "nothing.npz"), "nothing.npz"),
    ):
        done = blinkcore("dataset", *arguments, cwd=folder)
        assert done.returncode == 2
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_one_image_and_one_file_need_no_common_name_and_micrometres_are_told(
    tmp_path, scene
):
    tifffile.imwrite(
        tmp_path / "cells.tif",
        scene.image,
        imagej=True,
        resolution=(1 / 0.11, 1 / 0.11),
        metadata={"unit": "um"},
    )
    table = pd.DataFrame(0.11 * scene.points[:, ::-1], columns=["X", "Y"])  # no unit
    table.to_csv(tmp_path / "Results.csv", index=False)
    made = ("dataset", "create", "cells.tif", "Results.csv", "-o", "d.npz")
    done = blinkcore(*made, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "only if they are in µm: give --unit um" in done.stderr
    assert "no image is left for the split 'valid'" in done.stderr
    done = blinkcore(*made, "--unit", "um", "--split", "1/0/0", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_arrays_in_fortran_order_are_read_as_they_are(tmp_path):
    images = np.arange(2 * 8 * 9, dtype=np.uint16).reshape(2, 8, 9)
    points = np.array([[1.0, 2.0], [3.0, 4.0]])
    labels = np.empty(2, object)
    labels[:] = [points, points[:1]]
    parts = {f"{axis}_{part}": (
        np.asfortranarray(images) if axis == "x" else labels
    ) for axis in "xy" for part in ("train", "valid", "test")}  # fmt: skip
    np.savez(tmp_path / "d.npz", **parts)
    read = dataset.load_dataset(tmp_path / "d.npz")
    np.testing.assert_array_equal(read.split("train")[0].image, images[0])
