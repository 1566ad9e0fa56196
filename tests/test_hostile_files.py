"""Files that do harm without a crash: too deep, too large, without an end, cut off."""

import json
import os
import pickle
import shutil
import stat
import sys
import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from blinkcore.batch.lock import locked
from blinkcore.files import atomic_write, check_readable
from blinkcore.io import npz, read_image
from programs import call_blinkcore

FEW = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


@FEW
@pytest.mark.parametrize(
    "words", [["report"], ["link"], ["evaluate", "p.csv"], ["dataset", "info"], ["run"]]
)
def test_a_pipe_is_not_waited_for(tmp_path, words):
    os.mkfifo(tmp_path / "p.csv")
    done = call_blinkcore(*words, "p.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "Error: p.csv: it is not a regular file\n"


@FEW
def test_a_device_is_neither_read_nor_replaced(tmp_path):
    with pytest.raises(OSError, match="not a regular file"):
        check_readable(Path("/dev/zero"))
    os.mkfifo(tmp_path / "out.csv")
    with (
        pytest.raises(OSError, match="not a regular file"),
        atomic_write(tmp_path / "out.csv") as temporary,
    ):
        temporary.write_text("x")
    assert stat.S_ISFIFO((tmp_path / "out.csv").stat().st_mode)
    os.mkfifo(tmp_path / "out.json")
    done = call_blinkcore("predict", "--status", "out.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "out.json" in done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("deep.json", ["convert", "deep.json", "-o", "o.csv"]),
        ("deep.yaml", ["run", "deep.yaml"]),
    ],
)
def test_what_is_nested_deeply_is_a_sentence(tmp_path, name, words):
    text = "[" * 100_000 + "]" * 100_000
    (tmp_path / name).write_text(text)
    done = call_blinkcore(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    done = call_blinkcore("predict", "x.tif", "--status", name, cwd=tmp_path)
    said = {
        ".json": f"--status {name} is a file of another kind",
        ".yaml": f"--status must end in .json, got {name}",
    }
    assert said[(tmp_path / name).suffix] in done.stderr
    assert (tmp_path / name).read_text() == text


def test_a_pickle_that_names_its_parts_again_and_again_is_refused(tmp_path):
    parts = [1.0, 2.0]
    for _ in range(60):
        parts = [parts, parts]
    objects = np.empty(1, object)
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117)
        + b"\n"
    )
    state = (1, (1,), np.dtype(object), False, [parts])
    content = header + pickle.dumps(_Array(objects, state), protocol=2)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for name in (f"{axis}_{part}" for part in npz.SPLITS for axis in "xy"):
            archive.writestr(f"{name}.npy", content)
    with pytest.raises(ValueError, match="so that they would fill memory"):
        npz.read(tmp_path / "d.npz")


class _Array:
    """Pickled like an array of objects with this state."""

    def __init__(self, like, state):
        self.like, self.state = like, state

    def __reduce__(self):
        function, arguments, _ = self.like.__reduce__()
        return function, arguments, self.state


def test_what_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("blinkcore.limits.GIB", 1 << 20)
    np.savez_compressed(tmp_path / "d.npz", index=np.zeros(1 << 24, np.uint8))
    with pytest.raises(ValueError, match=r"is unpacked to 1,0\d\d times its size"):
        npz.read(tmp_path / "d.npz")


def test_a_refused_lock_leaves_the_one_that_is_held(tmp_path):
    with locked(tmp_path / "a"):
        for _ in range(2):
            with pytest.raises(ValueError, match="another run"), locked(tmp_path / "a"):
                pass
        owner = json.loads((tmp_path / ".a.lock").read_text())
        assert owner["pid"] == os.getpid()
    assert not (tmp_path / ".a.lock").exists()


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_compressed_images_that_are_cut_off_say_so(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    content = imagecodecs.jpeg8_encode(pixels)
    if suffix == ".tif":
        tifffile.imwrite(path, pixels, compression="jpeg", photometric="minisblack")
        content = path.read_bytes()
    path.write_bytes(content)
    image = read_image(path, truncated=True)
    np.asarray(image.middle_plane(None).data)
    assert not image.misses_pixels
    path.write_bytes(content[:-1000])
    image = read_image(path, truncated=True)
    np.asarray(image.middle_plane(None).data)
    assert image.misses_pixels


def test_an_error_that_nobody_foresaw_ends_one_file_and_is_described(
    tmp_path, examples, monkeypatch
):
    from blinkcore.batch import run

    whole = run.predict_input

    def broken(item, *arguments):
        if item.path.name == "a.tif":
            raise KeyError("surprise")
        return whole(item, *arguments)

    monkeypatch.setattr(run, "predict_input", broken)
    for name in "ab":
        shutil.copy(examples / "cells.tif", tmp_path / f"{name}.tif")
    words = ["predict", "a.tif", "b.tif", "-o", "out", "--status", "s.json"]
    done = call_blinkcore(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "please report it" in done.stderr
    assert "Traceback" not in done.stderr
    status = json.loads((tmp_path / "s.json").read_text())
    assert status["images"]["done"] == 1
    (failed,) = status["failed"]
    assert "KeyError: 'surprise'" in failed["details"]
