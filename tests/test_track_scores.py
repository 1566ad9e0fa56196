import numpy as np
import pandas as pd
import pytest

from blinkcore.evaluation.tracks import score_tracks


def tracks(*starts, n=10, shift=0.0):
    rows = [
        (number, t, y + shift, x + t)
        for number, (y, x) in enumerate(starts)
        for t in range(n)
    ]
    return pd.DataFrame(rows, columns=["track", "frame", "y", "x"])


def test_the_same_tracks_score_one():
    truth = tracks((0, 0), (50, 0))
    scores = score_tracks(truth, truth)
    assert scores == pytest.approx((1.0, 1.0, 1.0, 1.0, 0.0))


def test_a_shift_costs_its_share_of_the_gate():
    scores = score_tracks(tracks((0, 0)), tracks((0, 0), shift=2.0))
    assert scores.alpha == pytest.approx(0.6)
    assert scores.rmse == pytest.approx(2.0)
    assert scores.jsc == 1.0


def test_false_tracks_lower_beta_and_missed_ones_alpha():
    truth, one = tracks((0, 0), (50, 0)), tracks((0, 0))
    missed = score_tracks(truth, one)
    assert missed.alpha == missed.beta == pytest.approx(0.5)
    false = score_tracks(one, truth)
    assert false.alpha == 1.0
    assert false.beta == pytest.approx(0.5)
    assert false.jsc == pytest.approx(0.5)
    assert false.jsc_tracks == 0.5


def test_half_a_track_counts_half():
    scores = score_tracks(tracks((0, 0)), tracks((0, 0), n=5))
    assert scores.alpha == pytest.approx(0.5)
    assert scores.jsc == pytest.approx(0.5)


def test_nothing_found_scores_zero():
    nothing = tracks()
    scores = score_tracks(tracks((0, 0)), nothing)
    assert scores.alpha == scores.beta == scores.jsc == 0.0
    assert np.isnan(scores.rmse)


def test_without_true_tracks_there_is_no_score():
    scores = score_tracks(tracks(), tracks((0, 0)))
    assert np.isnan(scores.alpha)
    assert np.isnan(scores.beta)
    assert scores.jsc == scores.jsc_tracks == 0.0


def test_a_track_beyond_the_gate_is_no_partner():
    """It is missed and false at once, as if it lay anywhere."""
    scores = score_tracks(tracks((0, 0)), tracks((0, 0), shift=5.0))
    assert scores == pytest.approx((0.0, 0.0, 0.0, 0.0, np.nan), nan_ok=True)
    near = score_tracks(tracks((0, 0)), tracks((0, 0), shift=6.0), gate=7.0)
    assert near.alpha == pytest.approx(1 / 7)
    assert near.jsc_tracks == 1.0


def test_single_points_and_their_errors():
    truth = tracks((0, 0), (50, 0), n=1)
    found = truth.assign(y=truth["y"] + [1.0, 3.0])
    scores = score_tracks(truth, found)
    assert scores.rmse == pytest.approx(np.sqrt(5.0))
    assert scores.jsc == scores.jsc_tracks == 1.0
    one = score_tracks(truth.iloc[:1], truth.iloc[:1])
    assert one.jsc == one.jsc_tracks == 1.0
    assert one.alpha == one.beta == 1.0


def test_of_two_candidates_the_nearer_is_the_partner():
    truth, two = tracks((0, 0)), tracks((0, 0), (3, 0))
    scores = score_tracks(truth, two)
    assert scores.rmse == 0.0
    assert scores.beta == pytest.approx(0.5)
    assert scores.jsc_tracks == 0.5
