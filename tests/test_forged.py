"""Files beside results that are damaged, forged, somebody else's, or never end."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore.io import read_image
from blinkcore.io.provenance import read_sidecar
from programs import BLINKCORE, call_blinkcore

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such files")


@pytest.fixture
def results(tmp_path, scene):
    """The results of a movie of two frames, in `r`."""
    movie = np.stack([scene.image[:100, :100], scene.image[1:101, :100]])
    tifffile.imwrite(
        tmp_path / "m.tif", movie, imagej=True, resolution=(10, 10),
        metadata={"axes": "TYX", "unit": "um", "finterval": 2.0},
    )  # fmt: skip
    done = call_blinkcore("predict", "m.tif", "-o", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shutil.copytree(tmp_path / "r", tmp_path / "q")  # another channel
    return tmp_path / "r"


def forge(results, change):
    path = results / "m.json"
    content = json.loads(path.read_text("utf-8"))
    change(content, content["images"][0])
    path.write_text(json.dumps(content), "utf-8")


FORGED = {
    "formats": lambda top, image: top.update(formats=[".csv", "_important"]),
    "formats of another type": lambda top, image: top.update(formats=5),
    "size without axes": lambda top, image: image.update(pixel_size_um={"foo": 1}),
    "size of 0": lambda top, image: image.update(
        pixel_size_um={"z": None, "y": 0.1, "x": 0}
    ),
    "size of text": lambda top, image: image.update(
        pixel_size_um={"z": None, "y": "a", "x": "b"}
    ),
    "shape": lambda top, image: image.update(shape=5),
    "shape of another length": lambda top, image: image.update(shape=[5, 64]),
    "shape of text": lambda top, image: image.update(shape=["2", "100", "100"]),
    "axes": lambda top, image: image.update(axes="TQQ"),
    "axes of another type": lambda top, image: image.update(axes=3),
    "interval": lambda top, image: image.update(frame_interval_s="x"),
    "options": lambda top, image: top.update(options={"axes": 5}),
    "a record without a name": lambda top, image: image.pop("image"),
    "images of text": lambda top, image: top.update(images=["x"]),
    "no image": lambda top, image: top.update(images=[None]),
    "path": lambda top, image: image.update(path=[1]),
    "model": lambda top, image: top.update(model="x"),
    "command": lambda top, image: top.update(command=7),
    "counts": lambda top, image: image.update(counts=5),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_description_is_none(results, kind):
    assert read_sidecar(results / "m.json") is not None
    forge(results, FORGED[kind])
    assert read_sidecar(results / "m.json") is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["size without axes", "shape", "no image", "counts"])
def test_no_command_fails_of_it(results, tmp_path, kind):
    forge(results, FORGED[kind])
    for words in (
        ["report", "r", "-o", "r.html"],
        ["link", "r", "-o", "tracks", "--radius", "3"],
        ["colocalize", "r", "q", "-o", "pairs"],
        ["predict", "m.tif", "-o", "r", "--skip-existing"],
    ):
        done = call_blinkcore(*words, cwd=tmp_path)
        assert done.returncode == 0, (words, done.stderr)


def test_a_description_names_no_file_to_remove(results, tmp_path):
    (results / "m_important").mkdir()
    (results / "m_important" / "f").write_text("mine")
    (results / "m.tif").write_text("mine, too")
    forge(results, lambda top, _: top.update(formats=[".csv", ".tif", "_important"]))
    done = call_blinkcore(
        "predict", "m.tif", "-o", "r", "--threshold", "0.4", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (results / "m_important" / "f").read_text() == "mine"
    assert (results / "m.tif").read_text() == "mine, too"


def test_files_of_others_are_not_replaced(results, tmp_path):
    for name in ("a.json", "b.csv", "tracks/m.csv", "pairs/m.first.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"my": 1}')
    for words, name in (
        (["predict", "m.tif", "-o", "a.csv"], "a.json"),
        (["predict", "m.tif", "-o", "b.csv"], "b.csv"),
        (["merge", "r", "-o", "a.csv"], "a.json"),
        (["merge", "r", "-o", "b.csv"], "b.csv"),
        (["link", "r", "-o", "tracks"], "tracks/m.csv"),
        (["colocalize", "r", "q", "-o", "pairs"], "pairs/m.first.csv"),
    ):
        done = call_blinkcore(*words, cwd=tmp_path)
        assert done.returncode in (1, 2), words
        assert f"{name} is there and not a result of blinkcore" in done.stderr, words
        assert (tmp_path / name).read_text() == '{"my": 1}'


@pytest.mark.parametrize(
    ("name", "said"),
    [("m.tif", "is not a log"), ("no/s", "cannot be written"), ("n" * 300, "too long")],
)
def test_a_log_goes_into_logs_only(results, tmp_path, name, said):
    before = (tmp_path / "m.tif").read_bytes()
    words = ["predict", "m.tif", "-o", "o", "--log-file", name]
    done = call_blinkcore(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert (tmp_path / "m.tif").read_bytes() == before
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (
            "image,n,frame\nb.tif,3,0.5\n",
            "something else than whole numbers in 'frame'",
        ),
        ("image,n\nb.tif,1e300\n", "something else than whole numbers in 'n'"),
        ("image,n\nb.tif,\n", "something else than whole numbers in 'n'"),
        ("image,n\nb.tif,x\n", "something else than whole numbers in 'n'"),
        ('image,n\n"b.tif,3\n', "is not a table of counts"),
    ],
)
def test_damaged_counts_are_a_sentence(results, tmp_path, counts, said):
    (results / "counts.csv").write_text(counts)
    done = call_blinkcore("predict", "m.tif", "-o", "r", cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert (results / "counts.csv").read_text() == counts
    done = call_blinkcore("report", "r", "-o", "r.html", cwd=tmp_path)
    assert "Traceback" not in done.stderr


@posix
@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("r/m.json", ["report", "r", "-o", "r.html"]),
        ("r/m.json", ["predict", "m.tif", "-o", "r"]),
        ("r/counts.csv", ["predict", "m.tif", "-o", "r"]),
        ("p.json", ["colocalize", "r", "q", "-o", "o", "--calibration", "p.json"]),
        ("p.log", ["predict", "m.tif", "-o", "o", "--log-file", "p.log"]),
        ("words", ["@words"]),
    ],
)
def test_pipes_beside_results_are_not_waited_for(results, tmp_path, place, words):
    (tmp_path / place).unlink(missing_ok=True)
    os.mkfifo(tmp_path / place)
    done = subprocess.run(
        [BLINKCORE, *words], cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert (tmp_path / place).is_fifo()


def test_a_small_file_that_would_fill_memory_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    zeros = pd.DataFrame({"y": np.zeros(20_000_000), "x": np.zeros(20_000_000)})
    zeros.to_parquet(tmp_path / "b.parquet", compression="zstd")
    done = call_blinkcore("convert", "b.parquet", "-o", "b.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(r"b\.parquet is unpacked to [\d,]+ times its size", done.stderr)
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and no more")
    done = call_blinkcore("convert", "c.parquet", "-o", "c.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "no Parquet file, or damaged" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "m.tif", "-o", "o", "--timeout", "inf"], "--timeout must be"),
        (["predict", "m.tif", "-o", "o", "--timeout", "1e300"], "--timeout must be"),
        (["predict", "m.tif", "-o", "o", "--max-memory", "0"], "--max-memory must be"),
        (["predict", "m.tif", "-o", "o", "--scheduler", "99999999"], "at most 1024"),
        (["link", "r", "-o", "o", "--radius", "1e300"], "--radius must be"),
        (["simulate", "-o", "s.npz", "--split", "nan/0/0"], "split must be shares"),
        (["simulate", "-o", "s.npz", "--split", "inf/0/0"], "split must be shares"),
        (["train", "-o", "m.pt", "--filters", "1000000"], "--filters"),
        (["train", "-o", "m.pt", "--workers", "100000"], "--workers"),
    ],
)
def test_numbers_without_bounds_are_refused(results, tmp_path, words, said):
    done = call_blinkcore(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@posix
def test_the_shortest_time_is_over(results, tmp_path):
    words = ["predict", "m.tif", "-o", "o", "--timeout", "1e-300"]
    done = call_blinkcore(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "it took longer than" in done.stderr


def test_a_spot_in_a_far_frame_is_linked_soon(tmp_path):
    spots = pd.DataFrame(
        {"frame": [0, 1, 4_000_000_000_000], "y": [1.0, 1.1, 1.2], "x": [2.0, 2.0, 2.0]}
    )
    spots.to_csv(tmp_path / "m.csv", index=False)
    done = call_blinkcore("link", "m.csv", "-o", "t", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    linked = pd.read_csv(tmp_path / "t" / "m.csv")
    assert linked["track"].tolist() == [0, 0, 1]
    assert linked["frame"].max() == 4_000_000_000_000


def test_a_name_cannot_end_the_data_of_a_report(results, tmp_path):
    name = "<!--<script>.tif"
    table = pd.read_csv(results / "m.csv").assign(image=name)
    table.loc[0, "probability"] = np.inf
    table.to_csv(tmp_path / "t.csv", index=False)
    done = call_blinkcore("report", "t.csv", "-o", "r.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.html").read_text("utf-8")
    data = page[page.index('type="application/json"') :]
    data = data[data.index(">") + 1 : data.index("</script>")]
    assert "<" not in data
    json.loads(data, parse_constant=lambda name: pytest.fail(name))


def test_images_of_a_recipe_are_no_options(results, tmp_path):
    recipe = tmp_path / "e.yaml"
    recipe.write_text('images: ["-o", "evil"]\noutput: out\npredict: true\n')
    done = subprocess.run(
        [sys.executable, "-m", "blinkcore", "run", recipe], cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert not (tmp_path / "evil").exists()


def test_a_table_of_an_image_called_dots_is_linked_under_its_own_name(tmp_path):
    rows = {"image": ["..", ".."], "frame": [0, 1], "y": [1.0, 1.1], "x": [2.0, 2.0]}
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    done = call_blinkcore("link", "m.csv", "-o", "t", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "m.csv").exists()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.arange(30000, dtype=np.uint8).reshape(100, 100, 3), "colour"),
        (np.full((100, 100), 2**63 + 5, np.uint64), "has labels above"),
    ],
)
def test_label_images_that_are_none_are_a_sentence(results, tmp_path, labels, said):
    more = {"photometric": "rgb"} if labels.ndim == 3 else {}
    tifffile.imwrite(tmp_path / "masks.tif", labels, **more)
    words = ["predict", "m.tif", "-o", "o", "--labels", "masks.tif"]
    done = call_blinkcore(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize("back_to", [0, 1])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_pages_that_lead_back_are_refused(tmp_path, back_to, bigtiff):
    """The last page names an earlier one, or itself, as the next."""
    path = tmp_path / "a.tif"
    pages = np.arange(2 * 30 * 30, dtype=np.uint16).reshape(2, 30, 30)
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        for page in pages:
            writer.write(page, metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as file:
        offsets = [page.offset for page in file.pages]
        kind, size = file.tiff.tagnoformat, file.tiff.tagnosize
        file.filehandle.seek(offsets[1])
        (n_tags,) = struct.unpack(kind, file.filehandle.read(size))
        at = offsets[1] + size + n_tags * file.tiff.tagsize
        content = struct.pack(file.tiff.offsetformat, offsets[back_to])
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(data)
    with pytest.raises(ValueError, match="names an earlier page as the next one"):
        read_image(path)


def test_a_zarr_of_planes_without_end_is_refused(tmp_path):
    zarr = pytest.importorskip("zarr", minversion="3.1")
    shape, chunks = (10**12, 64, 64), (1, 64, 64)
    zarr.create_array(tmp_path / "z.zarr", shape=shape, chunks=chunks, dtype="u2")
    words = ["predict", "z.zarr", "-o", "o", "--axes", "TYX"]
    done = call_blinkcore(*words, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert "1,000,000,000,000 planes" in done.stderr


@posix
@pytest.mark.parametrize(
    ("output", "said"),
    [("o", "cells.csv: File too large"), ("o/all.csv", "could not be written")],
)
def test_a_disk_that_takes_no_more_is_told(examples, tmp_path, output, said):
    """By the limit that the system sets on files, as a quota does."""
    import resource  # not on Windows

    done = subprocess.run(
        [BLINKCORE, "predict", examples / "cells.tif", "-o", tmp_path / output],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )  # fmt: skip
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "o").glob("*.csv"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="of Linux")  # noqa: PTH110
def test_a_full_disk_behind_standard_output_is_told(examples):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [BLINKCORE, "predict", examples / "cells.tif", "-o", "-"], stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
