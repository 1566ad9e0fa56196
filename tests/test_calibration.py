import numpy as np
import pytest

from blinkcore.network.calibration import (
    Calibration,
    calibrated,
    check_fdr,
    fit_calibration,
    fit_interval_width,
    keep_for_fdr,
    real_count,
)
from blinkcore.network.population import dim_class


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
    with pytest.raises(ValueError, match="fdr sets the threshold itself"):
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

    spread = fit_interval_width(scenes(200))
    held = [
        (count := real_count(p, spread)).low <= real <= count.high
        for p, real in scenes(1000)
    ]
    assert spread > 2.5  # independent spots would make it 1.96
    assert 0.93 < np.mean(held) < 0.99


def test_few_scenes_give_no_interval():
    few = [(np.array([0.9, 0.8]), 2)] * 18
    assert fit_interval_width(few) is None
    assert fit_interval_width([*few, (np.array([0.9, 0.8]), 0)]) == pytest.approx(
        1.7 / np.sqrt(0.09 + 0.16 + 0.25 + (0.05 * 1.7) ** 2)
    )
    assert fit_interval_width([]) is None


def test_a_calibration_of_no_effect_gives_the_same_bits():
    p = np.linspace(0.01, 0.99, 9)
    np.testing.assert_array_equal(calibrated(p, np.ones(9), Calibration()), p)


def test_platt_scaling_is_its_formula():
    p = np.array([0.1, 0.5, 0.9])
    moved = calibrated(p, np.ones(3), Calibration(0.7, 1.3))
    z = 0.7 + 1.3 * np.log(p / (1 - p))
    np.testing.assert_allclose(moved, 1 / (1 + np.exp(-z)))
    ends = calibrated([0.0, 1.0], [1.0, 1.0], Calibration(0.7, 1.3))
    assert ends.tolist() == [0.0, 1.0]


def images_of_two_classes(n, rng):
    """Real candidates, as many blurs as bright as they are, and dim specks."""
    for _ in range(n):
        n_bright, n_dim = rng.integers(20, 200), rng.integers(0, 2000)
        scale = np.exp(rng.uniform(0, 8))  # counts: the unit must not matter
        heights = scale * np.exp(
            np.concatenate(
                [rng.normal(2, 0.3, 2 * n_bright), rng.normal(0, 0.3, n_dim)]
            )
        )
        evidence = np.concatenate(
            [
                rng.normal(1.5, 1.5, n_bright),
                rng.normal(-2.0, 1.5, n_bright),
                rng.normal(-0.5, 1.5, n_dim),
            ]
        )
        real = np.arange(len(heights)) < n_bright
        yield 1 / (1 + np.exp(-evidence)), heights, real


def test_the_population_of_an_image_parts_its_classes():
    rng = np.random.default_rng(0)
    p, heights, real = (
        list(v) for v in zip(*images_of_two_classes(15, rng), strict=True)
    )
    fitted = fit_calibration(p, heights, real)
    assert fitted.population > 0.3
    alone = fit_calibration(p, [np.ones(len(h)) for h in heights], real)
    test = list(images_of_two_classes(20, rng))

    def accuracy(calibration):
        right = [(calibrated(p, h, calibration) > 0.5) == real for p, h, real in test]
        return np.concatenate(right).mean()

    assert accuracy(fitted) > accuracy(alone._replace(population=0.0)) + 0.03
    said = np.concatenate([calibrated(p, h, fitted) for p, h, _ in test])
    truth = np.concatenate([real for _, _, real in test])
    for low, high in ((0.0, 0.2), (0.8, 1.0)):
        chosen = (said >= low) & (said <= high)
        # Cautious, because height never speaks for a candidate.
        assert -0.05 < truth[chosen].mean() - said[chosen].mean() < 0.1


def test_the_unit_of_heights_does_not_matter_and_few_candidates_say_little():
    rng = np.random.default_rng(1)
    p, heights, _ = next(images_of_two_classes(1, rng))
    weights = Calibration(0.0, 1.0, 1.0)
    one = calibrated(p, heights, weights)
    np.testing.assert_allclose(calibrated(p, heights * 1000, weights), one, atol=0.05)
    lone = calibrated([0.6], [3.0], weights)
    assert lone[0] == pytest.approx(0.6, abs=0.05)
    assert calibrated([], [], weights).shape == (0,)
    assert np.isfinite(calibrated([0.5, 0.5], [0.0, -1.0], weights)).all()


def test_spots_of_one_probability_are_kept_together_or_not_at_all():
    kept = keep_for_fdr(np.array([1.0, 0.8, 0.8]), 0.11)
    assert kept.tolist() == [True, False, False]


def test_two_classes_of_brightness_are_told_apart_where_the_dim_one_is_doubtful():
    heights = np.array([100.0] * 20 + [10.0] * 40)
    bright, dim = np.full(20, 0.95), np.full(40, 0.3)
    dimness = dim_class(np.concatenate([bright, dim]), heights)
    assert not dimness[:20].any()
    assert (dimness[20:] > 0.9).all()
    # As sure of the dim ones as of the bright: one class of spots, whatever their heights.
    for sure in (0.9, 0.7):
        p = np.concatenate([bright, np.full(40, sure)])
        assert dim_class(p, heights).max() < 0.05
    # A continuum of heights, however doubtful its dim end, has no classes.
    continuum = np.linspace(3.0, 10.0, 60) ** 2
    p = np.concatenate([dim, bright])
    assert dim_class(p, continuum).max() < 0.5
    humps = np.where(continuum > 42, 100, 9)
    assert dim_class(p, humps)[humps == 9].min() > 0.9
    # Candidates of one height, or too few, tell nothing.
    assert not dim_class(np.full(60, 0.5), np.full(60, 7.0)).any()
    assert not dim_class(bright[:5], heights[:5]).any()


def test_being_as_bright_as_sure_spots_proves_nothing():
    """A doubtful candidate stays what it is among sure ones of its height."""
    p = np.array([0.97] * 200 + [0.2])
    weights = Calibration(population=1.0, classes=1.0)
    np.testing.assert_allclose(calibrated(p, np.full(201, 7.0), weights), p)
    # Among doubtful ones it loses, and so does a sure one.
    p = np.array([0.2] * 200 + [0.97])
    moved = calibrated(p, np.full(201, 7.0), weights)
    assert (moved < p - 0.02).all()


def test_the_dim_class_loses_its_weight_of_the_logit():
    heights = np.array([100.0] * 20 + [10.0] * 40)
    p = np.concatenate([np.full(20, 0.95), np.full(40, 0.3)])
    moved = calibrated(p, heights, Calibration(classes=1.5))
    shift = np.log(moved / (1 - moved)) - np.log(p / (1 - p))
    np.testing.assert_allclose(shift, -1.5 * dim_class(p, heights), atol=1e-9)
    assert shift[20:].max() < -1.3


def test_a_rate_that_is_just_reached_is_kept():
    """A sure spot and one of a half: a quarter of the two is false, as was asked for."""
    assert keep_for_fdr(np.array([1.0, 0.5]), 0.25).all()


def test_few_candidates_give_no_calibration():
    rng = np.random.default_rng(0)
    p = [rng.random(100)]
    assert fit_calibration(p, p, [rng.random(100) < 0.5]) == Calibration()
