import warnings

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tifffile

from blinkcore.image import PixelSize
from blinkcore.io import read_image, write_image, write_spots


def stack(*shape, dtype=np.uint16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def planes(image):
    return [p.data for p in image.planes()]


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_colour_pictures_are_refused_with_the_way_out(tmp_path, suffix):
    data = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    path = tmp_path / f"photo.{suffix}"
    PIL.Image.fromarray(data).save(path)
    with pytest.raises(ValueError, match=r"photo.*colour \(RGB\) picture.*--channel"):
        read_image(path)
    image = read_image(path, rgb=True)
    assert (image.axes, image.data.shape) == ("CYX", (3, 32, 48))
    if suffix != "jpg":
        np.testing.assert_array_equal(planes(image), data.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_saved_as_colour_is_grey(tmp_path, mode):
    grey = np.random.default_rng(0).integers(0, 255, (8, 9), np.uint8)
    path = tmp_path / "a.png"
    PIL.Image.fromarray(grey).convert(mode).save(path)
    np.testing.assert_array_equal(planes(read_image(path))[0], grey)


def test_pictures_have_no_frames_or_planes(tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(np.zeros((8, 9, 4), np.uint8)).save(path)
    with pytest.raises(ValueError, match="axes YX or YXC, got 'ZYX'"):
        read_image(path, axes="ZYX")
    assert read_image(path, axes="YXC").axes == "CYX"
    assert read_image(path, axes="YX").axes == "YX"


def test_sixteen_bit_png_keeps_its_bits(tmp_path):
    data = stack(20, 30) * 100
    path = tmp_path / "a.png"
    PIL.Image.fromarray(data).save(path)
    image = read_image(path)
    assert image.data.dtype == np.uint16
    np.testing.assert_array_equal(planes(image)[0], data)


def test_content_counts_and_not_the_name(tmp_path):
    path = tmp_path / "really_a_png.tif"
    PIL.Image.fromarray(stack(8, 9, dtype=np.uint8)).save(path, "PNG")
    assert read_image(path).data.shape == (8, 9)


def test_written_images_read_the_same(tmp_path):
    data = stack(12, 13)
    write_image(data, tmp_path / "new" / "a.tif")
    np.testing.assert_array_equal(
        planes(read_image(tmp_path / "new" / "a.tif"))[0], data
    )


def table(n=3):
    return pd.DataFrame(
        {
            "image": pd.Series(['a, "b"\nc.tif'] * n, dtype=str),
            "frame": np.arange(n),
            "y": np.linspace(0, 9, n) / 7,
            "x": np.linspace(0, 9, n),
            "probability": np.full(n, 1 / 3),
            "x_um": np.full(n, 1 / 3),
        }
    )


@pytest.mark.parametrize("n", [0, 3])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_survive_writing(tmp_path, suffix, n):
    from blinkcore.io import tables

    path = tmp_path / f"spots{suffix}"
    write_spots(table(n), path)
    found = tables.read(path)
    atol = 0 if suffix == ".parquet" else 6e-5  # four decimals
    pd.testing.assert_frame_equal(found, table(n), rtol=0, atol=atol, check_dtype=n > 0)
    assert list(tmp_path.iterdir()) == [path]


def test_other_table_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"written as .*\.csv.*got 'spots\.xlsx'"):
        write_spots(table(), tmp_path / "spots.xlsx")


def test_reading_warns_about_nothing(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack(16, 24), photometric="minisblack")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(path, pixel_size=PixelSize(None, 0.1, 0.1))
        del image
