"""What users feed a program: each gets its sentence or its spots, and loses nothing.

All of them go through one run of the installed program, between two good images.
"""

import io
import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from blinkcore.evaluation.scores import evaluate
from blinkcore.io import read_image, tables
from programs import run_blinkcore

RNG = np.random.default_rng(0)
GREY = RNG.poisson(100, (64, 80)).astype(np.uint16)
for row, col in ((20, 25), (20, 60), (45, 40)):  # three spots in every odd image
    GREY[row - 1 : row + 2, col - 1 : col + 2] += np.uint16(
        [[150, 250, 150], [250, 400, 250], [150, 250, 150]]
    )
SPOTS = {"some_nan.tif": 3, "half.tif": 3, "uint64.tif": 3, "big_endian.tif": 3,
         "big_tiff.tif": 3, "two_sizes.tif": 3, "singletons.tif": 3, "-dash.tif": 3,
         "ümläut β.tif": 3, "comma, semicolon;.tif": 3, "png_named.tif": 3,
         "infinite.tif": 3, "huge_values.tif": 3, "constant.tif": 0, "zeros.tif": 0,
         "saturated.tif": 0, "all_nan.tif": 0, "one_pixel.tif": 0, "int64.tif": 0}  # fmt: skip
COLOUR = RNG.integers(0, 255, (64, 80, 3), np.uint8)


def tif(data, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, data, **({"photometric": "minisblack"} | options))
    return buffer.getvalue()


def pages(*arrays):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for array in arrays:
            file.write(array, photometric="minisblack", contiguous=False, metadata=None)
    return buffer.getvalue()


def pil(data, format_, mode=None):
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(data)
    (picture.convert(mode) if mode else picture).save(buffer, format_)
    return buffer.getvalue()


def changed(data, at, value):
    result = data.astype(np.float32)
    result[at] = value
    return result


OME_XML = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" '
    'SizeX="80" SizeY="64" SizeC="2" SizeZ="1" SizeT="1"><Channel ID="Channel:0:0" '
    'SamplesPerPixel="1"/><TiffData IFD="0" FirstC="0"><UUID FileName="part0.ome.tif">'
    'urn:uuid:1</UUID></TiffData><TiffData IFD="0" FirstC="1"><UUID '
    'FileName="gone.ome.tif">urn:uuid:2</UUID></TiffData></Pixels></Image></OME>'
)

# Name, content, and what the sentence says; None: it is an image.
CORPUS = [
    ("text.tif", b"hello\nworld\n", "not a TIFF, PNG or JPEG file"),
    ("page.tif", b"<!DOCTYPE html><html></html>", "not a TIFF, PNG or JPEG"),
    ("zip.tif", b"PK\x03\x04" + bytes(60), "not a TIFF, PNG or JPEG file"),
    ("gif.tif", pil(COLOUR, "GIF"), "not a TIFF, PNG or JPEG file"),
    ("zero_length.tif", b"", "is empty"),
    ("one_byte.tif", b"I", "not a TIFF, PNG or JPEG file"),
    ("only_magic.tif", b"II*\x00", "damaged or not a TIFF"),
    ("header_only.tif", tif(GREY)[:8], "damaged or not a TIFF"),
    ("truncated.tif", tif(GREY)[:-500], "it ends after"),
    ("truncated_lzw.tif", tif(GREY, compression="lzw")[:-500], "damaged"),
    ("truncated_tiles.tif", tif(GREY, compression="zstd", tile=(32, 32))[:-500], "damaged"),
    ("random.tif", b"II*\x00" + RNG.bytes(5000), "damaged or not a TIFF"),
    ("ifd_far_away.tif", b"II*\x00\xff\xff\xff\x7f" + bytes(100), "damaged or not a TIFF"),
    ("no_pages.tif", b"II*\x00\x00\x00\x00\x00" + bytes(100), "damaged or not a TIFF"),
    ("magic.png", b"\x89PNG\r\n\x1a\n" + RNG.bytes(99), "damaged"),
    ("truncated.png", pil(GREY, "PNG")[:-3000], "damaged"),
    ("truncated.jpg", pil(COLOUR[..., 0], "JPEG")[:-1000], "it is cut off"),
    ("rgb.tif", tif(COLOUR, photometric="rgb"), "colour (RGB) picture"),
    ("rgb_planes.tif", tif(COLOUR.transpose(2, 0, 1), photometric="rgb",
                           planarconfig="separate"), "colour (RGB) picture"),
    ("rgb.png", pil(COLOUR, "PNG"), "colour (RGB) picture"),
    ("rgba.png", pil(COLOUR, "PNG", "RGBA"), "colour (RGB) picture"),
    ("palette.png", pil(COLOUR, "PNG", "P"), "colour (RGB) picture"),
    ("rgb.jpg", pil(COLOUR, "JPEG"), "colour (RGB) picture"),
    ("rgb_movie.tif", tif(np.stack([COLOUR] * 5), photometric="rgb"), "colour (RGB)"),
    ("three_pages.tif", pages(*[GREY] * 3), "--axes TYX or --axes ZYX"),
    ("four_pages.tif", pages(*[GREY] * 4), "--axes TYX or --axes ZYX"),
    ("five_dimensions.tif", tif(np.zeros((2, 3, 4, 8, 8), np.uint8)), "--axes TCZYX"),
    ("seven_dimensions.tif", tif(np.zeros((2,) * 5 + (8, 8), np.uint8)), "five dimensions, TCZYX"),
    ("complex.tif", tif(GREY.astype(np.complex64)), "not real numbers"),
    ("part0.ome.tif", tif(GREY, description=OME_XML, metadata=None),
     "1 of its 2 planes lie in files that are not beside"),
    ("one_pixel.tif", tif(GREY[:1, :1]), None),
    ("one_row.tif", tif(GREY[:1]), None),
    ("one_column.tif", tif(GREY[:, :1]), None),
    ("three_by_two.tif", tif(GREY[:3, :2]), None),
    ("long_row.tif", tif(np.tile(GREY[:2], (1, 500))), None),
    ("singletons.tif", tif(GREY[None, None, None]), None),
    ("constant.tif", tif(np.full((64, 80), 9, np.uint8)), None),
    ("zeros.tif", tif(np.zeros((64, 80), np.uint16)), None),
    ("saturated.tif", tif(np.full((64, 80), 65535, np.uint16)), None),
    ("all_nan.tif", tif(np.full((64, 80), np.nan, np.float32)), None),
    ("some_nan.tif", tif(changed(GREY, slice(10), np.nan)), None),
    ("infinite.tif", tif(changed(GREY, (5, 5), np.inf)), None),
    ("huge_values.tif", tif(GREY * 1e300), None),
    ("bilevel.tif", tif(GREY > 100), None),
    ("half.tif", tif(GREY.astype(np.float16)), None),
    ("int64.tif", tif(-GREY.astype(np.int64)), None),
    ("uint64.tif", tif(GREY.astype(np.uint64) + 2**40), None),
    ("big_endian.tif", tif(GREY, byteorder=">"), None),
    ("big_tiff.tif", tif(GREY, bigtiff=True), None),
    ("two_sizes.tif", pages(GREY, GREY[:20]), None),
    ("grey_as_rgb.png", pil((GREY % 256).astype(np.uint8), "PNG", "RGB"), None),
    ("png_named.tif", pil(GREY, "PNG"), None),
    ("ümläut β.tif", tif(GREY), None),
    ("comma, semicolon;.tif", tif(GREY), None),
    ("-dash.tif", tif(GREY), None),
]  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory, scene):
    """Run everything at once; gives the folder, the process and its events by name."""
    folder = tmp_path_factory.mktemp("corpus")
    names = []

    def add(name, content):
        (folder / "in").mkdir(exist_ok=True)
        (folder / "in" / name).write_bytes(content)
        names.append(name)

    add("first_good.tif", tif(scene.image))
    for name, content, _ in CORPUS:
        add(name, content)
    if os.name == "posix":
        add("new\nline.tif", tif(GREY))
        add(os.fsdecode(b"not_utf8_\xff.tif"), tif(GREY))
        os.mkfifo(folder / "in" / "pipe.tif")
        (folder / "in" / "dangling.tif").symlink_to("nowhere.tif")
        names += ["pipe.tif", "dangling.tif"]
    (folder / "in" / "folder.tif").mkdir()
    names += ["folder.tif", "missing.tif", "nothing_*.tif"]
    add("last_good.tif", tif(scene.image))
    done = run_blinkcore(
        "predict", *(folder / "in" / n for n in names), "-o", folder / "out", "--progress", "json",
        "--status", folder / "status.json",
    )  # fmt: skip
    events = {}
    for line in done.stderr.splitlines():
        if line.startswith("{"):
            event = json.loads(line)
            if event["event"] in ("result", "error"):
                events[Path(event["image"]).name] = event
    return folder, done, events


def test_a_batch_with_failures_exits_with_1_and_has_no_traceback(ran):
    _, done, _ = ran
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


def test_the_corpus_is_large_enough():
    assert len(CORPUS) >= 40


@pytest.mark.parametrize(
    ("name", "words"),
    [(n, w) for n, _, w in CORPUS if w],
    ids=[n for n, _, w in CORPUS if w],
)
def test_each_bad_file_gets_one_sentence_with_its_name(ran, name, words):
    _, _, events = ran
    event = events[name]
    assert event["event"] == "error"
    assert words in event["message"]
    assert name in event["message"] or "must be" in event["message"]
    assert "\n" not in event["message"]


@pytest.mark.parametrize(
    "name", [n for n, _, w in CORPUS if w is None] + ["first_good.tif", "last_good.tif"]
)
def test_each_odd_image_gets_a_table(ran, name):
    folder, _, events = ran
    event = events[name]
    assert event["event"] == "result", event
    table = tables.read(Path(event["output"]))
    assert {"image", "y", "x", "probability"} <= set(table.columns)
    assert len(table) == event["spots"]
    assert (Path(event["output"]).with_suffix(".json")).exists()
    image = read_image(folder / "in" / name)
    assert (table["y"] < image.size("Y") - 0.5).all()
    if len(table):
        assert set(table["image"]) == {str(folder / "in" / name)}


@pytest.mark.parametrize("name", SPOTS)
def test_the_spots_are_found_and_nothing_in_nothing(ran, name):
    event = ran[2][name]
    assert event["spots"] == SPOTS[name]
    if SPOTS[name]:
        found = tables.read(Path(event["output"]))[["y", "x"]].to_numpy()
        assert evaluate([(20, 25), (20, 60), (45, 40)], found).rmse < 0.5


def test_good_images_before_and_after_have_the_same_spots(ran):
    _, _, events = ran
    assert events["first_good.tif"]["spots"] == events["last_good.tif"]["spots"] > 50


@pytest.mark.skipif(os.name != "posix", reason="such names exist on POSIX only")
def test_line_breaks_and_foreign_bytes_in_names_do_no_harm(ran):
    folder, _, events = ran
    outputs = sorted(p.name for p in (folder / "out").glob("n*.csv"))
    assert len(outputs) == 2
    assert any("new" in n for n in events)


@pytest.mark.skipif(os.name != "posix", reason="pipes are of POSIX")
def test_a_pipe_does_not_keep_us_waiting(ran):
    assert "is not a file" in ran[2]["pipe.tif"]["message"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder.tif", "has no image in it"),
        ("missing.tif", "there is no such file or folder"),
        ("nothing_*.tif", "matches no file"),
    ],
)
def test_names_that_mean_nothing_are_named(ran, name, words):
    assert words in ran[2][name]["message"]


def test_the_status_file_counts_it_all(ran):
    folder, _, events = ran
    status = json.loads((folder / "status.json").read_text("utf-8"))
    assert status["ok"] is False
    assert status["exit_code"] == 1
    assert status["images"]["failed"] == len(status["failed"])
    assert status["images"]["failed"] + status["images"]["done"] == len(events)
    assert "text.tif" in json.dumps(status["failed"])


def test_an_unreadable_file_is_named(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tif(GREY))
    path.chmod(0)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(PermissionError):
            read_image(path)
    finally:
        if root:
            os.seteuid(0)
