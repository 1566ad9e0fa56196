import numpy as np
import pytest

from blinkcore.network.calibration import (
    check_fdr,
    fit_spread,
    keep_for_fdr,
    real_count,
)


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


def test_a_count_lies_between_none_and_all():
    p = np.array([0.9, 0.8, 0.6])
    count = real_count(p, 2.0)
    half = 2.0 * np.sqrt(0.09 + 0.16 + 0.24 + 0.25 + (0.05 * 2.3) ** 2)
    assert count == pytest.approx((2.3, 2.3 - half, 3.0))
    assert real_count(np.empty(0), 2.0) == (0.0, 0.0, 0.0)


def test_the_interval_holds_for_other_scenes_of_the_kind():
    """Spots of a scene are right or wrong together, by a share that no one knows."""
    rng = np.random.default_rng(0)

    def scenes(n):
        for _ in range(n):
            p = rng.uniform(0.5, 1.0, rng.integers(1, 200))
            true = np.clip(p + rng.normal(0.0, 0.1), 0, 1)
            yield p, int((rng.random(len(p)) < true).sum())

    spread = fit_spread(scenes(200))
    held = [
        (count := real_count(p, spread)).low <= real <= count.high
        for p, real in scenes(1000)
    ]
    assert spread > 2.5  # independent spots would make it 1.96
    assert 0.93 < np.mean(held) < 0.99


def test_few_scenes_give_no_interval():
    few = [(np.array([0.9, 0.8]), 2)] * 18
    assert fit_spread(few) is None
    assert fit_spread([*few, (np.array([0.9, 0.8]), 0)]) == pytest.approx(
        1.7 / np.sqrt(0.09 + 0.16 + 0.25 + (0.05 * 1.7) ** 2)
    )
    assert fit_spread([]) is None
