"""OME-Zarr in both versions, plates, pyramids, what is damaged, and planes read in bands."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

from batches import run
from blinkcore import io, predict
from blinkcore.batch.inputs import find_inputs, output_names
from blinkcore.batch.options import Options
from blinkcore.image import PixelSize
from blinkcore.io import ome_zarr, tiff_bands

zarr = pytest.importorskip("zarr", minversion="3.1")

AXES = {"t": ("time", "second"), "c": ("channel", None), "z": ("space", "nanometer"),
        "y": ("space", "micrometer"), "x": ("space", "micrometer")}  # fmt: skip


def multiscales(axes, steps, n_levels=1, version="0.4"):
    entries = []
    for name in axes.lower():
        kind, unit = AXES[name]
        entries.append({"name": name, "type": kind, **({"unit": unit} if unit else {})})
    levels = []
    for level in range(n_levels):
        scale = [
            step * (2**level if name in "yx" else 1)
            for name, step in zip(axes.lower(), steps, strict=True)
        ]
        transformations = [{"type": "scale", "scale": scale}]
        levels.append(
            {"path": str(level), "coordinateTransformations": transformations}
        )
    return [{"axes": entries, "datasets": levels, "version": version}]


def write_image(group, pixels, axes, steps, *, zarr_format, n_levels=1, chunk=64):
    for level in range(n_levels):
        data = pixels[..., :: 2**level, :: 2**level]
        chunks = (*(1,) * (data.ndim - 2), chunk, chunk)
        array = group.create_array(
            str(level), shape=data.shape, chunks=chunks, dtype=data.dtype
        )
        array[:] = data
    version = "0.4" if zarr_format == 2 else "0.5"
    described = multiscales(axes, steps, n_levels, version)
    if zarr_format == 2:
        group.attrs["multiscales"] = described
    else:
        group.attrs["ome"] = {"version": version, "multiscales": described}


@pytest.fixture(params=[2, 3], ids=["NGFF 0.4", "NGFF 0.5"])
def zarr_format(request):
    return request.param


@pytest.fixture
def plane(examples):
    return tifffile.imread(examples / "cells.tif")


@pytest.fixture
def image(tmp_path, plane, zarr_format):
    path = tmp_path / "cells.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    write_image(
        group, plane, "YX", (0.11, 0.11), zarr_format=zarr_format, n_levels=2
    )  # fmt: skip
    return path


def test_spots_are_those_of_the_tiff(image, plane, general):
    spots = predict(image, general)
    pd.testing.assert_frame_equal(
        spots, predict(plane, general, pixel_size=PixelSize(None, 0.11, 0.11))
    )


def test_a_level_of_the_pyramid(image, plane):
    half = io.read_image(image, level=1)
    np.testing.assert_array_equal(half.data[()], plane[::2, ::2])
    assert half.pixel_size == PixelSize(None, 0.22, 0.22)
    with pytest.raises(ValueError, match="has levels 0 to 1, got level 2"):
        io.read_image(image, level=2)


def test_a_url(image, plane):
    found, errors = find_inputs([f"file://{image}"])
    assert not errors
    assert [i.source for i in found] == [f"file://{image}"]
    assert [str(n) for n in output_names(found).values()] == ["cells"]
    pixels = io.read_image(f"file://{image}").data[()]
    np.testing.assert_array_equal(pixels, plane)


def test_axes_sizes_and_times(tmp_path, zarr_format):
    pixels = np.arange(2 * 3 * 4 * 8 * 10, dtype=np.uint16).reshape(2, 3, 4, 8, 10)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format)
    write_image(group, pixels, "TCZYX", (2, 1, 300, 0.1, 0.2), zarr_format=zarr_format)
    image = io.read_image(tmp_path / "a.zarr")
    assert image.sizes == {"T": 2, "C": 3, "Z": 4, "Y": 8, "X": 10}
    assert image.pixel_size == pytest.approx(PixelSize(0.3, 0.1, 0.2))
    assert image.frame_interval == 2
    np.testing.assert_array_equal(image.plane(1, 2, 3).data, pixels[1, 2, 3])
    np.testing.assert_array_equal(np.asarray(image.data), pixels)


def test_a_plain_array_needs_axes(tmp_path):
    array = zarr.open_array(tmp_path / "a.zarr", mode="w", shape=(3, 8, 8), dtype="u1")
    array[:] = 7
    with pytest.raises(ValueError, match="--axes TYX"):
        io.read_image(tmp_path / "a.zarr")
    assert io.read_image(tmp_path / "a.zarr", axes="TYX").size("T") == 3


def plate(path, plane, zarr_format):
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    wells = [{"path": "A/1", "rowIndex": 0, "columnIndex": 0},
             {"path": "B/2", "rowIndex": 1, "columnIndex": 1}]  # fmt: skip
    own = {"plate": {"wells": wells}}
    root.attrs.update(own if zarr_format == 2 else {"ome": own})
    for well in wells:
        group = root.create_group(well["path"])
        own = {"well": {"images": [{"path": "0"}, {"path": "1"}]}}
        group.attrs.update(own if zarr_format == 2 else {"ome": own})
        for field in "01":
            write_image(
                group.create_group(field), plane, "YX", (1, 1), zarr_format=zarr_format
            )


def test_the_fields_of_a_plate_are_images(tmp_path, plane, zarr_format, general):
    plate(tmp_path / "in" / "p1.zarr", plane[:128, :128], zarr_format)
    events = run([tmp_path / "in"], Options(general, tmp_path / "out"))
    assert [e.kind for e in events] == ["result"] * 4
    names = sorted(
        p.relative_to(tmp_path / "out").as_posix()
        for p in (tmp_path / "out").rglob("[01].csv")
    )
    assert names == [
        f"p1/{well}/{field}.csv" for well in ("A/1", "B/2") for field in "01"
    ]
    counts = pd.read_csv(tmp_path / "out" / "counts.csv")
    assert len(counts) == 4
    with pytest.raises(ValueError, match=r"collection of images.*A/1/0"):
        io.read_image(tmp_path / "in" / "p1.zarr")


def test_a_well_that_is_missing_fails_alone(tmp_path, plane, zarr_format, general):
    """As in a plate that is still copied."""
    plate(tmp_path / "p.zarr", plane[:128, :128], zarr_format)
    shutil.rmtree(tmp_path / "p.zarr" / "A" / "1")
    events = run([tmp_path / "p.zarr"], Options(general, tmp_path / "out"))
    assert [e.kind for e in events] == ["error", "result", "result"]
    assert "A/1" in events[0].message


def test_a_zarr_that_is_no_image_does_not_stop_the_others(tmp_path, plane, general):
    folder = tmp_path / "in"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", plane)
    zarr.open_group(folder / "notes.zarr", mode="w").attrs["something"] = 1
    options = Options(general, folder, formats=(".spots.zarr", ".csv"))
    for _ in range(2):  # the second time its own result lies there, too
        events = run([folder], options)
        assert [e.kind for e in events] == ["result", "error"]
        assert "notes.zarr" in events[1].message


@pytest.mark.parametrize("well", ["../../x", "/etc", "A/..", "", "C:\\x"])
def test_a_plate_cannot_write_elsewhere(well, tmp_path, zarr_format):
    root = zarr.open_group(tmp_path / "p.zarr", mode="w", zarr_format=zarr_format)
    own = {"well": {"images": [{"path": well}]}}
    root.attrs.update(own if zarr_format == 2 else {"ome": own})
    _, errors = find_inputs([str(tmp_path / "p.zarr")])
    assert "name a wrong path" in errors[0].message


def test_series_of_bioformats2raw(tmp_path, plane, zarr_format):
    root = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=zarr_format)
    own = {"bioformats2raw.layout": 3}
    root.attrs.update(own if zarr_format == 2 else {"ome": own})
    for series in ("0", "10", "2"):
        group = root.create_group(series)
        write_image(group, plane[:64, :64], "YX", (1, 1), zarr_format=zarr_format)
    assert ome_zarr.images_in(tmp_path / "s.zarr") == ["0", "2", "10"]


@pytest.mark.parametrize("content", [b"", b"damaged", b"{}", b"[1]", b'{"ome": 3}'])
def test_damaged_metadata_are_a_sentence(
    image, content, zarr_format, general, tmp_path
):
    for name in ("zarr.json",) if zarr_format == 3 else (".zattrs", ".zgroup"):
        good = (image / name).read_bytes()
        (image / name).write_bytes(content)
        (event,) = run([image], Options(general, tmp_path / "out"))
        assert event.kind == "error"
        assert "cells.zarr" in event.message
        assert "\n" not in event.message
        (image / name).write_bytes(good)


@pytest.mark.parametrize(
    "described",
    [[], {}, [{}], [{"datasets": []}], [{"datasets": [{"path": "9"}]}],
     [{"axes": [{}], "datasets": [{"path": "0"}]}],
     [{"axes": ["y", "q"], "datasets": [{"path": "0"}]}],
     [{"axes": ["x", "y"], "datasets": [{"path": "0"}]}],
     [{"axes": ["y", "x"], "datasets": [{"path": "0", "coordinateTransformations":
       [{"type": "scale", "scale": ["a"]}]}]}]],
)  # fmt: skip
def test_wrong_metadata_are_a_sentence(
    image, described, zarr_format, general, tmp_path
):
    group = zarr.open_group(image, mode="a")
    own = {"multiscales": described}
    group.attrs.update(own if zarr_format == 2 else {"ome": own})
    (event,) = run([image], Options(general, tmp_path / "out"))
    assert event.kind == "error"
    assert "did not expect" not in event.message


def test_a_damaged_chunk_is_an_error_and_ends_nothing(
    image, zarr_format, general, tmp_path, examples
):
    chunk = "0.0" if zarr_format == 2 else "c/0/0"
    (image / "0" / chunk).write_bytes(b"xyz")
    shutil.copy(examples / "cells.tif", tmp_path / "z.tif")
    events = run([image, tmp_path / "z.tif"], Options(general, tmp_path / "out"))
    assert [e.kind for e in events] == ["error", "result"]
    assert "a chunk is damaged" in events[0].message


def test_a_folder_of_another_kind_is_no_image(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.attrs["something"] = 1
    _, errors = find_inputs([str(tmp_path / "a.zarr")])
    assert "no OME-Zarr image or plate" in errors[0].message
    _, errors = find_inputs(["file:///nowhere/a.zarr"])
    assert "there is no OME-Zarr at" in errors[0].message


def test_one_line_of_help_without_the_library(image, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "zarr", None)
    _, errors = find_inputs([str(image)])
    assert "install 'blinkcore[zarr]'" in errors[0].message


@pytest.mark.parametrize("kind", ["zarr", "tiles", "strips", "one strip"])
def test_a_plane_read_in_bands_has_the_same_spots(
    kind, image, plane, general, tmp_path, monkeypatch
):
    expected = predict(plane, general, radius=3, tile=96)
    monkeypatch.setattr(ome_zarr, "LARGE", 1000)
    monkeypatch.setattr(tiff_bands, "LARGE", 1000)
    path = image if kind == "zarr" else tmp_path / "a.tif"
    how = {"tiles": {"tile": (48, 80)}, "strips": {"rowsperstrip": 7}}.get(kind, {})
    if kind != "zarr":
        tifffile.imwrite(path, plane, compression="zlib", metadata=None, **how)
    data = io.read_image(path).middle_plane().data
    assert type(data).__name__ == "LargePlane"
    spots = predict(path, general, radius=3, tile=96)
    pd.testing.assert_frame_equal(spots[expected.columns], expected)


def test_a_large_plane_gives_the_rows_that_are_asked_for(image, plane, monkeypatch):
    monkeypatch.setattr(ome_zarr, "LARGE", 1000)
    data = io.read_image(image).middle_plane().data
    for index in [
        slice(None), slice(3, 200, 7), slice(-5, None), slice(10, 10),
        (slice(30, 150), slice(5, 9)), (slice(None, None, 50), slice(None, None, 3)),
    ]:  # fmt: skip
        np.testing.assert_array_equal(data[index], plane[index])
    np.testing.assert_array_equal(np.asarray(data), plane)
    assert (data.shape, data.size, data.ndim, len(data)) == (
        plane.shape, plane.size, 2, len(plane),
    )  # fmt: skip


def test_the_description_names_the_folder(image, general, tmp_path):
    run([image], Options(general, tmp_path / "out", level=1))
    about = json.loads((tmp_path / "out" / "cells.json").read_text())
    assert about["images"][0]["path"] == str(image)
    assert about["options"]["level"] == 1


def test_a_folder_of_something_else_is_not_replaced_by_spots(tmp_path):
    path = tmp_path / "mine.spots.zarr"
    path.mkdir()
    (path / "data.txt").write_text("mine")
    with pytest.raises(ValueError, match="something other than spots"):
        io.write_spots(pd.DataFrame({"y": [1.0], "x": [2.0]}), path)
    assert (path / "data.txt").read_text() == "mine"
