"""Files that hold several images: each is an input of its own, `FILE#N`."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from batches import run
from blinkcore import predict
from blinkcore.batch.run import Options
from blinkcore.io import n_scenes, read_image
from blinkcore.io.scenes import file_and_scene


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
