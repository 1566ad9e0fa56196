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
