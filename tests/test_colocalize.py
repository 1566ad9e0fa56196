"""The command that compares two channels."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore.colocalization.shift import Shift
from programs import call_blinkcore
from two_channels import SHAPE, two_channels


@pytest.fixture
def results(tmp_path, general):
    """Results of predict for an image of two channels with a shift, and its cells."""
    from batches import run
    from blinkcore.batch.options import Options
    from blinkcore.simulation.stacks import simulate_stack

    first, second = two_channels(shift=(2.0, -3.0))
    rng = np.random.default_rng(0)
    pixels = [
        simulate_stack((1, *SHAPE), np.column_stack([np.zeros(len(p)), p]), rng).pixels[
            0
        ]
        for p in (first, second)
    ]
    tifffile.imwrite(
        tmp_path / "m.tif", np.stack(pixels), imagej=True, resolution=(10, 10),
        metadata={"axes": "CYX", "unit": "um"},
    )  # fmt: skip
    rows, cols = np.indices(SHAPE) // 32
    cells = (1 + 8 * rows + cols).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m_masks.tif", cells, photometric="minisblack")
    run([tmp_path / "m.tif"], Options(general, tmp_path / "spots"))
    return tmp_path


def test_the_command_corrects_the_shift_and_says_what_chance_gives(results):
    done = call_blinkcore(
        "colocalize", results / "spots", "-o", results / "c", "--shift", "translation",
        "--distance", "0.15um", "--labels", results / "m_masks.tif",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "shift of the second channel: -2.0" in done.stderr
    assert "m: 15 of 30 and 30 spots are pairs; by chance 0" in done.stderr
    table = pd.read_csv(results / "c" / "colocalization.csv")
    whole = table[table["cell"].isna()].iloc[0]
    assert whole["n_pairs"] == 15
    assert whole["fraction_first"] == 0.5
    # Every pair lies in a cell of 32 px, as the second channel is after the correction.
    assert table["n_pairs"][table["cell"].notna()].sum() == 15
    one, other = (
        pd.read_csv(results / "c" / f"m.{side}.csv") for side in ("first", "second")
    )
    paired = one[one["partner"] >= 0]
    assert len(paired) == 15
    np.testing.assert_array_equal(other["partner"][paired["partner"]], paired.index)
    assert paired["partner_distance"].max() < 1.5


def test_a_shift_of_beads_is_used_for_other_images(results):
    done = call_blinkcore(
        "colocalize", results / "spots", "-o", results / "c", "--shift", "translation",
        "--calibration", results / "spots" / "m.csv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    again = call_blinkcore(
        "colocalize", results / "spots", "-o", results / "d",
        "--calibration", results / "c" / "shift.json",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    one, other = (results / n / "colocalization.csv" for n in "cd")
    assert one.read_text() == other.read_text()
    assert (
        json.loads((results / "d" / "shift.json").read_text())["model"] == "translation"
    )


def test_without_correction_shifted_spots_are_no_pairs(results):
    done = call_blinkcore("colocalize", results / "spots", "-o", results / "c")
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(results / "c" / "colocalization.csv")["n_pairs"][0] < 5


def test_images_with_one_channel_are_left_out_by_name(tmp_path, caplog):
    for name in ("one/a.csv", "one/c.csv", "two/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pd.DataFrame({"y": [1.0], "x": [1.0]}).to_csv(tmp_path / name, index=False)
    done = call_blinkcore("colocalize", "one", "two", "-o", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "c is left out" in caplog.text
    assert "a: 1 of 1 and 1" in done.stderr
    done = call_blinkcore(
        "colocalize", "one", "two", "-o", "c", "--distance", "1um", "--pixel-size",
        "0.5", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_results_of_the_same_images_pair_whatever_they_are_called(tmp_path):
    spots = pd.DataFrame({"image": ["in/A/a.tif", "in/B/a.tif"], "y": 1.0, "x": 1.0})
    spots.to_csv(tmp_path / "all.csv", index=False)
    for number, name in enumerate(("a_of_A", "a_of_B")):
        (tmp_path / "flat").mkdir(exist_ok=True)
        spots[number : number + 1].to_csv(
            tmp_path / "flat" / f"{name}.csv", index=False
        )
    done = call_blinkcore("colocalize", "all.csv", "flat", "-o", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(tmp_path / "c" / "colocalization.csv")["n_pairs"].tolist() == [
        1,
        1,
    ]


def test_names_that_differ_by_the_mark_of_a_channel_are_pairs(tmp_path, caplog):
    for number, well in enumerate(("A1", "A2", "B1")):
        for mark in ("w1", "w2"):
            path = tmp_path / mark / f"plate_{well}_{mark}.csv"
            path.parent.mkdir(exist_ok=True)
            pd.DataFrame({"y": [float(number)], "x": [1.0]}).to_csv(path, index=False)
    done = call_blinkcore("colocalize", "w1", "w2", "-o", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "all 3 images: 3 of 3 and 3 spots are pairs" in done.stderr
    # One that is missing does not stop the others.
    (tmp_path / "w2" / "plate_A2_w2.csv").unlink()
    done = call_blinkcore("colocalize", "w1", "w2", "-o", "d", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "all 2 images: 2 of 2 and 2 spots are pairs" in done.stderr
    assert "plate_A2_w1 is left out" in caplog.text
    # A single table fits two others as well as its own: nothing is guessed.
    done = call_blinkcore(
        "colocalize", "w1/plate_A1_w1.csv", "w2", "-o", "e", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "plate_A1_w1 is paired with plate_A1_w2" in caplog.text
    pd.DataFrame({"y": [0.0], "x": [1.0]}).to_csv(tmp_path / "w2" / "plate_A3_w1.csv")
    done = call_blinkcore(
        "colocalize", "w1/plate_A1_w1.csv", "w2", "-o", "f", cwd=tmp_path
    )
    assert done.returncode == 2


def test_a_channel_that_is_not_there_is_refused(results):
    done = call_blinkcore(
        "colocalize", results / "spots", "--channels", "0,5", cwd=results
    )
    assert done.returncode == 2
    assert "m has no channel 5" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.csv", "b.csv"], "none.csv"),
        (["a.csv"], "no column 'channel'"),
        (["a.csv", "b.csv", "--distance", "0"], "--distance must be above 0"),
        (["a.csv", "b.csv", "--distance", "1um"], "size of a pixel is not known"),
        (["a.csv", "b.csv", "--shift", "warp"], "--shift must be"),
        (["a.csv", "b.csv", "--shift", "translation"], "needs 5 pairs"),
        (["a.csv", "b.csv", "--channels", "0"], "--channels must be"),
        (["a.csv", "b.csv", "--calibration", "bad.json"], "not a shift"),
        (["one", "two"], "no image in common"),
    ],
)
def test_wrong_use_of_colocalize_is_one_sentence(tmp_path, words, said):
    for name in ("a.csv", "b.csv", "one/a.csv", "one/c.csv", "two/b.csv", "two/d.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pd.DataFrame({"y": [1.0], "x": [1.0]}).to_csv(tmp_path / name, index=False)
    (tmp_path / "bad.json").write_text("{}")
    done = call_blinkcore("colocalize", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_with_nothing_is_no_pair(tmp_path):
    pd.DataFrame({"y": [], "x": []}).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "b.csv").write_bytes((tmp_path / "a.csv").read_bytes())
    done = call_blinkcore("colocalize", "a.csv", "b.csv", "-o", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 of 0 and 0 spots are pairs" in done.stderr
    done = call_blinkcore("colocalize", "a.csv", "a.csv", "-o", "c", cwd=tmp_path)
    assert done.returncode == 2
    assert "a.csv is given twice" in done.stderr


def spots_of(path, name, n_frames, n=4, seed=0):
    """Write random spots of two channels in a movie of 64 x 64 px."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(n_frames), 2 * n)
    places = rng.uniform(0, 63, (len(frame), 2)).round(3)
    channel = np.tile(np.repeat([0, 1], n), n_frames)
    table = {"frame": frame, "channel": channel, "y": places[:, 0], "x": places[:, 1]}
    pd.DataFrame(table).to_csv(path / f"{name}.csv", index=False)


def test_chance_adds_up_over_frames(tmp_path):
    """Few spots in each of many frames: as many pairs as a Poisson variable scatters."""
    for number in range(2):
        (tmp_path / "in").mkdir(exist_ok=True)
        spots_of(tmp_path / "in", f"m{number}", 300, seed=number)
    done = call_blinkcore("colocalize", "in", "-o", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    totals = pd.read_csv(tmp_path / "c" / "colocalization_of_images.csv")
    expected = 300 * 16 * np.pi * 4 / 64**2
    assert list(totals["chance"]) == pytest.approx([expected] * 2, rel=0.15)
    half = (totals["chance_high"] - totals["chance_low"]) / 2
    assert (half > 1.5 * np.sqrt(expected)).all()
    assert (half < 2.5 * np.sqrt(expected)).all()
    rows = pd.read_csv(tmp_path / "c" / "colocalization.csv")
    assert rows.groupby("image")["n_pairs"].sum().tolist() == list(totals["n_pairs"])
    assert f"all 2 images: {totals['n_pairs'].sum()} of 2400" in done.stderr
    # Each frame has random places of its own.
    assert rows["chance"].nunique() > 10


def test_cells_without_spots_are_rows(results):
    done = call_blinkcore(
        "colocalize", results / "spots", "-o", results / "c", "--labels",
        results / "m_masks.tif", cwd=results,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(results / "c" / "colocalization.csv")
    cells = table[table["cell"].notna()]
    assert len(cells) == 64
    assert (cells["n_first"] == 0).any()
    about = json.loads((results / "c" / "colocalization.json").read_text("utf-8"))
    assert about["step"] == "colocalize"
    assert about["options"]["labels"].endswith("m_masks.tif")


def test_planes_of_unknown_distance_are_said(tmp_path, caplog):
    spots = {"channel": [0, 1], "z": [1.0, 2.5], "y": [5.0, 5], "x": [5.0, 5]}
    pd.DataFrame(spots).to_csv(tmp_path / "s.csv", index=False)
    done = call_blinkcore("colocalize", "s.csv", "-o", "c", cwd=tmp_path)
    assert "the distance of planes is not known, so a plane counts as" in caplog.text
    assert "1 of 1" in done.stderr
    words = ["colocalize", "s.csv", "-o", "c", "--distance", "300nm", "--pixel-size"]
    done = call_blinkcore(*words, "0.1", cwd=tmp_path)
    assert done.returncode == 2
    assert "--distance 300nm: the distance of planes is not known" in done.stderr
    done = call_blinkcore(*words, "0.3,0.1,0.1", cwd=tmp_path)
    assert "0 of 1" in done.stderr


def test_the_tables_that_are_read_are_never_replaced(tmp_path):
    spots_of(tmp_path, "m", 3)
    before = (tmp_path / "m.csv").read_bytes()
    for command in ("colocalize", "link"):
        for source, output in (("m.csv", "."), (".", "."), ("m.csv", tmp_path)):
            done = call_blinkcore(command, source, "-o", output, cwd=tmp_path)
            assert done.returncode == 2
            assert "is the folder of the spots" in done.stderr
    assert (tmp_path / "m.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_another_table_in_the_folder_is_left_out(tmp_path, caplog):
    spots_of(tmp_path, "m", 3)
    (tmp_path / "samples.csv").write_text("image,condition\nm.tif,a\n")
    done = call_blinkcore("colocalize", ".", "-o", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "samples.csv has no columns" in caplog.text


def test_the_kind_of_a_kept_shift_is_not_changed_in_silence(results):
    kept = Shift("translation", ((1.0, 0.0), (0.0, 1.0)), (1.0, 2.0), 9, 0.1)
    kept.save(results / "shift.json")
    done = call_blinkcore(
        "colocalize", results / "spots", "--shift", "affine", "--calibration",
        results / "shift.json", cwd=results,
    )  # fmt: skip
    assert done.returncode == 2
    assert "shift.json holds a translation" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--largest-shift", "-5"], "--largest-shift must be above 0"),
        (["--largest-shift", "nan"], "--largest-shift must be above 0"),
        (["--channels", "0,0"], "--channels must be two different ones"),
        (["--distance", "0"], "--distance must be above 0"),
        (["--shift", "warp"], "--shift must be none or translation or affine"),
    ],
)
def test_options_that_make_no_sense_are_a_sentence(tmp_path, words, said):
    spots_of(tmp_path, "m", 3)
    done = call_blinkcore("colocalize", "m.csv", "-o", "c", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_masks_of_a_plain_table_need_no_size_of_its_image(tmp_path):
    spots_of(tmp_path, "m", 1)
    tifffile.imwrite(tmp_path / "masks.tif", np.ones((128, 130), np.uint8))
    done = call_blinkcore(
        "colocalize", "m.csv", "-o", "c", "--labels", "masks.tif", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    cells = pd.read_csv(tmp_path / "c" / "colocalization.csv")["cell"]
    assert cells.dropna().tolist() == [1]
