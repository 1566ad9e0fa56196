"""What a file makes the program read or replace: nothing outside of where it lies."""

import os

import numpy as np
import pytest
import tifffile

from blinkcore import io
from programs import call_blinkcore


@pytest.mark.parametrize(
    "name", ["m.xml", "m.tracks.csv", "m.msd.csv", "m.motion.png", "m.geff/thesis.txt"]
)
def test_link_replaces_no_file_of_others(movie, tmp_path, name):
    out = tmp_path / "o"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("my thesis")
    words = ("link", movie, "-o", out, "--format", "csv,xml,geff")
    done = call_blinkcore(*words)
    assert done.returncode == 2
    assert "is there and not a result of blinkcore" in done.stderr
    assert (out / name).read_text() == "my thesis"
    assert [p.name for p in out.iterdir()] == [name.partition("/")[0]]  # nothing else
    if name == "m.xml":  # not asked for, not in the way
        assert call_blinkcore(*words[:-1], "csv").returncode == 0


def test_link_follows_no_link_and_replaces_its_own(movie, tmp_path):
    pytest.importorskip("geff")
    own, out = tmp_path / "own", tmp_path / "o"
    own.mkdir()
    out.mkdir()
    (own / "thesis.txt").write_text("my thesis")
    (out / "m.geff").symlink_to(own)
    words = ("link", movie, "-o", out, "--format", "xml,geff")
    assert call_blinkcore(*words).returncode == 2
    (out / "m.geff").unlink()
    for _ in range(2):
        done = call_blinkcore(*words)
        assert done.returncode == 0, done.stderr
    assert (out / "m.geff" / "nodes").is_dir()
    assert [p.name for p in own.iterdir()] == ["thesis.txt"]


def ome(path, other):
    """Write an OME-TIFF whose second plane lies in another file."""
    planes = np.zeros((2, 32, 32), np.uint8)
    tifffile.imwrite(path, planes, ome=True, metadata={"axes": "TYX"})
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata
    there = (
        f'<UUID FileName="{other}">urn:uuid:12345678-1234-1234-1234-123456789012</UUID>'
    )
    data = '<TiffData FirstT="1" IFD="0" PlaneCount="1">' + there + "</TiffData>"
    assert "</Pixels>" in text
    text = text.replace("</Pixels>", data + "</Pixels>")
    tifffile.imwrite(path, planes, description=text.encode(), metadata=None)


@pytest.mark.parametrize("name", ["../secret.tif", "/{}/secret.tif", "..\\s.tif"])
def test_an_ome_tiff_names_files_of_its_folder_only(tmp_path, name):
    tifffile.imwrite(tmp_path / "secret.tif", np.zeros((32, 32), np.uint8))
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.ome.tif"
    ome(path, name.format(tmp_path))
    done = call_blinkcore("predict", path, "-o", tmp_path / "o", "--axes", "TYX")
    assert done.returncode == 1
    assert "refer to a file that is not in its folder" in done.stderr


def test_names_that_no_plane_lies_in_are_no_files(tmp_path):
    planes = np.zeros((2, 32, 32), np.uint8)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, planes, ome=True, metadata={"axes": "TYX"})
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata
    note = (
        '<StructuredAnnotations><Doc FileName="D:\\\\x.czi"/></StructuredAnnotations>'
    )
    text = text.replace("</OME>", note + "</OME>")
    tifffile.imwrite(path, planes, description=text.encode(), metadata=None)
    assert io.read_image(path).size("T") == 2


@pytest.mark.skipif(os.name == "nt", reason="no such names")
def test_names_in_a_set_may_have_a_colon(tmp_path):
    for number in range(2):
        tifffile.imwrite(tmp_path / f"12:30_{number}.tif", np.zeros((32, 32), np.uint8))
    ome(tmp_path / "a.ome.tif", "12:30_1.tif")
    assert io.read_image(tmp_path / "a.ome.tif").size("T") == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_an_ome_tiff_does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    ome(tmp_path / "a.ome.tif", "pipe.tif")
    done = call_blinkcore("predict", tmp_path / "a.ome.tif", "-o", tmp_path / "o")
    assert "it is not a regular file" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("images: a\npredict: {threshold: &a [1, 2], fdr: *a}\n", "(line 2)"),
        ("aliases: [1, 2\n", "not valid YAML"),
        ("images: a\npredict: {threshold: [[1]]}\n", "'threshold' must be a number"),
        ("images: a\npredict: {threshold: !!timestamp 2026-99-99}\n", "not valid YAML"),
        ("images: " + "[" * 5000 + "\n", "not valid YAML"),
    ],
)
def test_recipes_that_would_fill_the_memory_are_a_sentence(tmp_path, text, said):
    (tmp_path / "r.yml").write_text(text)
    done = call_blinkcore("run", tmp_path / "r.yml")
    assert done.returncode == 2
    assert f"{tmp_path / 'r.yml'}" in done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_chunks_count_for_the_memory(tmp_path):
    zarr = pytest.importorskip("zarr", minversion="3.1")
    side = 20_000
    zarr.create_array(
        tmp_path / "large.zarr", shape=(64, 64), chunks=(side, side), dtype="u1"
    )
    zarr.create_array(
        tmp_path / "many.zarr", shape=(2048, 2048), chunks=(1, 1), dtype="u1"
    )
    zarr.create_array(
        tmp_path / "text.zarr", shape=(64, 64), chunks=(64, 64), dtype=str
    )
    for name, said in (
        ("large", "a chunk of"), ("many", "4,194,304 chunks in a plane"), ("text", "no numbers"),
    ):  # fmt: skip
        path = tmp_path / f"{name}.zarr"
        words = ("predict", path, "-o", tmp_path / "o", "--max-memory", "200M")
        done = call_blinkcore(*words, "--axes", "YX")
        assert done.returncode != 0
        assert said in done.stderr
        assert "did not expect" not in done.stderr
    path, shard = tmp_path / "shard.zarr", (4096, 65_536)
    zarr.create_array(path, shape=(64, 64), chunks=(64, 64), shards=shard, dtype="u1")
    done = call_blinkcore(
        "predict", path, "-o", tmp_path / "o", "--axes", "YX", "--max-memory", "200M"
    )
    assert done.returncode == 0, done.stderr
