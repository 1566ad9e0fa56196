"""Choose spots by the share of false ones to expect: the false discovery rate.

Probabilities are close to calibrated (`benchmarks/calibration.py`), so the expected number
of false spots among some is the sum of 1 - probability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_PROBABILITY = 0.05  # below, there is next to nothing but noise


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
