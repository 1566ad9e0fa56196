"""The shift between channels from an image of beads."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore.colocalization.shift import Shift
from programs import call_blinkcore
from two_channels import SHAPE, places


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
    assert (shift.z_unit, shift.pixel_size) == ("um", 0.1)
    assert shift.offset_z == pytest.approx(-0.24, abs=0.01)  # 1.2 planes of 0.2 µm
    # In planes that lie further apart it is fewer planes.
    for size, said in (
        ("0.2,0.1,0.1", "s: 25 of 25"),
        ("0.5,0.1,0.1", "s: 0 of 25"),
        ("0.1", "the distance of planes of s is not known"),
        ("0.4,0.2,0.2", "the shift is of images with 0.1 µm a pixel, and s has 0.2"),
    ):
        again = call_blinkcore(
            "colocalize", "s.csv", "-o", "again", "--distance", "1", "--pixel-size",
            size, "--calibration", "c/shift.json", cwd=tmp_path,
        )  # fmt: skip
        assert said in again.stderr
        assert (again.returncode == 2) == ("spots are pairs" not in again.stderr)
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


def test_a_shift_of_stacks_is_for_flat_images_too(tmp_path):
    shift = Shift("translation", ((1, 0), (0, 1)), (0.0, 2.0), 9, 0.1, 0.5, "um", 0.1)
    shift.save(tmp_path / "shift.json")
    spots = pd.DataFrame({"channel": [0, 1], "y": [5.0, 5], "x": [7.0, 5]})
    spots.to_csv(tmp_path / "flat.csv", index=False)
    done = call_blinkcore(
        "colocalize", "flat.csv", "-o", "c", "--distance", "1", "--calibration",
        "shift.json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 of 1" in done.stderr
