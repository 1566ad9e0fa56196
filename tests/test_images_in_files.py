"""Files that hold several images: each is an input of its own, `FILE#N`."""

import os

import numpy as np
import pandas as pd
import pytest
import tifffile

from batches import run
from blinkcore import predict
from blinkcore.batch.inputs import find_inputs
from blinkcore.batch.options import Options
from blinkcore.io import n_scenes, read_image
from blinkcore.io.results import read_results
from blinkcore.io.scenes import file_and_scene
from blinkcore.report.collect import read_panels


@pytest.fixture
def positions(tmp_path, scene):
    """An OME-TIFF of three positions of a stage, of different sizes and scales."""
    planes = [scene.image[:96, :110], scene.image[96:200], scene.image[:, :90]]
    path = tmp_path / "in" / "stage.ome.tif"
    path.parent.mkdir()
    with tifffile.TiffWriter(path, ome=True) as file:
        for number, plane in enumerate(planes):
            size = {"PhysicalSizeX": 0.1 * (number + 1), "PhysicalSizeXUnit": "µm",
                    "PhysicalSizeY": 0.1 * (number + 1), "PhysicalSizeYUnit": "µm"}  # fmt: skip
            file.write(plane, metadata={"axes": "YX", **size})
    return path, planes


def test_each_position_is_an_image(positions, general, tmp_path):
    path, planes = positions
    assert n_scenes(path) == 3
    events = run([path.parent], Options(general, tmp_path / "out"))
    assert [event.image for event in events] == [f"{path}#{n}" for n in range(3)]
    for number, plane in enumerate(planes):
        found = pd.read_csv(tmp_path / "out" / f"stage.ome.scene{number}.csv")
        expected = predict(plane, general, pixel_size=0.1 * (number + 1))
        np.testing.assert_allclose(found["x_um"], expected["x_um"], atol=1e-3)


def test_one_of_them_can_be_asked_for(positions, caplog):
    path, planes = positions
    np.testing.assert_array_equal(read_image(f"{path}#2").data, planes[2])
    assert caplog.messages == []
    with pytest.raises(ValueError, match="it has no image 3, only 3 from 0 on"):
        read_image(f"{path}#3")


def test_the_second_image_of_a_plain_tiff_is_none_by_itself(tmp_path, scene, caplog):
    """It is often a preview."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for data in (scene.image, scene.image[:50]):
            file.write(data, photometric="minisblack", metadata=None)
    assert n_scenes(path) == 1
    assert read_image(path).data.shape == scene.image.shape
    assert "only the first is used, the others are a.tif#1 and so on" in caplog.text
    assert read_image(f"{path}#1").data.shape == (50, scene.image.shape[1])


def test_a_hash_in_a_name_is_part_of_it(tmp_path, examples):
    path = tmp_path / "cells.tif#1"
    (tmp_path / "cells.tif").write_bytes((examples / "cells.tif").read_bytes())
    assert file_and_scene(path) == (tmp_path / "cells.tif", 1)
    path.write_bytes(b"")
    assert file_and_scene(path) == (path, None)
    odd = tmp_path / "cells.tif#x"
    assert file_and_scene(odd) == (odd, None)
    missing = tmp_path / "b.tif#1"
    assert file_and_scene(missing) == (missing, None)


def test_a_picture_has_one_image(tmp_path):
    from PIL import Image

    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png#0").data.shape == (20, 30)
    with pytest.raises(ValueError, match="has no image 1, only 1 from 0 on"):
        read_image(tmp_path / "a.png#1")


def test_images_that_a_set_spreads_over_its_files_are_searched_once(
    general, scene, tmp_path
):
    """Two images of two channels each, a channel a file."""
    own = [scene.image[:64, :80], scene.image[100:190, :70]]
    folder = tmp_path / "in"
    folder.mkdir()
    names = [("c0.ome.tif", "urn:uuid:1"), ("c1.ome.tif", "urn:uuid:2")]
    images = "".join(
        f'<Image ID="Image:{n}"><Pixels ID="Pixels:{n}" DimensionOrder="XYCZT" '
        f'Type="uint16" SizeX="{plane.shape[1]}" SizeY="{plane.shape[0]}" SizeC="2" '
        'SizeZ="1" SizeT="1"><Channel ID="Channel:0"/><Channel ID="Channel:1"/>'
        + "".join(
            f'<TiffData IFD="{n}" FirstC="{c}" PlaneCount="1">'
            f'<UUID FileName="{name}">{uuid}</UUID></TiffData>'
            for c, (name, uuid) in enumerate(names)
        )
        + "</Pixels></Image>"
        for n, plane in enumerate(own)
    )
    for name, uuid in names:
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/'
            f'OME/2016-06" UUID="{uuid}">{images}</OME>'
        )
        with tifffile.TiffWriter(folder / name) as file:
            for number, plane in enumerate(own):
                about = xml if number == 0 else None
                file.write(plane, description=about, metadata=None)
    assert n_scenes(folder / "c0.ome.tif") == 2
    events = run([folder], Options(general, tmp_path / "out"))
    first, second = (str(folder / name) for name, _ in names)
    assert [(e.kind, e.image) for e in events] == [
        ("result", f"{first}#0"), ("result", f"{first}#1"),
        ("skipped", f"{second}#0"), ("skipped", f"{second}#1"),
    ]  # fmt: skip


def test_a_preview_in_colour_is_no_image(tmp_path, scene):
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(scene.image, metadata={"axes": "YX"})
        preview = np.zeros((50, 60, 3), np.uint8)
        file.write(preview, photometric="rgb", metadata={"axes": "YXS"})
    assert n_scenes(path) == 1
    assert read_image(path).data.shape == scene.image.shape


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_link_to_a_file_is_the_same_file(positions, general, tmp_path):
    path, _ = positions
    (path.parent / "link.ome.tif").symlink_to(path)
    assert len(run([path.parent], Options(general, tmp_path / "out"))) == 3


def test_numbers_are_written_in_one_way(positions):
    path, _ = positions
    (item,), _ = find_inputs([f"{path}#01"])
    assert item.name == f"{path}#1"
    assert str(item.relative) == "stage.ome.scene1.tif"


def test_results_of_one_table_are_named_as_those_of_a_folder(
    positions, general, tmp_path
):
    path, _ = positions
    run([path], Options(general, tmp_path / "all.csv"))
    names = [spots.name for spots in read_results(tmp_path / "all.csv")]
    assert names == [f"stage.ome.scene{n}" for n in range(3)]
    conditions = {"stage.ome.tif": "control"}
    panels = read_panels(tmp_path / "all.csv", conditions)
    assert {panel.condition for panel in panels} == {"control"}
