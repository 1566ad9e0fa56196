import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from blinkcore import _core
from blinkcore.evaluation.scores import INTEGRAL_CUTOFFS, evaluate, f1_curve, match


def reference(truth, detected, cutoff):
    """Number of pairs and total distance of scipy's assignment."""
    if len(truth) == 0 or len(detected) == 0:
        return 0, 0.0
    distance = cdist(truth, detected)
    # More than any set of pairs together.
    far = cutoff * (len(truth) + len(detected)) + 1.0
    cost = np.where(distance <= cutoff, distance, far)
    row, col = linear_sum_assignment(cost)
    pairs = distance[row, col] <= cutoff
    return int(pairs.sum()), float(distance[row, col][pairs].sum())


def check_optimal(truth, detected, cutoff):
    pairs = match(truth, detected, cutoff=cutoff)
    distance = np.linalg.norm(truth[pairs[:, 0]] - detected[pairs[:, 1]], axis=1)
    assert (distance <= cutoff).all()
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    count, total = reference(truth, detected, cutoff)
    assert len(pairs) == count
    assert distance.sum() == pytest.approx(total, abs=1e-9 * (1 + total))


@settings(max_examples=400, deadline=None)
@given(
    n=st.integers(0, 40),
    m=st.integers(0, 40),
    dimensions=st.integers(2, 3),
    side=st.sampled_from([1.0, 4.0, 12.0, 40.0]),
    on_grid=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_match_equals_scipy(n, m, dimensions, side, on_grid, seed):
    rng = np.random.default_rng(seed)
    truth, detected = (rng.uniform(-side, side, (k, dimensions)) for k in (n, m))
    if on_grid:  # duplicates, ties, distances equal to the cutoff
        truth, detected = truth.round(), detected.round()
    check_optimal(truth, detected, 3.0)
    check_optimal(truth, detected, 1.0)


def test_more_pairs_win_over_less_distance():
    truth = np.array([[0.0, 0.0], [0.0, 2.0]])
    detected = np.array([[0.0, 2.1], [0.0, 4.9]])
    # The near pair (1, 0) alone would leave the others unmatched.
    assert match(truth, detected, cutoff=3.0).tolist() == [[0, 0], [1, 1]]


def test_distance_equal_to_the_cutoff_counts():
    assert len(match([[0.0, 0.0]], [[0.0, 3.0]], cutoff=3.0)) == 1
    assert len(match([[0.0, 0.0]], [[0.0, 3.0000001]], cutoff=3.0)) == 0


def test_cutoff_zero_pairs_equal_points():
    assert match([[1.0, 2.0]], [[1.0, 2.0]], cutoff=0.0).tolist() == [[0, 0]]


@pytest.mark.parametrize("shape", [(0, 2), (0, 3)])
def test_empty_sets_match_nothing(shape):
    some = np.zeros((5, shape[1]))
    for truth, detected in ((np.empty(shape), some), (some, np.empty(shape))):
        assert match(truth, detected, cutoff=3.0).shape == (0, 2)


def test_duplicates_are_paired_once_each():
    truth = np.zeros((7, 2))
    assert len(match(truth, np.zeros((5, 2)), cutoff=1.0)) == 5


def test_scale_makes_coarse_z_count():
    truth, detected = [[0.0, 5.0, 5.0]], [[2.0, 5.0, 5.0]]
    assert len(match(truth, detected, cutoff=3.0)) == 1
    assert len(match(truth, detected, cutoff=0.5, scale=(0.3, 0.1, 0.1))) == 0
    assert len(match(truth, detected, cutoff=0.6, scale=(0.3, 0.1, 0.1))) == 1


def test_scores_take_three_dimensions_and_their_scale():
    truth = np.random.default_rng(0).uniform(0, 50, (30, 3))
    assert evaluate(truth, np.empty((0, 3))).f1 == 0.0
    moved = truth + np.array([2.0, 0.0, 0.0])
    assert evaluate(truth, moved).rmse == pytest.approx(2.0)
    assert evaluate(truth, moved, scale=(2.0, 1.0, 1.0)).n_matched < 30


def test_scale_equals_scaled_points():
    rng = np.random.default_rng(1)
    truth, detected = rng.uniform(0, 9, (2, 60, 3))
    scale = np.array([3.0, 1.0, 1.0])
    expected = match(truth * scale, detected * scale, cutoff=2.0)
    np.testing.assert_array_equal(
        match(truth, detected, cutoff=2.0, scale=scale), expected
    )


@pytest.mark.slow
def test_three_thousand_points_within_one_cutoff():
    rng = np.random.default_rng(0)
    truth, detected = rng.uniform(0, 2, (2, 3000, 2))
    pairs = match(truth, detected, cutoff=3.0)
    row, col = linear_sum_assignment(cdist(truth, detected))
    total = np.linalg.norm(truth[pairs[:, 0]] - detected[pairs[:, 1]], axis=1).sum()
    expected = np.linalg.norm(truth[row] - detected[col], axis=1).sum()
    assert len(pairs) == 3000
    assert total == pytest.approx(expected, rel=1e-9)


def test_field_of_a_hundred_thousand_points_is_matched():
    # Pairs 0.1 px apart among points that are 16 px apart on average.
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 5120, (100_000, 2))
    order = rng.permutation(len(truth))
    detected = truth[order] + rng.uniform(-0.07, 0.07, truth.shape)
    pairs = match(truth, detected, cutoff=3.0)
    assert len(pairs) == len(truth)
    assert (order[pairs[:, 1]] == pairs[:, 0]).mean() > 0.999


@settings(max_examples=100, deadline=None)
@given(n=st.integers(0, 60), m=st.integers(0, 60), seed=st.integers(0, 2**32 - 1))
def test_counts_at_all_cutoffs_equal_single_matches(n, m, seed):
    rng = np.random.default_rng(seed)
    truth, detected = rng.uniform(0, 15, (n, 2)), rng.uniform(0, 15, (m, 2))
    counts = _core.count_matches(truth, detected, cutoffs=INTEGRAL_CUTOFFS)
    expected = [reference(truth, detected, cutoff)[0] for cutoff in INTEGRAL_CUTOFFS]
    assert counts.tolist() == expected


@pytest.mark.parametrize("function", [_core.match, _core.count_matches])
def test_extension_refuses_what_is_no_set_of_points(function):
    option = {"cutoff": 1.0} if function is _core.match else {"cutoffs": [1.0]}
    good = np.zeros((2, 2))
    for bad in (np.zeros(3), np.zeros((2, 4)), np.zeros((1, 2, 2))):
        with pytest.raises(ValueError, match="truth must have shape"):
            function(bad, good, **option)
    with pytest.raises(ValueError, match="same number of coordinates"):
        function(np.zeros((1, 3)), good, **option)
    with pytest.raises(
        ValueError, match="detected must be finite and below 1e100, got row 1"
    ):
        function(good, [[0.0, 0.0], [0.0, math.nan]], **option)


@pytest.mark.parametrize("cutoff", [-1.0, math.nan, math.inf])
def test_cutoff_must_be_a_distance(cutoff):
    with pytest.raises(ValueError, match="cutoff must be a distance"):
        match(np.zeros((1, 2)), np.zeros((1, 2)), cutoff=cutoff)


def test_cutoffs_must_ascend():
    with pytest.raises(ValueError, match="cutoffs must ascend"):
        _core.count_matches(np.zeros((1, 2)), np.zeros((1, 2)), cutoffs=[2.0, 1.0])


def test_perfect_detection_scores_one():
    truth = np.random.default_rng(0).uniform(0, 99, (20, 2))
    scores = evaluate(truth, truth)
    assert (scores.f1_integral, scores.f1, scores.rmse) == (1.0, 1.0, 0.0)


def test_f1_integral_of_a_known_distance():
    # All spots found 1.5 px off: F1 is 0 below and 1 from 1.5 px on.
    truth = np.arange(10)[:, None] * [20.0, 0.0]
    scores = evaluate(truth, truth + np.array([0.0, 1.5]))
    step = INTEGRAL_CUTOFFS[1] / 3  # the trapezoid is that coarse
    assert scores.f1_integral == pytest.approx(0.5, abs=step)
    assert scores.f1 == 1.0
    assert scores.rmse == pytest.approx(1.5)


def test_misses_and_false_spots_are_counted():
    scores = evaluate(
        [[0.0, 0.0], [50.0, 50.0]], [[0.0, 1.0], [90.0, 9.0], [9.0, 90.0]]
    )
    assert (scores.n_truth, scores.n_detected, scores.n_matched) == (2, 3, 1)
    assert scores.recall == 0.5
    assert scores.precision == pytest.approx(1 / 3)
    assert scores.f1 == pytest.approx(0.4)


def test_nothing_in_nothing_is_right():
    scores = evaluate([], [])
    assert (scores.f1_integral, scores.precision, scores.recall) == (1.0, 1.0, 1.0)
    assert math.isnan(scores.rmse)


@pytest.mark.parametrize(
    ("truth", "detected"), [([], [[1.0, 1.0]]), ([[1.0, 1.0]], [])]
)
def test_one_sided_sets_score_zero(truth, detected):
    scores = evaluate(truth, detected)
    assert (scores.f1_integral, scores.f1) == (0.0, 0.0)
    assert f1_curve(truth, detected).shape == INTEGRAL_CUTOFFS.shape


def test_the_f1_integral_is_a_trapezoid():
    """A pair at 2.9 px counts at the last two of 50 cutoffs only: one step and a half."""
    scores = evaluate([[0.0, 0.0]], [[0.0, 2.95]])
    assert scores.f1_integral == pytest.approx(0.5 / 49)
    scores = evaluate([[0.0, 0.0]], [[0.0, 2.9]])
    assert scores.f1_integral == pytest.approx(1.5 / 49)


@pytest.mark.parametrize("scale", [1e-90, 1e-9, 1.0, 1e9, 1e90])
def test_matching_does_not_depend_on_the_unit(scale):
    rng = np.random.default_rng(0)
    for _ in range(200):
        truth, found = (rng.integers(0, 3, (5, 2)).astype(float) for _ in range(2))
        lengths = []
        for unit in (1.0, scale):
            pairs = match(truth * unit, found * unit, cutoff=1.5 * unit)
            apart = np.hypot(*(truth[pairs[:, 0]] - found[pairs[:, 1]]).T)
            lengths.append((len(pairs), apart.sum()))
        assert lengths[0] == pytest.approx(lengths[1])


@pytest.mark.parametrize("cutoff", [5e-324, 1e-101, 1e101, -0.1])
def test_distances_without_exact_squares_are_refused(cutoff):
    with pytest.raises(ValueError, match="1e-100 to 1e100"):
        match([[0.0, 0.0]], [[0.0, 0.0]], cutoff=cutoff)
    with pytest.raises(ValueError, match="below 1e100"):
        match([[0.0, 2e100]], [[0.0, 0.0]], cutoff=1.0)


def test_one_spot_and_none():
    one, none = [[1.0, 2.0]], np.empty((0, 2))
    assert evaluate(one, one).precision == evaluate(one, one).recall == 1.0
    assert evaluate(one, one).f1 == evaluate(one, one).f1_integral == 1.0
    for truth, detected in ((one, none), (none, one), (one, []), ([], one)):
        scores = evaluate(truth, detected)
        assert scores.f1 == scores.f1_integral == 0.0
        assert np.isnan(scores.rmse)
        assert (scores.n_truth, scores.n_detected) == (len(truth), len(detected))
        assert not f1_curve(truth, detected).any()
    nothing = evaluate([], none)
    assert nothing.f1 == nothing.precision == nothing.recall == 1.0
    assert (f1_curve([], []) == 1.0).all()


def test_scores_of_scaled_axes_are_those_of_scaled_places():
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 20, (40, 3))
    detected = truth + rng.normal(0, 0.5, truth.shape)
    scale = np.array([3.0, 1.0, 0.5])
    assert evaluate(truth, detected, scale=scale) == evaluate(
        truth * scale, detected * scale
    )
    np.testing.assert_array_equal(
        f1_curve(truth, detected, scale=scale),
        f1_curve(truth * scale, detected * scale),
    )
