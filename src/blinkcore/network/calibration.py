"""Calibrate probabilities, and derive false discovery rates and counts from them.

A network's probability is adjusted to how often it was right on validation scenes
(Platt scaling) and to the brightness of the image's other candidates. A person marks
the bright class of an image and leaves dimmer specks of the same shape, whatever their
absolute contrast; a network, which sees only a part of the image at a time, cannot tell
these classes apart. So each candidate is also judged by those of similar height: where
most of them are doubtful, its probability is lowered. That is empirical Bayes: the
prior of a candidate is the mean probability of the image's candidates of its height.
Where Otsu's threshold separates a bright, likely class from a dim, doubtful one, the
dim class is lowered further. Being as bright as likely spots never raises a
probability, because bright objects of another shape are not spots.

Calibrated probabilities give the false discovery rate of a set of spots, and the number
of real ones among them, with an interval.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from blinkcore.network.population import (
    bins_of,
    dim_class,
    mean_of_similar_height,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

# Probability, as decoded, below which nothing is a candidate.
PROBABILITY_FLOOR = 0.02
COVERAGE = 0.95  # of the interval of a count
# Errors within an image are correlated: part of the variance of a count grows with its
# square.
_SHARED_ERROR = 0.05
_ITERATIONS = 4  # of the population term, which changes the mean that it depends on
_MIN_TO_FIT = 200


class Calibration(NamedTuple):
    """How probabilities of a network are calibrated.

    Attributes
    ----------
    offset, slope : float
        Of logit(p') = offset + slope * logit(p) (Platt scaling).
    population : float
        Weight of the logit of the mean probability of the image's candidates of the same
        height, where it is negative; 0: height does not count.
    classes : float
        What the logit loses in the dim one of two classes of brightness, where the image
        has two; 0: classes do not count.
    """

    offset: float = 0.0
    slope: float = 1.0
    population: float = 0.0
    classes: float = 0.0

    def alone(self) -> Calibration:
        """Return the same without the terms that compare an image's candidates."""
        return self._replace(population=0.0, classes=0.0)


UNCALIBRATED = Calibration()


def calibrated(
    probability: ArrayLike, heights: ArrayLike, calibration: Calibration
) -> NDArray[np.float64]:
    """Calibrate the probabilities of all candidates of an image.

    Parameters
    ----------
    probability : array-like, shape (n,)
        Of all candidates of a plane, or of all planes of a series, as decoded.
    heights : array-like, shape (n,)
        How far each stands out from its surroundings, see
        `blinkcore.detection.candidates`; in any unit.
    calibration : Calibration
        Of a model, fitted on its validation scenes.

    Returns
    -------
    ndarray of float64, shape (n,)
        In [0, 1], in the same order.
    """
    p = np.asarray(probability, float)
    if calibration == UNCALIBRATED:
        return p
    alone = calibration.offset + calibration.slope * special.logit(p)
    result: NDArray[np.float64] = special.expit(alone)
    if calibration == calibration.alone() or not len(p):
        return result
    h = np.asarray(heights, float)
    bins, evidence = bins_of(h), np.zeros(len(p))
    for _ in range(_ITERATIONS):
        mean, trust = mean_of_similar_height(result, bins)
        evidence = trust * special.logit(np.clip(mean, 0.001, 0.5))
        result = special.expit(alone + calibration.population * evidence)
    evidence = calibration.population * evidence
    evidence -= calibration.classes * dim_class(p, h)
    judged: NDArray[np.float64] = special.expit(alone + evidence)
    return judged


def fit_calibration(
    probability: Sequence[NDArray[np.float64]],
    heights: Sequence[NDArray[np.float64]],
    real: Sequence[NDArray[np.bool_]],
) -> Calibration:
    """Fit how often candidates are real to their probabilities, by maximum likelihood.

    Parameters
    ----------
    probability, heights : sequence of ndarray of float64, shape (n,)
        Of the candidates of each image, see `calibrated`.
    real : sequence of ndarray of bool, shape (n,)
        Whether each is one of the true spots.

    Returns
    -------
    Calibration
        The identity if there are too few candidates, or nearly all or none are real.
    """
    from scipy import optimize  # slow to import, and needed in training only

    y = np.concatenate(real).astype(float)
    if len(y) < _MIN_TO_FIT or not 0.02 < y.mean() < 0.98:
        return Calibration()
    clipped = [np.clip(p, 1e-6, 1.0 - 1e-6) for p in probability]
    # Each image counts alike, or a few with thousands of specks would decide alone.
    weight = np.concatenate([np.full(len(p), 1 / max(len(p), 30)) for p in probability])
    weight /= weight.sum()

    def cost(parameters: NDArray[np.float64]) -> float:
        calibration = Calibration(*parameters)
        p = np.concatenate(
            [
                calibrated(a, b, calibration)
                for a, b in zip(clipped, heights, strict=True)
            ]
        )
        p = np.clip(p, 1e-6, 1.0 - 1e-6)
        likelihood = y * np.log(p) + (1.0 - y) * np.log1p(-p)
        return -float((weight * likelihood).sum())

    alone = optimize.minimize(
        lambda ab: cost(np.array([*ab, 0.0, 0.0])),
        (0.0, 1.0),
        bounds=((-5, 5), (0.2, 5)),
    ).x
    fitted = optimize.minimize(
        cost,
        (*alone, 0.3, 0.5),
        bounds=((-5, 5), (0.2, 5), (0.0, 2.0), (0.0, 4.0)),
        method="Nelder-Mead",
        options={"xatol": 0.005, "fatol": 1e-6},
    ).x
    return Calibration(*(round(float(value), 6) for value in fitted))


class RealCount(NamedTuple):
    """How many of some spots are real.

    Attributes
    ----------
    expected, low, high : float
        The sum of their probabilities, and the 95 % interval around it.
    """

    expected: float
    low: float
    high: float


def check_threshold(threshold: float) -> None:
    """Raise ValueError if a threshold is not a probability below 1."""
    if not 0.0 <= threshold < 1.0:
        raise ValueError(f"threshold must be in [0, 1), got {threshold}")


def check_fdr(fdr: float, threshold: float | None) -> None:
    """Raise ValueError if `fdr` is not in (0, 1), or if a threshold is given too."""
    if threshold is not None:
        raise ValueError("fdr sets the threshold itself: leave the threshold out")
    if not 0.0 < fdr < 1.0:
        raise ValueError(f"fdr must be in (0, 1), got {fdr}")


def keep_for_fdr(probability: NDArray[np.float64], fdr: float) -> NDArray[np.bool_]:
    """Choose the most spots among which a given share is expected to be false.

    Parameters
    ----------
    probability : ndarray of float64, shape (n,)
        Of each spot.
    fdr : float
        False discovery rate: largest expected share of false spots among those kept.

    Returns
    -------
    ndarray of bool, shape (n,)
        The most probable spots, as many as have a mean of 1 - probability of at most
        `fdr`. Spots with the same probability are all kept, or none of them.
    """
    surest_first = np.sort(probability)[::-1]
    expected = np.cumsum(1.0 - surest_first) / np.arange(1, len(surest_first) + 1)
    last_of_ties = np.append(surest_first[1:] < surest_first[:-1], True)[
        : len(expected)
    ]
    allowed = np.flatnonzero((expected <= fdr) & last_of_ties)
    if not len(allowed):
        return np.zeros(len(probability), bool)
    kept: NDArray[np.bool_] = probability >= surest_first[allowed[-1]]
    return kept


def real_count(probability: NDArray[np.float64], width: float) -> RealCount:
    """Estimate how many of the spots are real, with an interval.

    Parameters
    ----------
    probability : ndarray of float64, shape (n,)
        Of the spots found in one image. The interval was fitted with the threshold of the
        model, and holds nearly as often with others (`benchmarks/calibration.py`).
    width : float
        Of the model, see `fit_interval_width`: half the interval over the square root of
        sum(p (1 - p)) + 1/4 + (0.05 sum(p))².

    Returns
    -------
    RealCount
        Between none and all of them.
    """
    expected, half = float(probability.sum()), width * _deviation_scale(probability)
    low, high = max(0.0, expected - half), min(float(len(probability)), expected + half)
    return RealCount(expected, low, high)


def fit_interval_width(
    scenes: Iterable[tuple[NDArray[np.float64], int]],
) -> float | None:
    """Fit the width of the interval of a model's counts (split conformal prediction).

    Vovk et al. 2005 (doi:10.1007/b106715): the quantile of the deviations on some scenes holds
    for others of their kind. Nearly so where, as in training, the same scenes chose the model
    and its threshold.

    Parameters
    ----------
    scenes : iterable of (ndarray of float64, shape (n,), int)
        Probabilities of the spots found in a scene, and how many of them are real.

    Returns
    -------
    float or None
        None if there are too few scenes with spots for a quantile.
    """
    deviations = [
        abs(real - float(probability.sum())) / _deviation_scale(probability)
        for probability, real in scenes
        if len(probability)
    ]
    rank = math.ceil(round(COVERAGE * (len(deviations) + 1), 6))
    return float(sorted(deviations)[rank - 1]) if rank <= len(deviations) else None


def _deviation_scale(probability: NDArray[np.float64]) -> float:
    """Compute sqrt(sum p (1 - p) + 1/4 + (share sum p)^2) of probabilities p."""
    independent = float((probability * (1.0 - probability)).sum())
    common = _SHARED_ERROR * float(probability.sum())
    return float(np.sqrt(independent + 0.25 + common**2))
