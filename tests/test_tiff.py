"""TIFF files of all kinds: types, layouts, axes, pixel sizes, damage."""

import numpy as np
import pytest
import tifffile

from blinkcore.image import PixelSize
from blinkcore.io import read_image
from blinkcore.io.tiff_series import files_of_set
from ome_set import ome_set

OME = {"photometric": "minisblack", "ome": True}


def stack(*shape, dtype=np.uint16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def planes(image):
    return [p.data for p in image.planes()]


DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8", "f2", "?"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_any_real_type_is_read(tmp_path, dtype, byteorder):
    data = (np.arange(30).reshape(5, 6) % 2).astype(np.dtype(dtype))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, photometric="minisblack", byteorder=byteorder)
    image = read_image(path)
    assert image.axes == "YX"
    np.testing.assert_array_equal(planes(image)[0].astype(float), data.astype(float))


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd", "packbits"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 32)}, {"rowsperstrip": 7}])
def test_any_layout_is_read_plane_by_plane(tmp_path, compression, layout):
    data = stack(3, 40, 50)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, data, imagej=False, metadata={"axes": "TYX"}, photometric="minisblack",
        compression=compression, **layout,
    )  # fmt: skip
    image = read_image(path)
    assert image.axes == "TYX"
    np.testing.assert_array_equal(planes(image), data)


def test_uncompressed_files_are_mapped_and_not_read(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack(64, 64), photometric="minisblack")
    data = read_image(path).data
    while not isinstance(data, np.memmap):
        assert data.base is not None
        data = data.base


def test_imagej_hyperstacks_know_axes_and_pixel_size(tmp_path):
    data = stack(2, 3, 4, 20, 30)  # T, Z, C: ImageJ's order
    path = tmp_path / "hyper.tif"
    tifffile.imwrite(
        path, data, imagej=True, resolution=(1 / 0.1, 1 / 0.2),
        metadata={"axes": "TZCYX", "unit": "um", "spacing": 0.5},
    )  # fmt: skip
    image = read_image(path)
    assert image.axes == "TCZYX"
    assert image.pixel_size == pytest.approx((0.5, 0.2, 0.1))
    for plane in image.planes():
        np.testing.assert_array_equal(
            plane.data, data[plane.frame, plane.z, plane.channel]
        )


@pytest.mark.parametrize(
    ("unit", "size", "expected"),
    [
        ("micron", 0.1, 0.1),
        ("\\u00B5m", 0.1, 0.1),
        ("nm", 100.0, 0.1),
        ("mm", 0.0001, 0.1),
        ("pixel", 1.0, None),
        ("inch", 1.0, None),
        ("", 1.0, None),
    ],
)
def test_imagej_units_become_micrometers(tmp_path, unit, size, expected):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, stack(8, 8), imagej=True, resolution=(1 / size, 1 / size),
        metadata={"unit": unit},
    )  # fmt: skip
    size = read_image(path).pixel_size
    assert (size is None) == (expected is None)
    if size is not None:
        assert (size.z, size.y) == (None, pytest.approx(expected, rel=1e-4))


def test_a_printers_resolution_is_no_pixel_size(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, stack(8, 8), photometric="minisblack", resolution=(72, 72),
        resolutionunit="INCH", metadata=None,
    )  # fmt: skip
    assert read_image(path).pixel_size is None


def test_ome_tiffs_know_axes_and_pixel_size(tmp_path):
    data = stack(2, 3, 4, 20, 30)
    path = tmp_path / "a.ome.tif"
    metadata = {
        "axes": "CTZYX",
        "PhysicalSizeX": 108.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.109,
        "PhysicalSizeZ": 0.3,
    }
    tifffile.imwrite(path, data, metadata=metadata, **OME)
    image = read_image(path)
    assert image.axes == "TCZYX"
    assert image.pixel_size == pytest.approx((0.3, 0.109, 0.108))
    for plane in image.planes():
        np.testing.assert_array_equal(
            plane.data, data[plane.channel, plane.frame, plane.z]
        )


def test_ome_tiffs_of_several_files_are_one_image(tmp_path):
    data, paths = ome_set(tmp_path)
    for path in paths:
        image = read_image(path)
        assert image.axes == "CYX"
        np.testing.assert_array_equal(planes(image), data)
        assert files_of_set(path) == [str(p) for p in paths]


def test_a_missing_part_of_a_set_is_named(tmp_path):
    _, paths = ome_set(tmp_path)
    paths[1].unlink()
    with pytest.raises(ValueError, match=r"1 of its 2 planes lie in files.*set_c0"):
        read_image(paths[0])


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_pages_without_axes_are_asked_for_and_never_guessed_rgb(tmp_path, n):
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as file:
        for page in stack(n, 16, 24, dtype=np.uint8):
            file.write(page, photometric="minisblack", contiguous=False, metadata=None)
    with pytest.raises(
        ValueError, match=rf"shape {n} x 16 x 24 .*--axes TYX or --axes"
    ):
        read_image(path)
    image = read_image(path, axes="ZYX")
    assert (image.axes, image.size("Z")) == ("ZYX", n)


def test_an_axis_of_length_one_needs_no_name(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack(1, 1, 16, 24), photometric="minisblack")
    assert read_image(path).axes == "YX"


def test_a_truncated_imagej_stack_is_damaged_and_not_its_first_frame(tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, stack(5, 64, 80), imagej=True, metadata={"axes": "TYX"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    with pytest.raises(ValueError, match=r"movie\.tif is damaged"):
        planes(read_image(path))


def test_truncated_pages_are_damaged_and_not_fewer(tmp_path):
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as file:
        for page in stack(5, 64, 80):
            file.write(page, photometric="minisblack", contiguous=False, metadata=None)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    with pytest.raises(ValueError, match="is damaged"):
        planes(read_image(path, axes="TYX"))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_each_file_of_an_ome_set_gives_its_own_position(tmp_path, compression):
    names = ["pos0.ome.tif", "position1.ome.tif"]
    images = "".join(
        f'<Image ID="Image:{i}"><Pixels ID="Pixels:{i}" DimensionOrder="XYCZT" '
        f'Type="uint16" SizeX="24" SizeY="16" SizeC="1" SizeZ="1" SizeT="1" '
        f'PhysicalSizeX="0.{i + 1}" PhysicalSizeY="0.{i + 1}">'
        f'<Channel ID="Channel:{i}:0" SamplesPerPixel="1"/><TiffData IFD="0" '
        f'PlaneCount="1"><UUID FileName="{names[i]}">urn:uuid:{i}</UUID></TiffData>'
        "</Pixels></Image>"
        for i in (0, 1)
    )
    for i, name in enumerate(names):
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{i}">{images}</OME>{" " * 100 * i}'
        )
        tifffile.imwrite(
            tmp_path / name, stack(16, 24) + 1000 * i, photometric="minisblack",
            description=xml, metadata=None, compression=compression,
        )  # fmt: skip
    for i, name in enumerate(names):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(planes(image)[0], stack(16, 24) + 1000 * i)
        assert image.pixel_size.x == pytest.approx(0.1 * (i + 1))
        assert files_of_set(tmp_path / name) == [str(tmp_path / name)]


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_samples_that_are_no_colours_are_channels(tmp_path, n, planarconfig):
    data = stack(16, 24, n) if planarconfig == "contig" else stack(n, 16, 24)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, data, photometric="minisblack", planarconfig=planarconfig,
        extrasamples=["unspecified"] * (n - 1), metadata=None,
    )  # fmt: skip
    image = read_image(path)
    assert image.axes == "CYX"
    expected = data.transpose(2, 0, 1) if planarconfig == "contig" else data
    np.testing.assert_array_equal(planes(image), expected)


def test_white_is_zero_is_turned(tmp_path):
    path = tmp_path / "a.tif"
    data = stack(16, 24, dtype=np.uint8)
    tifffile.imwrite(path, 255 - data, photometric="miniswhite")
    np.testing.assert_array_equal(planes(read_image(path))[0], data)


def test_a_tint_is_grey_and_a_palette_of_colours_is_refused(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)
    data = stack(16, 24, dtype=np.uint8)
    green = np.stack([ramp * 0, ramp, ramp * 0])
    path = tmp_path / "green.tif"
    tifffile.imwrite(path, data, photometric="palette", colormap=green)
    np.testing.assert_array_equal(planes(read_image(path))[0], data)
    mixed = np.random.default_rng(0).permuted(green, axis=1)
    tifffile.imwrite(path, data, photometric="palette", colormap=mixed)
    with pytest.raises(ValueError, match="colour"):
        read_image(path)


def test_a_pixel_size_that_is_no_number_is_named(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, stack(16, 24), metadata={"axes": "YX", "PhysicalSizeX": 0.5}, **OME
    )
    content = path.read_bytes().replace(b'PhysicalSizeX="0.5"', b'PhysicalSizeX="0,5"')
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"PhysicalSizeX must be a number, got .*0.*5.*size of a pixel"
    ):
        read_image(path)
    size = PixelSize(None, 0.5, 0.5)
    assert read_image(path, pixel_size=size).pixel_size == size


def test_several_images_in_a_file_are_told_about(tmp_path, caplog):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for data in (stack(16, 24), stack(8, 9)):
            file.write(data, photometric="minisblack", metadata=None)
    assert read_image(path).data.shape == (16, 24)
    assert "holds 2 images; only the first is used" in caplog.text


def test_lazy_planes_are_an_array_when_asked(tmp_path):
    path = tmp_path / "a.tif"
    data = stack(3, 16, 24)
    tifffile.imwrite(
        path, data, photometric="minisblack", compression="zlib",
        metadata={"axes": "TYX"},
    )  # fmt: skip
    np.testing.assert_array_equal(np.asarray(read_image(path).data), data)


def test_axes_may_come_in_any_order(tmp_path):
    data = stack(16, 24, 5)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, photometric="minisblack", planarconfig="contig")
    image = read_image(path, axes="YXC")
    assert image.axes == "CYX"
    np.testing.assert_array_equal(planes(image), data.transpose(2, 0, 1))


def test_wrong_axes_say_what_the_shape_is(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack(3, 16, 24), photometric="minisblack")
    with pytest.raises(ValueError, match=r"got 'TZYX' for shape \(3, 16, 24\)"):
        read_image(path, axes="TZYX")


def test_seven_dimensions_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack(2, 2, 2, 2, 2, 8, 9), photometric="minisblack")
    with pytest.raises(ValueError, match=r"2 x 2 x 2 x 2 x 2 x 8 x 9.*TCZYX"):
        read_image(path)


def test_imagej_z_may_have_a_unit_of_its_own(shared):
    image = read_image(shared / "reports" / "zunit_nm.tif")
    assert image.pixel_size is not None
    assert image.pixel_size.z == pytest.approx(0.25)


def test_imagej_y_may_have_a_unit_of_its_own(tmp_path):
    metadata = {"unit": "um", "yunit": "nm", "axes": "YX"}
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((8, 9), np.uint16), imagej=True,
        resolution=(10.0, 0.01), metadata=metadata,
    )  # fmt: skip
    size = read_image(tmp_path / "a.tif").pixel_size
    assert (size.y, size.x) == pytest.approx((0.1, 0.1))
