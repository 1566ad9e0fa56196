"""Spots of two channels: pairs, the level of chance, the shift between them."""

import numpy as np
import pandas as pd
import pytest

from blinkcore.colocalization.channels import _exchanged, _paired_by_marks
from blinkcore.colocalization.colocalize import (
    Chance,
    colocalize,
    shuffled_in_field,
    shuffled_in_regions,
)
from blinkcore.colocalization.shift import Shift, estimate_shift
from blinkcore.detection.cells import Regions
from blinkcore.image import Image
from blinkcore.io.results import ImageSpots
from two_channels import SHAPE, places, two_channels


def test_pairs_and_their_distances_are_found():
    first, second = two_channels()
    draw = shuffled_in_field(second, SHAPE, np.ones(2))
    rng = np.random.default_rng(0)
    found = colocalize(first, second, distance=2.0, shuffled=draw, rng=rng)
    assert len(found.rows) == 15
    assert found.distance.max() < 1.0
    np.testing.assert_array_equal(found.rows[:, 0] - found.rows[:, 1], 15)
    chance = Chance.of(found.by_chance)
    assert chance.low <= chance.mean <= chance.high < 10


def test_chance_is_that_of_random_places():
    """Pairs to expect: spots times the area around the others, over the field."""
    rng = np.random.default_rng(0)
    first, second = (rng.uniform(-0.5, 255.5, (200, 2)) for _ in range(2))
    draw = shuffled_in_field(second, SHAPE, np.ones(2))
    found = colocalize(first, second, distance=2.0, shuffled=draw, rng=rng)
    expected = 200 * 200 * np.pi * 4 / 256**2
    chance = Chance.of(found.by_chance)
    assert chance.mean == pytest.approx(expected, rel=0.1)
    assert chance.low <= len(found.rows) <= chance.high + 3


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
    in_cell = colocalize(first, second, distance=2.0, shuffled=inside, rng=rng)
    in_field = colocalize(first, second, distance=2.0, shuffled=field, rng=rng)
    cell, whole = (Chance.of(one.by_chance) for one in (in_cell, in_field))
    assert cell.mean > 5 * max(whole.mean, 0.1)
    assert cell.low <= len(in_cell.rows) <= cell.high
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


def test_too_few_pairs_are_a_sentence():
    with pytest.raises(ValueError, match="needs 5 pairs of spots, and there are"):
        estimate_shift([places(3)], [places(3, seed=9)])
    with pytest.raises(ValueError, match="needs 12 pairs"):
        estimate_shift([places(8)], [places(8)], model="affine")


def test_chance_in_a_body_stays_in_the_body():
    """A tilted body: at each z it lies elsewhere, and random spots with it."""
    labels = np.zeros((6, 60, 60), np.uint8)
    for z in range(6):
        labels[z, 10 * z : 10 * z + 8, 20:30] = 1
    regions = Regions(Image(labels, "ZYX"))
    second = np.array([[1.0, 14, 25], [4, 44, 25]] * 50)
    draw = shuffled_in_regions(
        second, np.ones(100, int), regions.pixels(0), np.array([1.0, 1, 1])
    )
    places = np.rint(draw(np.random.default_rng(0))).astype(int)
    assert (labels[tuple(places.T)] == 1).all()
    assert len(set(places[:, 0])) == 6


def test_marks_of_channels_are_whole_words():
    assert _exchanged("a_w1_s1", "_w1", "_w2") == "a_w2_s1"
    assert _exchanged("a_w10", "_w1", "_w2") == ""
    names = [f"plate_s{i}" for i in range(1000)]
    first, second = (
        [ImageSpots(f"{name}_{mark}", "", pd.DataFrame()) for name in names]
        for mark in ("w1", "w2")
    )
    assert len(_paired_by_marks(first, second)) == 1000
    # Numbers alone are no marks: which image belongs to which is not clear.
    assert _paired_by_marks(first, first[500:]) == []
