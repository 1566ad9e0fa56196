"""Files of Zeiss, Nikon and Leica through bioio; CZI files are written by Zeiss's own library."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore import io, predict
from programs import call_blinkcore


def test_without_bioio_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bioio", None)
    for suffix in (".nd2", ".czi", ".lif"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"anything")
        with pytest.raises(ImportError, match=r"install 'blinkcore\[bioio\]'"):
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
