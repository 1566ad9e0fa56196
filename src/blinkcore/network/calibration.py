"""How many of some spots are real: the false discovery rate, and a count with an interval.

Probabilities are close to calibrated (`benchmarks/calibration.py`), so the expected number
of false spots among some is the sum of 1 - probability.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

LEAST_PROBABILITY = 0.05  # below, there is next to nothing but noise
COVERAGE = 0.95  # of the interval of a count
# Spots of one image are right or wrong together: part of the spread grows with their number.
_TOGETHER = 0.05


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


def check_fdr(fdr: float, threshold: float | None) -> None:
    """Raise ValueError if a rate of false spots is none, or a threshold is given too."""
    if threshold is not None:
        raise ValueError("give a threshold or fdr, not both")
    if not 0.0 < fdr < 1.0:
        raise ValueError(f"fdr must be in (0, 1), got {fdr}")


def keep_for_fdr(probability: NDArray[np.float64], fdr: float) -> NDArray[np.bool_]:
    """Choose the most spots among which a given share is expected to be false.

    Parameters
    ----------
    probability : ndarray of float64, shape (n,)
        Of each spot.
    fdr : float
        False discovery rate: expected share of false spots among those kept.

    Returns
    -------
    ndarray of bool, shape (n,)
        The surest spots, as many as have a mean of 1 - probability of at most `fdr`.
    """
    surest_first = np.sort(probability)[::-1]
    expected = np.cumsum(1.0 - surest_first) / np.arange(1, len(surest_first) + 1)
    n_kept = int(np.searchsorted(expected, fdr, side="right"))
    if n_kept == 0:
        return np.zeros(len(probability), bool)
    kept: NDArray[np.bool_] = probability >= surest_first[n_kept - 1]
    return kept


def real_count(probability: NDArray[np.float64], spread: float) -> RealCount:
    """Count the real ones among spots, with the interval to expect.

    Parameters
    ----------
    probability : ndarray of float64, shape (n,)
        Of the spots found in one image with the threshold of the model.
    spread : float
        Of the model, see `fit_spread`: half the interval over the square root of
        sum(p (1 - p)) + 1/4 + (0.05 sum(p))².

    Returns
    -------
    RealCount
        Between none and all of them.
    """
    expected, half = float(probability.sum()), spread * _typical(probability)
    low, high = max(0.0, expected - half), min(float(len(probability)), expected + half)
    return RealCount(expected, low, high)


def fit_spread(scenes: Iterable[tuple[NDArray[np.float64], int]]) -> float | None:
    """Fit the spread of a model's counts on labelled scenes (split conformal prediction).

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
    off = [
        abs(real - float(probability.sum())) / _typical(probability)
        for probability, real in scenes
        if len(probability)
    ]
    rank = math.ceil(round(COVERAGE * (len(off) + 1), 6))
    return float(sorted(off)[rank - 1]) if rank <= len(off) else None


def _typical(probability: NDArray[np.float64]) -> float:
    """Scale of the deviation: of independent spots, half a spot, and a share of all."""
    independent = float((probability * (1.0 - probability)).sum())
    common = _TOGETHER * float(probability.sum())
    return float(np.sqrt(independent + 0.25 + common**2))
