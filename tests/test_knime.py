"""What the KNIME nodes share: their runner, with the real program."""

import importlib
import re
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tifffile

import blinkcore
from blinkcore import predict
from test_knime_nodes import PORTS

KNIME = Path(__file__).parents[1] / "knime"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def cli():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(KNIME / "src"))
        yield importlib.import_module("blinkcore_cli")


def test_every_node_is_described_and_tried():
    """Also where KNIME's backend, which `test_knime_nodes` needs, is not there."""
    text = "".join(p.read_text("utf-8") for p in (KNIME / "src").glob("*_nodes.py"))
    ids, names = (set(re.findall(rf'{word}="(.+?)"', text)) for word in ("id", "name"))
    assert ids == set(PORTS)
    readme = (KNIME / "README.md").read_text("utf-8")
    assert all(f"**{n}**" in readme for n in names if n.endswith("(blinkcore)"))


@pytest.fixture(scope="session")
def results(cli):
    return importlib.import_module("blinkcore_results")


def promised(cli, table, **chosen):
    kinds = cli.columns(**chosen)
    assert list(table.columns) == list(kinds)
    for name, kind in kinds.items():
        if kind != "string":
            assert table[name].dtype == kind, name
    assert table.index.equals(pd.RangeIndex(len(table)))


def test_spots_are_those_of_the_program(cli, images):
    shares = []
    found = cli.predict(
        images, n_pictures=1, progress=lambda share, text: shares.append(share)
    )
    promised(cli, found.spots)
    expected = predict(images[0])
    assert len(expected) > 10
    own = found.spots[found.spots["image"] == images[0]]
    np.testing.assert_allclose(own[["y", "x"]], expected[["y", "x"]], atol=1e-4)
    assert found.failed == []
    assert shares[-1] == 1.0
    (picture,) = found.pictures
    assert picture[:4] == b"\x89PNG"


def test_the_bar_moves_within_a_movie(cli, images, tmp_path):
    movie, shares = tmp_path / "movie.tif", []
    planes = np.stack([tifffile.imread(images[0])] * 3)
    tifffile.imwrite(movie, planes, imagej=True, metadata={"axes": "TYX"})
    paths = [images[0], str(movie)]
    cli.predict(paths, progress=lambda share, text: shares.append((share, text)))
    assert shares == sorted(shares)
    assert (shares[0][0], shares[-1][0]) == (0.5, 1.0)
    assert all(text == str(movie) for share, text in shares if share > 0.5)
    assert len(shares) > 2


def test_no_images_and_no_spots_keep_the_schema(cli, images):
    promised(cli, cli.predict([]).spots)
    found = cli.predict([images[1]], measured=cli.DISK)
    promised(cli, found.spots, measured=cli.DISK)
    assert len(found.spots) == 0


def test_a_broken_image_is_named_and_the_others_are_done(cli, images, tmp_path):
    broken = tmp_path / "text.tif"
    broken.write_text("no image")
    found = cli.predict([str(broken), *images])
    assert len(found.failed) == 1
    assert "text.tif" in found.failed[0]
    assert set(found.spots["image"]) == {images[0]}


def test_the_programs_sentence_is_the_error(cli, images):
    with pytest.raises(cli.program.ProgramError, match="there is no model 'nosuch'"):
        cli.predict(images, model="nosuch")
    with pytest.raises(cli.program.ProgramError, match="there is no model 'nosuch'"):
        cli.model_metadata("nosuch")


def test_more_paths_than_a_command_line_holds_go_through_a_file(cli, tmp_path):
    # Windows takes 32,767 characters.
    paths = [tmp_path / f"{i:04d}.png" for i in range(700)]
    small = PIL.Image.fromarray(np.full((8, 8), 9, np.uint8))
    for path in paths:
        small.save(path)
    shares = []
    found = cli.predict(list(map(str, paths)), progress=lambda s, _: shares.append(s))
    assert found.failed == []
    assert sum(len(str(path)) for path in paths) > 32_767
    assert len(shares) == len(paths)
    assert shares[-1] == 1.0


def test_a_file_that_is_given_often_is_searched_once(cli, images):
    once = cli.predict(images[:1])
    often = cli.predict(["", *[images[0]] * 6, " "], n_pictures=4)
    pd.testing.assert_frame_equal(often.spots, once.spots)
    assert len(often.pictures) == 1
    assert len(cli.predict(["", " "]).spots) == 0
    folder = str(Path(images[0]).parent)
    both = cli.predict([folder, images[1], images[0]], n_pictures=1)
    assert len(both.spots) == len(once.spots)
    assert both.n_inputs == 2


def test_tables_without_a_common_image_are_a_sentence(cli):
    truth = pd.DataFrame({"image": ["/a/x.tif"], "y": [1.0], "x": [1.0]})
    with pytest.raises(cli.program.ProgramError, match="no image is in both tables"):
        cli.evaluate(truth, truth.assign(image="x.tif"), cutoff=3.0)
    nothing = truth.iloc[:0]
    assert cli.evaluate(nothing, nothing, cutoff=3.0)["n_truth"] == 0


def test_cancel_ends_the_program_within_a_second(cli, tmp_path):
    big = tmp_path / "big.tif"
    tifffile.imwrite(big, np.zeros((200, 1024, 1024), np.uint8), imagej=True)
    canceled = threading.Event()
    threading.Timer(3.0, canceled.set).start()
    moment = []

    def is_canceled():
        if canceled.is_set() and not moment:
            moment.append(time.monotonic())
        return canceled.is_set()

    with pytest.raises(cli.program.Canceled):
        cli.predict([str(big)], is_canceled=is_canceled)
    assert time.monotonic() - moment[0] < 1.5  # not a speed: a promise to the host


def test_scores_are_those_of_the_program(cli):
    truth = pd.DataFrame(
        {"image": ["a", "a", "b"], "y": [1.0, 20, 5], "x": [1.0, 9, 5]}
    )
    detected = truth.assign(y=truth["y"] + 1.0).iloc[[0, 2]]
    scores = cli.evaluate(truth, detected, cutoff=1.5)
    assert scores["recall"] == pytest.approx((0.5 + 1.0) / 2)
    assert scores["precision"] == 1.0
    assert scores["rmse"] == pytest.approx(1.0)
    assert cli.evaluate(truth, detected, cutoff=0.5)["f1"] == 0.0


def test_the_layout_is_what_knime_needs():
    assert not (KNIME / "__init__.py").exists()
    assert not (KNIME / "extension.py").exists()
    assert (KNIME / "src" / "blinkcore_nodes.py").exists()
    with PIL.Image.open(KNIME / "icons" / "blinkcore.png") as icon:
        assert icon.size == (16, 16)
    text = (KNIME / "knime.yml").read_text(encoding="utf-8")
    assert f'version: "{blinkcore.__version__}"' in text  # a string, not a number
    assert "extension_module: src/blinkcore_nodes\n" in text


def test_evaluation_knows_images_without_labels_or_detections(cli):
    """The detection node always gives frame, channel and z; labels need not."""
    truth = pd.DataFrame({"image": ["a", "b"], "y": [1.0, 5], "x": [1.0, 5]})
    zero = {"frame": 0, "channel": 0, "z": 0.0}
    same = cli.evaluate(truth, truth.assign(**zero), cutoff=3.0)
    assert same["f1"] == 1.0
    detected = pd.DataFrame({"image": ["a", "c"], "y": [1.0, 5], "x": [1.0, 5]})
    scores = cli.evaluate(truth, detected.assign(**zero), cutoff=3.0)
    assert scores["recall"] < 0.7
    assert scores["precision"] < 0.7


def test_a_late_failure_is_an_error(cli, images, monkeypatch):
    def full(words, status, tell, is_canceled):
        content = {"ok": False, "error": "disk full", "failed": []}
        status.write_text(__import__("json").dumps(content))
        return ""

    monkeypatch.setattr(cli.program, "run", full)
    with pytest.raises(cli.program.ProgramError, match="disk full"):
        cli.predict(images)


def test_counts_of_no_spots_and_no_images(cli, results):
    spots = cli.predict([]).spots
    assert len(results.counts(spots, pd.DataFrame({"image": []}))) == 0
    table = results.counts(spots, pd.DataFrame({"image": ["a", "b", "a"]}))
    assert table["image"].tolist() == ["a", "b"]
    assert table.dtypes.map(str).tolist() == ["string", *["int64"] * 3, "float64"]


def test_counts_have_each_frame_and_channel_that_was_searched(cli, results, tmp_path):
    spot = 400 * np.exp(-np.add.outer(*[np.arange(-8, 9) ** 2] * 2) / (2 * 1.3**2))
    rng = np.random.default_rng(0)
    pixels = rng.poisson(50, (3, 2, 64, 64)).astype(np.uint16)
    pixels[1, 0, 20:37, 20:37] += spot.astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", pixels, imagej=True, metadata={"axes": "TCYX"})
    found = cli.predict([str(tmp_path / "m.tif")])
    assert {n: str(t) for n, t in found.counts.dtypes.items()} == cli.COUNTS
    assert found.counts["n"].tolist() == [0, 0, 1, 0, 0, 0]
    assert found.counts.loc[2, "low"] <= found.counts.loc[2, "expected"] <= 1
    again = results.counts(found.spots, found.counts)
    places = ["image", "frame", "channel"]
    both = again.merge(found.counts, on=places, suffixes=("", "_all"))
    assert len(both) == len(again) == 6
    assert both["n"].tolist() == both["n_all"].tolist()
    # Spots that a filter left out count 0 in their frame.
    none = results.counts(found.spots.iloc[:0], found.counts)
    assert none["n"].tolist() == [0] * 6


def test_fits_and_cells_have_columns(cli, images, tmp_path):
    (tmp_path / "masks").mkdir()
    shape = tifffile.imread(images[0]).shape
    mask = np.zeros(shape, np.uint8)
    mask[:, : shape[1] // 2] = 3
    tifffile.imwrite(tmp_path / "masks" / "x_masks.tif", mask)
    chosen = {"measured": cli.FIT, "labels": str(tmp_path / "masks")}
    spots = cli.predict(images[:1], **chosen).spots
    promised(cli, spots, measured=cli.FIT, labelled=True)
    assert (spots["sigma"] > 0.5).mean() > 0.7  # the others overlap
    assert set(spots["cell"]) == {0, 3}
    assert spots.loc[spots["cell"] == 3, "border_distance"].notna().all()
    promised(cli, cli.predict([]).spots)
    disk = cli.predict(images[:1], measured=cli.DISK, radius=2.0).spots
    promised(cli, disk, measured=cli.DISK)
    assert disk["intensity"].notna().all()


def test_warnings_of_the_program_reach_the_user(cli, images, tmp_path):
    pixels = tifffile.imread(images[0])
    clipped = np.where(pixels < np.quantile(pixels, 0.7), 0, pixels)
    tifffile.imwrite(tmp_path / "c.tif", clipped)
    found = cli.predict([str(tmp_path / "c.tif")])
    assert "have the smallest value" in found.warnings[0]
    assert cli.predict(images[:1]).warnings == ()


def test_columns_are_those_of_the_program(cli):
    from blinkcore.detection.fit import NAMES
    from blinkcore.detection.measure import NAMES as MEASURED
    from blinkcore.spots import COLUMNS

    assert cli.MEASURED[cli.FIT] == NAMES
    assert sorted(cli.MEASURED[cli.DISK]) == sorted(MEASURED)
    for measured in cli.MEASURED:
        known = cli.columns(measured=measured, labelled=True)
        assert set(known) <= set(COLUMNS)


def test_a_file_of_several_images_is_no_empty_image_beside_them(results):
    spots = pd.DataFrame({"image": ["a.czi#0", "a.czi#1"], "probability": 1.0})
    table = results.counts(spots, pd.DataFrame({"image": ["a.czi", "b.czi"]}))
    assert table["image"].tolist() == ["a.czi#0", "a.czi#1", "b.czi"]
    assert table["n"].tolist() == [1, 1, 0]


def test_tracks_belong_to_the_rows_that_they_came_with(results):
    spots = pd.DataFrame(
        {"image": ["a", "b", "a", "b", "a"], "frame": [0, 0, 1, 1, 0],
         "y": [1.0, 7.0, 2.0, 7.5, 40.0], "x": 5.0, "mine": list("vwxyz")},
        index=[3, 1, 4, 0, 9],
    )  # fmt: skip
    options = {"--radius": 3.0, "--gap": 0, "--splitting": False, "--pixel-size": "0.1"}
    linked, tracks, warnings = results.link(spots, options)
    assert warnings == []
    _, _, warnings = results.link(spots.assign(z=[0.0, 0, 1, 0, 2]), {"--radius": 3.0})
    assert "a: " in warnings[0]
    assert "the distance of planes is not known" in warnings[0]
    assert {n: str(t) for n, t in tracks.dtypes.items()} == results.TRACKS
    one = tracks.set_index("track").loc[linked["track"].iloc[0]]
    assert one["image"] == "a"
    assert one["n_spots"] == 2
    assert one["length"] == pytest.approx(0.1)
    assert (one["length_unit"], one["time_unit"]) == ("µm", "frame")
    assert sorted(tracks["track"]) == sorted(set(linked["track"]))
    assert linked.index.tolist() == spots.index.tolist()
    assert linked["mine"].tolist() == list("vwxyz")
    a, b, a_too, b_too, alone = linked["track"]
    assert a == a_too
    assert b == b_too
    assert len({a, b, alone}) == 3


def test_each_image_has_its_number_or_its_error(cli, images, tmp_path):
    broken = tmp_path / "b.tif"
    broken.write_text("no image")
    found = cli.predict([*images, str(broken)])
    table = found.images.set_index("image")
    assert table.loc[images, "n"].tolist() == [len(found.spots), 0]
    assert table.loc[images, "error"].isna().all()
    assert "b.tif" in table.loc[str(broken), "error"]
    assert table["n"].isna().tolist() == [False, False, True]
    assert len(cli.predict([" "]).images) == 0
