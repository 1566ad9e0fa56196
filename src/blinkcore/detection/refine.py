"""Sharpen the positions of bright spots by a Gaussian fit beside the network.

A network's positions stop getting better at a few hundredths of a px; a fit of bright, lone
spots does not. Where the two agree their weighted mean is better than either, because their
errors have different causes: `benchmarks/refine.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blinkcore import _core
from blinkcore.network.grid import UNCERTAINTY

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RADIUS = 5  # px, of the square of pixels that is fitted
_SIGMA = 1.3  # px, to begin with
_MOST_ERROR = 0.2  # px, of the network: of dimmer spots a fit knows no more
_SURER = 0.8  # share of the network's error that the fit's must not exceed
_AGREE = 2.0  # errors that the two may lie apart
# The fit knows of noise, not of neighbours and of other shapes than its own: with its error
# multiplied by this, what is said of bright lone spots is 0.83 to 0.97 of their true error.
_DOUBT = 1.5


def refined(
    pixels: NDArray[np.float32], spots: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Put sharp spots between where the network and where a Gaussian fit has them.

    Parameters
    ----------
    pixels : ndarray of float32, shape (height, width)
        Finite, linear in the light.
    spots : ndarray of float64, shape (n, 4)
        y, x (px), probability, standard error of y and of x (px).

    Returns
    -------
    ndarray of float64, shape (n, 4)
        Position and error are those of both together, each weighed by its inverse variance,
        where the fit (least squares of a round Gaussian on a tilted background) is the surer
        one and agrees with the network; as they were elsewhere.
    """
    result: NDArray[np.float64] = spots.copy()
    sharp = np.flatnonzero(spots[:, UNCERTAINTY] < _MOST_ERROR)
    network: NDArray[np.float64] = spots[sharp]
    fits = _core.refine(pixels, network[:, :2], radius=_RADIUS, sigma=_SIGMA)
    error, said = fits[:, 2], network[:, UNCERTAINTY]
    apart = np.hypot(*(fits[:, :2] - network[:, :2]).T)
    agrees = (error < _SURER * said) & (apart < _AGREE * said)  # false for NaN
    chosen = sharp[agrees]
    one, other = said[agrees] ** 2, (_DOUBT * error[agrees]) ** 2  # variances
    share = (one / (one + other))[:, None]
    result[chosen, :2] += share * (fits[agrees, :2] - network[agrees, :2])
    result[chosen, UNCERTAINTY] = np.sqrt(one * other / (one + other))
    return result
