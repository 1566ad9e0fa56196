"""The image's own population of brightness: which heights its candidates have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, special

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Heights are compared in their logarithm, in bins and by a Gaussian of these widths.
_BIN, _WIDTH = 0.05, 0.3
# Number of candidates of about one height whose mean counts half.
_HALF_TRUST = 20.0
# Two classes of brightness are looked for among candidates above this probability, as
# decoded, if there are at least so many.
_CLASS_FLOOR, _MIN_FOR_CLASSES = 0.2, 10
# They count as real if three conditions hold, each softened by a logistic function: the
# mean probabilities differ by more than the gap; that of the dim class is at most the
# doubt; and the classes explain more of the variance than the two halves of a
# distribution without classes do (0.75 if it is uniform, 0.64 if it is normal).
_CLASS_GAP, _CLASS_DOUBT, _CLASS_SOFTNESS = 0.25, 0.6, 0.04
_CLASS_VARIANCE, _VARIANCE_SOFTNESS = 0.75, 0.01


def dim_class(
    probability: NDArray[np.float64], heights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Tell which of an image's candidates belong to a dim class, if there are two classes.

    Otsu's threshold (1979, doi:10.1109/TSMC.1979.4310076) on the square root of the heights
    splits the candidates. It always finds two parts. They count as two classes to the
    extent that they explain more of the variance of the heights than parts of one class
    would, and that the dim part's mean probability is doubtful and lower.

    Parameters
    ----------
    probability, heights : ndarray of float64, shape (n,)
        Of all candidates of a plane or series: as decoded, and how far each stands out.

    Returns
    -------
    ndarray of float64, shape (n,)
        0 in the bright class and where there are no two classes; in the dim class how
        certain it is that there are two, up to 1.
    """
    no_classes = np.zeros(len(heights))
    considered = probability > _CLASS_FLOOR
    if considered.sum() < _MIN_FOR_CLASSES:
        return no_classes
    root = np.sqrt(np.maximum(heights, 0.0))
    threshold, explained = otsu_threshold(root[considered])
    is_bright = root > threshold
    bright, dim = considered & is_bright, considered & ~is_bright
    if not bright.any() or not dim.any():
        return no_classes
    doubt = probability[dim].mean()
    gap = probability[bright].mean() - doubt
    certainty = special.expit((gap - _CLASS_GAP) / _CLASS_SOFTNESS)
    certainty *= special.expit((_CLASS_DOUBT - doubt) / _CLASS_SOFTNESS)
    certainty *= special.expit((explained - _CLASS_VARIANCE) / _VARIANCE_SOFTNESS)
    dimness: NDArray[np.float64] = np.where(is_bright, 0.0, certainty)
    return dimness


def otsu_threshold(values: NDArray[np.float64]) -> tuple[float, float]:
    """Part values, shape (n,), in two classes with the largest variance between them.

    Otsu, IEEE Transactions on Systems, Man, and Cybernetics 1979
    (doi:10.1109/TSMC.1979.4310076).

    Returns the largest value of the lower class, and the share of the variance of all that
    is between the classes (eta of Otsu's article; 0 where all values are equal).
    """
    ordered = np.sort(values)
    n = np.arange(1, len(ordered))
    below = np.cumsum(ordered)[:-1]
    above = ordered.sum() - below
    between = n * n[::-1] * (above / n[::-1] - below / n) ** 2
    best = int(np.argmax(between))
    variance = ordered.var() * len(ordered) ** 2
    return float(ordered[best]), float(between[best] / variance) if variance else 0.0


def bins_of(heights: NDArray[np.float64]) -> NDArray[np.intp]:
    """Put the logarithms of heights, shape (n,), into bins, numbered from 0."""
    positive = heights[heights > 0]
    smallest = float(positive.min()) if len(positive) else 1.0
    logarithm = np.log(np.maximum(heights, smallest))
    bins: NDArray[np.intp] = ((logarithm - logarithm.min()) / _BIN).astype(np.intp)
    return bins


def mean_of_similar_height(
    probability: NDArray[np.float64], bins: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average the probability over candidates of about the same height.

    Parameters
    ----------
    probability : ndarray of float64, shape (n,)
        Of each candidate.
    bins : ndarray of intp, shape (n,)
        See `bins_of`.

    Returns
    -------
    mean, trust : ndarray of float64, shape (n,)
        At each candidate's height: the mean, weighted by a Gaussian over heights, and its
        weight from 0 to 1, which grows with the number of candidates of that height.
    """
    reach = math.ceil(4 * _WIDTH / _BIN)
    n = int(bins.max()) + 1 + 2 * reach
    kernel_sum = _WIDTH / _BIN * math.sqrt(2 * math.pi)
    count, total = (
        kernel_sum
        * ndimage.gaussian_filter1d(
            np.bincount(bins + reach, weights, minlength=n).astype(float),
            _WIDTH / _BIN,
            mode="constant",
        )[bins + reach]
        for weights in (None, probability)
    )
    return total / count, count / (count + _HALF_TRUST)
