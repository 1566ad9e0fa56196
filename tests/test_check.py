"""Mistakes in labels."""

import numpy as np
import pytest

from blinkcore.datasets.check import check_all, check_plane, summary
from blinkcore.datasets.dataset import Dataset, Sample
from blinkcore.simulation.presets import PRESETS, ranges_of
from blinkcore.simulation.scenes import simulate


def sample(image, points, name="a"):
    return Sample(image, np.asarray(points, float).reshape(-1, 2), "train", name, name)


def few_each(scene, change):
    """The scene once for every four of its spots, labelled with these alone."""
    return [
        sample(scene.image, change(scene.points[first : first + 4]), str(first))
        for first in range(0, len(scene.points), 4)
    ]


def test_good_labels_have_no_problems(scene):
    result = check_plane(sample(scene.image, scene.points))
    assert result.problems == []
    assert result.snr > 3


def test_exchanged_axes_are_seen(scene):
    result = check_plane(sample(scene.image, scene.points[:, ::-1]))
    assert result.swapped
    assert "x and y exchanged" in " ".join(result.problems)


def test_a_shift_of_half_a_pixel_is_seen(scene):
    result = check_plane(sample(scene.image, scene.points + 0.5))
    assert result.shift_y == pytest.approx(0.5, abs=0.15)
    assert "another origin" in " ".join(result.problems)


def test_strays_and_duplicates_are_counted(scene):
    points = np.concatenate([scene.points, scene.points[:3] + 0.1, [(-5, 3), (9, 999)]])
    result = check_plane(sample(scene.image, points))
    assert (result.n_outside, result.n_duplicates) == (2, 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda points: points + 0.5, "another origin"),
        (lambda points: points[:, ::-1], "x and y exchanged"),
        (lambda points: points + 12.0, "on no bright place"),
    ],
)
def test_what_few_labels_do_not_tell_many_do(scene, change, says):
    each, together = check_all(few_each(scene, change))
    assert not any(says in problem for c in each for problem in c.problems)
    assert says in " ".join(together.problems)


def test_right_labels_are_right_together(scene):
    each, together = check_all(few_each(scene, np.asarray))
    assert together.problems == []
    assert together.n_spots == sum(c.n_spots for c in each) == len(scene.points)


def test_a_sample_with_a_problem_is_not_counted_again(scene):
    samples = [sample(scene.image, scene.points + 0.5)]
    each, together = check_all(samples)
    assert each[0].problems
    assert together.n_spots == 0
    assert together.problems == []


def test_the_summary_counts_what_is_wrong(scene):
    points = np.concatenate([scene.points, scene.points[:3] + 0.1, [(-5, 3), (9, 999)]])
    made = Dataset((sample(scene.image, points), sample(scene.image, [], "b")))
    (row,) = summary(made, check_all(made.samples)[0])
    assert (row["images"], row["empty"], row["spots"]) == (2, 1, len(points))
    assert (row["outside"], row["twice"]) == (2, 3)
    assert row["shared"] >= 2  # a near one may lie beyond the border of a cell
    assert row["density"] == pytest.approx(1000 * len(points) / (2 * 256 * 320))


def test_labels_in_one_cell_of_two_pixels_are_counted(scene):
    far = Sample(scene.image, np.array([[0.0, 0.0], [0.0, 2.0]]), "train", "a", "a")
    near = Sample(scene.image, np.array([[0.0, 0.0], [0.0, 1.0]]), "train", "a", "a")
    assert check_plane(far).n_shared_cell == 0
    assert check_plane(near).n_shared_cell == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_the_simulators_own_truth_is_right(preset):
    """Also where it is dim."""
    ranges = ranges_of(preset)
    for seed in range(12):
        drawn = simulate((160, 160), np.random.default_rng(seed), ranges=ranges)
        assert check_plane(sample(drawn.image, drawn.points)).problems == []


@pytest.mark.parametrize("n", [300, 1000])
def test_labels_at_random_places_of_cells_are_seen(n):
    """Cells cover half of the plane, so that many of these are brighter than half of it."""
    n_seen = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        image = rng.normal(100.0, 5.0, (256, 256))
        image[:, :128] += 20.0
        points = rng.uniform((1.0, 1.0), (255.0, 127.0), (n, 2))
        n_seen += bool(check_plane(sample(image, points)).problems)
    assert n_seen >= 8


@pytest.mark.parametrize("seed", [47, 72])
def test_many_dim_spots_among_bright_ones_are_right(seed):
    """More than half of them are on no bright place."""
    drawn = simulate(
        (512, 512), np.random.default_rng([seed, 5]), ranges=ranges_of("smfish")
    )
    assert check_plane(sample(drawn.image, drawn.points)).problems == []


@pytest.mark.parametrize("preset", PRESETS)
def test_labels_beside_the_spots_are_seen(preset):
    """Twelve pixels beside, whether spots are dim or bright."""
    ranges, n_seen, n = ranges_of(preset), 0, 0
    for seed in range(12):
        drawn = simulate((256, 256), np.random.default_rng(seed), ranges=ranges)
        moved = drawn.points + 12.0
        moved = moved[(moved < 255.5).all(axis=1)]
        if len(moved) >= 10:
            n += 1
            n_seen += bool(check_plane(sample(drawn.image, moved)).problems)
    assert n_seen >= 0.75 * n > 0


def test_labels_that_are_all_outside_are_told(scene):
    problems = check_plane(sample(scene.image, scene.points + 1000.0)).problems
    assert problems == [f"{len(scene.points)} labels are outside the image"]


def test_labels_of_which_most_are_right_do_not_excuse_the_others(scene):
    points = scene.points.copy()
    points[: int(0.6 * len(points))] += (12.0, -9.0)
    inside = ((points > 0) & (points < np.array(scene.image.shape) - 1)).all(axis=1)
    problems = check_plane(sample(scene.image, points[inside])).problems
    assert "on no bright place" in " ".join(problems)
