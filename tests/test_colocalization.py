"""Spots of two channels: pairs, the level of chance, the shift between them."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore.colocalization.colocalize import (
    colocalize,
    shuffled_in_field,
    shuffled_in_regions,
)
from blinkcore.colocalization.shift import Shift, estimate_shift
from programs import call_blinkcore

SHAPE = (256, 256)


def places(n=30, seed=0, apart=14.0):
    """Places that are a distance apart: a jittered grid, in random order."""
    rng = np.random.default_rng(seed)
    side = int(SHAPE[0] // apart)
    cells = rng.permutation(side * side)[:n]
    grid = np.stack(np.divmod(cells, side), axis=1) * apart + apart / 2
    return grid + rng.uniform(-1.5, 1.5, (n, 2))


def two_channels(n=30, n_shared=15, shift=(0.0, 0.0), seed=0):
    """Fifteen of thirty spots in both channels, at the same places but for noise."""
    rng = np.random.default_rng(seed + 1)
    every = places(2 * n - n_shared, seed)
    first, second = every[:n], every[n - n_shared :]
    return first, second + rng.normal(0, 0.2, second.shape) + shift


def test_pairs_and_their_distances_are_found():
    first, second = two_channels()
    draw = shuffled_in_field(second, SHAPE, np.ones(2))
    found = colocalize(first, second, distance=2.0, shuffled=draw)
    assert len(found.rows) == 15
    assert found.distance.max() < 1.0
    np.testing.assert_array_equal(found.rows[:, 0] - found.rows[:, 1], 15)
    assert found.low <= found.chance <= found.high < 10


def test_chance_is_that_of_random_places():
    """Pairs to expect: spots times the area around the others, over the field."""
    rng = np.random.default_rng(0)
    first, second = (rng.uniform(-0.5, 255.5, (200, 2)) for _ in range(2))
    draw = shuffled_in_field(second, SHAPE, np.ones(2))
    found = colocalize(first, second, distance=2.0, shuffled=draw)
    expected = 200 * 200 * np.pi * 4 / 256**2
    assert found.chance == pytest.approx(expected, rel=0.1)
    assert found.low <= len(found.rows) <= found.high + 3


def test_chance_within_cells_is_higher_than_in_the_field():
    """Spots of both channels crowd in small cells: together by that alone."""
    rng = np.random.default_rng(0)
    first, second = (rng.uniform(100, 120, (20, 2)) for _ in range(2))
    plane = np.zeros(SHAPE, int)
    plane[100:121, 100:121] = 1
    region = np.ones(20, int)
    inside = shuffled_in_regions(
        second, region, {1: np.argwhere(plane == 1)}, np.ones(2)
    )
    field = shuffled_in_field(second, SHAPE, np.ones(2))
    in_cell = colocalize(first, second, distance=2.0, shuffled=inside)
    in_field = colocalize(first, second, distance=2.0, shuffled=field)
    assert in_cell.chance > 5 * max(in_field.chance, 0.1)
    assert in_cell.low <= len(in_cell.rows) <= in_cell.high
    drawn = inside(rng)
    assert drawn.min() >= 99.5
    assert drawn.max() <= 120.5


@pytest.mark.parametrize("offset", [(0.0, 0.0), (3.4, -6.2), (-8.5, 0.7)])
def test_a_translation_is_found_among_chance_pairs(offset):
    first, second = two_channels(n=60, n_shared=30, shift=offset)
    shift = estimate_shift([first], [second])
    np.testing.assert_allclose(np.add(shift.offset, offset), 0, atol=0.15)
    assert shift.n_pairs >= 29
    assert shift.residual < 0.4


def test_an_affine_shift_is_found_and_kept_in_a_file(tmp_path):
    first = places(100)
    turn = np.array([[1.004, 0.003], [-0.003, 0.997]])
    second = (first - (2.0, -1.0)) @ np.linalg.inv(turn).T
    shift = estimate_shift([first], [second], model="affine")
    np.testing.assert_allclose(shift.matrix, turn, atol=1e-6)
    np.testing.assert_allclose(shift.apply(second), first, atol=1e-6)
    shift.save(tmp_path / "shift.json")
    assert Shift.load(tmp_path / "shift.json") == shift


def test_the_shift_along_z_is_the_median_of_the_pairs(tmp_path):
    first, second = two_channels(n=60, n_shared=30, shift=(1.0, -2.0))
    rng = np.random.default_rng(5)
    z = rng.uniform(0, 40, 90)
    first = np.column_stack([z[:60], first])
    second = np.column_stack([z[30:] + 2.5 + rng.normal(0, 0.1, 60), second])
    shift = estimate_shift([first], [second])
    assert shift.offset_z == pytest.approx(-2.5, abs=0.1)
    np.testing.assert_allclose(shift.offset, (-1.0, 2.0), atol=0.15)
    shift.save(tmp_path / "shift.json")
    assert Shift.load(tmp_path / "shift.json") == shift


def test_beads_are_found_in_their_stack_and_correct_all_three_axes(tmp_path):
    from blinkcore.simulation.stacks import simulate_stack

    rng = np.random.default_rng(0)
    places_of_beads = places(25, apart=40.0)
    z = rng.uniform(4, 8, 25)
    pixels = [
        simulate_stack(
            (13, *SHAPE), np.column_stack([z + dz, places_of_beads + offset]), rng
        ).pixels
        for dz, offset in ((0.0, (0.0, 0.0)), (1.2, (1.5, -2.5)))
    ]
    about = {"axes": "ZCYX", "unit": "um", "spacing": 0.2}
    tifffile.imwrite(
        tmp_path / "beads.tif", np.stack(pixels, axis=1), imagej=True,
        resolution=(10, 10), metadata=about,
    )  # fmt: skip
    spots = pd.DataFrame({"channel": 0, "z": z, "y": 5.0, "x": places_of_beads[:, 1]})
    spots["y"] = places_of_beads[:, 0]
    other = spots.assign(channel=1, z=z + 1.2, y=spots["y"] + 1.5, x=spots["x"] - 2.5)
    pd.concat([spots, other]).to_csv(tmp_path / "s.csv", index=False)
    command = ["colocalize", "s.csv", "-o", "c", "--distance", "1", "--pixel-size"]
    done = call_blinkcore(
        *command, "0.2,0.1,0.1", "--calibration", "beads.tif", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "s: 25 of 25 and 25 spots are pairs" in done.stderr
    shift = Shift.load(tmp_path / "c" / "shift.json")
    assert shift.model == "affine"
    assert shift.offset_z == pytest.approx(-2.4, abs=0.1)  # 1.2 planes of 2 px
    # A shift in px of x means fewer planes where they lie further apart.
    for name, z_size, n in (("same", "0.2", 25), ("other", "0.5", 0)):
        again = call_blinkcore(
            "colocalize", "s.csv", "-o", name, "--distance", "1", "--pixel-size",
            f"{z_size},0.1,0.1", "--calibration", "c/shift.json", cwd=tmp_path,
        )  # fmt: skip
        assert f"s: {n} of 25" in again.stderr
    (tmp_path / "folder").mkdir()
    (tmp_path / "beads.tif").rename(tmp_path / "folder" / "beads.tif")
    done = call_blinkcore(
        *command, "0.2,0.1,0.1", "--calibration", "folder", cwd=tmp_path
    )
    assert "s: 25 of 25" in done.stderr
    flat = tmp_path / "flat.tif"
    tifffile.imwrite(flat, np.zeros((64, 64), np.uint8))
    done = call_blinkcore(*command, "0.1", "--calibration", flat, cwd=tmp_path)
    assert done.returncode == 2
    assert "flat.tif has no channel 1" in done.stderr


def test_too_few_pairs_are_a_sentence():
    with pytest.raises(ValueError, match="needs 5 pairs of spots, and there are"):
        estimate_shift([places(3)], [places(3, seed=9)])
    with pytest.raises(ValueError, match="needs 12 pairs"):
        estimate_shift([places(8)], [places(8)], model="affine")


@pytest.fixture
def results(tmp_path, general):
    """Results of predict for an image of two channels with a shift, and its cells."""
    from batches import run
    from blinkcore.batch.run import Options
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
    done = call_blinkcore("colocalize", "a.csv", "a.csv", "-o", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 of 0 and 0 spots are pairs" in done.stderr
