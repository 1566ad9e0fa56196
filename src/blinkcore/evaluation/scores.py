"""Compare detected spots with true ones: matching, F1, F1 integral, RMSE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blinkcore import _core

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

INTEGRAL_CUTOFFS = np.linspace(0.0, 3.0, 50)  # px, of the F1 integral
DEFAULT_CUTOFF = 3.0  # px
# The scores that are averaged over images.
SCORES = ("f1_integral", "f1", "precision", "recall", "rmse")


@dataclass(frozen=True)
class Scores:
    """Scores of one set of detected spots.

    Attributes
    ----------
    f1_integral : float
        Area under F1 against cutoff, 0 to 3 px, divided by 3.
    f1, precision, recall : float
        At the cutoff.
    rmse : float
        Root mean square distance of the pairs matched at the cutoff, in px; NaN without
        one.
    n_truth, n_detected, n_matched : int
        Numbers of spots, and of pairs at the cutoff.
    """

    f1_integral: float
    f1: float
    precision: float
    recall: float
    rmse: float
    n_truth: int
    n_detected: int
    n_matched: int


def match(
    truth: ArrayLike,
    detected: ArrayLike,
    *,
    cutoff: float,
    scale: Sequence[float] | None = None,
) -> NDArray[np.int64]:
    """Match two sets of spots one to one: most pairs first, then least total distance.

    Parameters
    ----------
    truth, detected : array-like, shape (n, 2) or (n, 3)
        Positions (z,) y, x.
    cutoff : float
        Largest distance of a pair, itself included; in px, or in the units of `scale`.
    scale : sequence of float, optional
        Factor for each coordinate, for example the pixel size in µm where z is coarser
        than y and x.

    Returns
    -------
    ndarray of int64, shape (k, 2)
        Indices into truth and detected, ascending in the first.

    Raises
    ------
    ValueError
        If shapes differ, or a coordinate or the cutoff is not finite.

    Notes
    -----
    Shortest augmenting paths (Jonker & Volgenant, Computing 1987,
    doi:10.1007/BF02278710) on each connected component of possible pairs.
    """
    return _core.match(_scaled(truth, scale), _scaled(detected, scale), cutoff=cutoff)


def f1_curve(
    truth: ArrayLike, detected: ArrayLike, *, scale: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Compute F1 at each of `INTEGRAL_CUTOFFS`.

    Parameters
    ----------
    truth, detected : array-like, shape (n, 2) or (n, 3)
        Positions (z,) y, x in px.
    scale : sequence of float, optional
        See `match`.

    Returns
    -------
    ndarray of float64, shape (50,)
        2 pairs / (truth + detected); 1 where there are neither true nor detected spots.
    """
    truth, detected = _scaled(truth, scale), _scaled(detected, scale)
    total = len(truth) + len(detected)
    if total == 0:
        return np.ones(len(INTEGRAL_CUTOFFS))
    if len(truth) == 0 or len(detected) == 0:
        return np.zeros(len(INTEGRAL_CUTOFFS))
    pairs = _core.count_matches(truth, detected, cutoffs=INTEGRAL_CUTOFFS)
    return 2.0 * pairs / total


def evaluate(
    truth: ArrayLike,
    detected: ArrayLike,
    *,
    cutoff: float = DEFAULT_CUTOFF,
    scale: Sequence[float] | None = None,
) -> Scores:
    """Score detected spots against true ones.

    Parameters
    ----------
    truth, detected : array-like, shape (n, 2) or (n, 3)
        Positions (z,) y, x in px.
    cutoff : float
        Largest distance of a pair for all scores but the F1 integral, in px.
    scale : sequence of float, optional
        See `match`.

    Returns
    -------
    Scores

    References
    ----------
    .. [1] Eichenberger et al., "deepBlink: threshold-independent detection and
       localization of diffraction-limited spots", Nucleic Acids Research (2021),
       doi:10.1093/nar/gkab546.
    """
    truth, detected = _scaled(truth, scale), _scaled(detected, scale)
    curve = f1_curve(truth, detected)
    nothing = len(truth) == len(detected) == 0
    pairs = np.empty((0, 2), np.int64)
    squares = np.empty(0)
    if len(truth) and len(detected):
        pairs = _core.match(truth, detected, cutoff=cutoff)
        squares = ((truth[pairs[:, 0]] - detected[pairs[:, 1]]) ** 2).sum(axis=1)
    f1 = 2 * len(pairs) / max(len(truth) + len(detected), 1)
    return Scores(
        f1_integral=float((curve[1:] + curve[:-1]).mean() / 2),  # trapezoid, / 3 px
        f1=1.0 if nothing else f1,
        precision=1.0 if nothing else len(pairs) / max(len(detected), 1),
        recall=1.0 if nothing else len(pairs) / max(len(truth), 1),
        rmse=float(np.sqrt(squares.mean())) if len(pairs) else float("nan"),
        n_truth=len(truth),
        n_detected=len(detected),
        n_matched=len(pairs),
    )


def _scaled(points: ArrayLike, scale: Sequence[float] | None) -> NDArray[np.float64]:
    """Bring points to the units of the cutoff; an empty list is an empty set of points."""
    array = np.asarray(points, float)
    if array.size == 0 and array.ndim < 2:
        array = array.reshape(0, 2)
    return (
        array if scale is None or len(array) == 0 else array * np.asarray(scale, float)
    )
