import numpy as np
import pytest

from blinkcore.fdr import check_fdr, keep_for_fdr


def test_fdr_keeps_as_many_sure_spots_as_it_can():
    probability = np.array([0.6, 0.99, 0.9, 0.2, 0.95])
    # Expected shares of false spots, surest first: .01, .03, .053, .14, .272
    for fdr, n in ((0.005, 0), (0.01, 1), (0.05, 2), (0.06, 3), (0.2, 4), (0.9, 5)):
        kept = keep_for_fdr(probability, fdr + 1e-9)
        assert kept.sum() == n
        assert sorted(probability[kept], reverse=True) == sorted(probability)[::-1][:n]
    assert keep_for_fdr(np.empty(0), 0.05).shape == (0,)


def test_ties_are_kept_together():
    assert keep_for_fdr(np.array([0.9, 0.9, 0.9]), 0.11).all()


@pytest.mark.parametrize("fdr", [0.0, 1.0, -1.0, float("nan")])
def test_a_rate_is_a_share(fdr):
    with pytest.raises(ValueError, match=r"fdr must be in \(0, 1\)"):
        check_fdr(fdr, None)


def test_a_rate_and_a_threshold_are_one_too_many():
    with pytest.raises(ValueError, match="not both"):
        check_fdr(0.05, 0.5)
