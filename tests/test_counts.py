"""Tables of counts, by image and by cell."""

import dataclasses
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import tifffile

from batches import run, write
from blinkcore.batch.counts import write_counts
from blinkcore.batch.options import Options
from blinkcore.detection.cells import Regions
from blinkcore.image import Image, PixelSize
from programs import call_blinkcore


@pytest.fixture
def cells(tmp_path, scene):
    """An image with its label image: cell 1 on the left, cell 7 on the right, a gap."""
    labels = np.zeros(scene.image.shape, np.uint16)
    labels[20:200, 10:120] = 1
    labels[20:200, 200:300] = 7
    labels[230:240, 10:20] = 9  # a cell without spots, as likely as not
    nuclei = np.zeros_like(labels)
    nuclei[60:120, 40:100] = 3
    write(tmp_path / "in" / "a.tif", scene.image)
    write(tmp_path / "masks" / "a_cp_masks.tif", labels)
    write(tmp_path / "nuclei" / "a.tif", nuclei)
    return tmp_path, labels, nuclei


def test_images_without_spots_are_in_the_counts(general, folder, tmp_path):
    run([folder], Options(general, tmp_path / "out"))
    counts = pd.read_csv(tmp_path / "out" / "counts.csv").set_index("image")
    assert counts.loc[str(folder / "flat.tif"), "n"] == 0
    assert len(counts) == 3  # all but the broken one
    table = pd.read_csv(tmp_path / "out" / "one" / "a.csv")
    row = counts.loc[str(folder / "one" / "a.tif")]
    assert row["n"] == len(table)
    assert row["expected"] == pytest.approx(table["probability"].sum(), abs=0.01)
    assert row["low"] <= row["expected"] <= row["high"]


def test_counts_are_by_frame_and_channel(general, scene, tmp_path):
    pixels = np.full((3, 2, *scene.image.shape), 55, np.uint16)
    pixels[1, 1] = scene.image
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "TCYX"})
    run([path], Options(general, tmp_path / "out"))
    counts = pd.read_csv(tmp_path / "out" / "counts.csv")
    assert counts[["frame", "channel"]].to_numpy().tolist() == [
        [t, c] for t in range(3) for c in range(2)
    ]
    assert (counts["n"] > 0).tolist() == [False, False, False, True, False, False]


def test_one_table_has_its_counts_beside_it(general, folder, tmp_path):
    run([folder], Options(general, tmp_path / "all.csv"))
    counts = pd.read_csv(tmp_path / "all.counts.csv")
    spots = pd.read_csv(tmp_path / "all.csv")
    assert counts["n"].sum() == len(spots)
    assert (counts["n"] == 0).sum() == 1


def test_a_resumed_run_has_the_counts_of_all(general, folder, tmp_path):
    options = Options(general, tmp_path / "out", skip_existing=True)
    run([folder / "one"], options)
    run([folder], options)
    counts = pd.read_csv(tmp_path / "out" / "counts.csv")
    assert len(counts) == 3
    assert counts["image"].is_unique


def test_runs_that_end_together_lose_no_counts(tmp_path):
    """As array jobs do, whose results are in one folder."""
    path = tmp_path / "counts.csv"

    def write_some(first):
        for number in range(first, first + 8):
            rows = [{"image": f"{number}.tif", "n": number}]
            write_counts([{"counts": rows}], "counts", path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_some, range(0, 32, 8)))
    assert sorted(pd.read_csv(path)["n"]) == list(range(32))
    assert [p.name for p in tmp_path.iterdir()] == ["counts.csv"]


def test_a_users_table_of_that_name_is_kept(general, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "counts.csv").write_text("mine\n1\n")
    events = run([folder / "flat.tif"], Options(general, tmp_path / "out"))
    assert [e.kind for e in events] == ["result", "error"]
    assert "not a table of counts" in events[1].message
    assert (tmp_path / "out" / "counts.csv").read_text() == "mine\n1\n"


@pytest.mark.parametrize("output", ["out", "all.csv"])
def test_other_masks_under_the_same_name_are_no_reason_to_skip(general, cells, output):
    folder, labels, _ = cells
    options = Options(
        general,
        folder / output,
        labels=(("cell", folder / "masks"),),
        skip_existing=True,
    )
    formats = (".csv", ".parquet") if output == "out" else (".csv",)
    first = dataclasses.replace(options, formats=formats)
    assert run([folder / "in"], first)[0].kind == "result"
    assert run([folder / "in"], options)[0].kind == "skipped"
    (mask,) = (folder / "masks").iterdir()
    tifffile.imwrite(mask, np.where(labels > 0, 5, 0).astype(labels.dtype))
    assert run([folder / "in"], options)[0].kind == "result"
    (table,) = folder.glob("**/*counts_by_cell.csv")
    assert set(pd.read_csv(table)["cell"]) == {0, 5}
    # What the first run wrote in another format held the cells of the other masks.
    assert not (folder / "out" / "a.parquet").exists()


def test_spots_are_counted_in_cells_and_their_parts(general, cells):
    folder, labels, nuclei = cells
    places = (("cell", folder / "masks"), ("nucleus", folder / "nuclei"))
    (event,) = run([folder / "in"], Options(general, folder / "out", labels=places))
    assert event.kind == "result"
    spots = pd.read_csv(folder / "out" / "a.csv")
    y, x = np.rint(spots[["y", "x"]].to_numpy()).astype(int).T
    np.testing.assert_array_equal(spots["cell"], labels[y, x])
    np.testing.assert_array_equal(spots["nucleus"], nuclei[y, x])
    table = pd.read_csv(folder / "out" / "counts_by_cell.csv").set_index("cell")
    assert list(table.index) == [1, 7, 9, 0]
    assert table["n"].sum() == len(spots)
    assert table.loc[1, "n"] == (spots["cell"] == 1).sum()
    assert table.loc[1, "area_px"] == (labels == 1).sum()
    inside = (spots["cell"] == 1) & (spots["nucleus"] > 0)
    assert table.loc[1, "n_in_nucleus"] == inside.sum() > 0
    assert table.loc[0, "area_px"] == (labels == 0).sum()  # outside of all cells
    both = (labels == 1) & (nuclei > 0)
    assert table.loc[1, "area_px_in_nucleus"] == both.sum() > 0
    assert table["area_px_in_nucleus"].sum() == (nuclei > 0).sum()


def test_the_distance_to_the_border_is_that_of_the_cell():
    labels = np.zeros((20, 30), np.uint8)
    labels[5:15, 5:15] = 1  # its border lies at 4.5 and 14.5
    labels[5:15, 15:25] = 2
    image = Image(np.zeros((20, 30), np.uint8), "YX")
    regions = Regions(Image(labels, "YX"))
    spots = pd.DataFrame({"y": [10.0, 10, 10, 0], "x": [5.0, 7, 14, 0]})
    found, distance = regions.of_spots(spots)
    np.testing.assert_array_equal(found, [1, 1, 1, 0])
    np.testing.assert_array_equal(distance, [0.5, 2.5, 0.5, np.nan])
    assert regions.sizes(0) == {0: 400, 1: 100, 2: 100}
    for number, own in regions.pixels(0).items():
        np.testing.assert_array_equal(own, np.argwhere(labels == number))
    assert image.sizes == regions.labels.sizes


def test_bodies_have_a_volume_and_a_density(general, scene, tmp_path):
    stack = np.stack([scene.image] * 3)
    labels = np.zeros(stack.shape, np.uint16)
    labels[:, :100, :100] = 4
    about = {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um", "spacing": 0.5}}
    tifffile.imwrite(tmp_path / "s.tif", stack, resolution=(10, 10), **about)
    tifffile.imwrite(tmp_path / "m.tif", labels, photometric="minisblack")
    options = Options(
        general, tmp_path / "out", labels=(("cell", tmp_path / "m.tif"),),
        pixel_size=PixelSize(0.5, 0.1, 0.1),
    )  # fmt: skip
    run([tmp_path / "s.tif"], options)
    table = pd.read_csv(tmp_path / "out" / "counts_by_cell.csv").set_index("cell")
    assert table.loc[4, "volume_px"] == 30_000
    assert table.loc[4, "volume_um3"] == pytest.approx(150.0)
    expected = table.loc[4, "n"] / 150
    assert table.loc[4, "density_um3"] == pytest.approx(expected, abs=1e-5)


def test_masks_among_the_images_are_no_images(general, cells):
    folder, *_ = cells
    both = folder / "both"
    both.mkdir()
    (folder / "in" / "a.tif").rename(both / "a.tif")
    (folder / "masks" / "a_cp_masks.tif").rename(both / "a_cp_masks.tif")
    options = Options(
        general, folder / "out", labels=(("cell", both / "a_cp_masks.tif"),)
    )
    events = run([both], options)
    assert [(e.kind, e.message) for e in events] == [
        ("result", ""), ("skipped", "a label image"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda p: write(p / "m" / "b.tif", np.zeros((256, 320), np.uint8)),
            "has no label",
        ),
        (lambda p: write(p / "m" / "a.tif", np.zeros((9, 9), np.uint8)), "along Y"),
        (lambda p: write(p / "m" / "a.tif", np.zeros((256, 320), np.float32)), "whole"),
        (lambda p: None, "No such file"),
    ],
)
def test_wrong_masks_are_one_sentence(cells, make, words):
    folder, *_ = cells
    make(folder)
    done = call_blinkcore(
        "predict", folder / "in", "-o", folder / "out", "--labels", folder / "m"
    )
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_image_without_a_mask_fails_alone(cells, scene):
    folder, *_ = cells
    write(folder / "in" / "b.tif", scene.image)
    done = call_blinkcore(
        "predict", folder / "in", "-o", folder / "out", "--labels", folder / "masks"
    )
    assert done.returncode == 1
    assert "b.tif has no label image in" in done.stderr
    assert (folder / "out" / "a.csv").is_file()
    assert not (folder / "out" / "b.csv").exists()


def test_masks_of_a_stack_are_refused_for_its_projection(general, tmp_path, scene):
    stack = np.stack([scene.image] * 3)
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    masks = np.ones(stack.shape, np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", masks, photometric="minisblack")
    done = call_blinkcore(
        "predict", "s.tif", "-o", "out", "--z", "max", "--labels", "m.tif",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "with --z max, label images are of a single plane" in done.stderr


def test_labels_may_be_huge_or_negative():
    labels = np.zeros((5, 40, 40), np.int64)
    labels[1:4, 5:35, 5:35] = 2**31
    labels[2, 20, 20] = -1  # what some programs ignore
    regions = Regions(Image(labels, "ZYX"))
    spots = pd.DataFrame({"z": [2.0, 2.0], "y": [20.0, 10.0], "x": 20.0})
    tracemalloc.start()
    found, distance = regions.of_spots(spots, 2.0)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert found.tolist() == [0, 2**31]
    assert distance[1] == pytest.approx(3.0)
    assert sorted(regions.sizes(0)) == [0, 2**31]


def test_a_stack_and_a_picture_share_one_table(general, tmp_path, scene):
    stack = np.stack([scene.image] * 3)
    (tmp_path / "in").mkdir()
    about = {"imagej": True, "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "in" / "stack.tif", stack, **about)
    write(tmp_path / "in" / "plane.tif", scene.image)
    events = run([tmp_path / "in"], Options(general, tmp_path / "all.csv"))
    assert [event.kind for event in events] == ["result"] * 2
    table = pd.read_csv(tmp_path / "all.csv")
    flat = table["image"].str.endswith("plane.tif")
    assert set(table.loc[flat, "n_planes"]) == {1}
    assert table.loc[~flat, "n_planes"].max() == 3


def test_an_image_is_not_its_own_mask(cells):
    folder, *_ = cells
    image = next((folder / "in").iterdir())
    done = call_blinkcore("predict", image, "-o", "out", "--labels", image, cwd=folder)
    assert done.returncode == 2
    assert "holds the images themselves" in done.stderr


def test_the_border_above_a_spot_counts_where_planes_have_a_distance():
    labels = np.zeros((7, 40, 40), np.uint8)
    labels[2:5, 5:35, 5:35] = 1  # from z = 1.5 to 4.5, from 4.5 to 34.5
    regions = Regions(Image(labels, "ZYX"))
    spots = pd.DataFrame({"z": [3.0, 2, 3, 0], "y": 20.0, "x": [20.0, 20, 5, 20]})
    _, flat = regions.of_spots(spots)
    np.testing.assert_array_equal(flat, [14.5, 14.5, 0.5, np.nan])
    _, deep = regions.of_spots(spots, 2.0)  # planes are 2 px apart
    np.testing.assert_array_equal(deep, [3.0, 1.0, 0.5, np.nan])
    # Half a plane above lies nearer than two pixels and a half beside.
    at_top = pd.DataFrame({"z": [2.0], "y": [20.0], "x": [7.0]})
    _, deep = regions.of_spots(at_top, 3.0)
    assert deep.tolist() == [1.5]
    # The edge of the image is not a border.
    whole = Regions(Image(np.ones((3, 5, 5), np.uint8), "ZYX"))
    _, deep = whole.of_spots(pd.DataFrame({"z": [1.0], "y": [2.0], "x": [2.0]}), 2.0)
    assert deep.tolist() == [np.inf]


def test_columns_of_the_table_are_no_names_of_labels(cells):
    folder, *_ = cells
    for words in (["--labels", "y=m"], ["--labels", "m", "--labels", "cell=m"]):
        done = call_blinkcore("predict", folder / "in", "-o", folder / "out", *words)
        assert done.returncode == 2
        assert "there is a column" in done.stderr


def test_spots_of_a_stack_lie_in_the_region_of_their_plane():
    labels = np.zeros((2, 3, 6, 6), np.uint8)  # T, Z
    for t in range(2):
        for z in range(3):
            labels[t, z] = 10 * (t + 1) + z
    regions = Regions(Image(labels, "TZYX"))
    assert regions.is_3d
    assert regions.changes
    spots = pd.DataFrame(
        {"frame": [0, 0, 0, 1, 1], "z": [-0.4, 0.6, 2.4, 0.0, 1.0], "y": 2.0, "x": 3.0}
    )
    found, distance = regions.of_spots(spots)
    assert found.tolist() == [10, 11, 12, 20, 21]
    assert np.isfinite(distance).all() or np.isinf(distance).all()
    assert regions.sizes(1) == {20: 36, 21: 36, 22: 36}
    assert sorted(regions.pixels(0)) == [10, 11, 12]
    # Regions of a single plane or frame are those of all.
    flat = Regions(Image(labels[0, 0], "YX"))
    assert flat.of_spots(spots)[0].tolist() == [10] * 5
