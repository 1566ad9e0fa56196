"""Refine the network's positions of bright spots by a Gaussian fit.

A network's positions stop improving at an error of a few hundredths of a px; a fit to a
bright, isolated spot does not. Where they agree, their weighted mean is better than
either, because their errors have different causes: see `benchmarks/refine.py`.
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
_MAX_ERROR = 0.2  # px, of the network; where it is larger, a fit does not help
_MAX_ERROR_RATIO = 0.8  # share of the network's error that the fit's must not exceed
_AGREE = 2.0  # largest distance of the two, in errors of the network
# The fit's error accounts for white noise, not for neighbours, other shapes, or noise that
# neighbouring pixels share. So it is divided by the root of the noise's independence and
# multiplied by the first number where it weighs positions, which is best for bright, lone
# spots, and by the second where it is stated: then 67 % of the positions in 250 simulated
# scenes of all kinds lie within one stated error (white noise: 60 %, smoothed: up to 78 %).
_WEIGHED, _STATED = 1.5, 1.9


def refined(
    pixels: NDArray[np.float32], spots: NDArray[np.float64], independence: float = 1.0
) -> NDArray[np.float64]:
    """Move precise spots to the weighted mean of the network and a Gaussian fit.

    Parameters
    ----------
    pixels : ndarray of float32, shape (height, width)
        Finite, linear in the light.
    spots : ndarray of float64, shape (n, 4)
        y, x (px), probability, standard error of y and of x (px).
    independence : float
        Of the plane's noise, see `blinkcore.network.normalize.Scaling`.

    Returns
    -------
    ndarray of float64, shape (n, 4)
        Where the fit (least squares of a round Gaussian on a tilted background) is more
        precise than the network and agrees with it: the mean of both, weighted by
        inverse variance, and its error. Unchanged elsewhere.
    """
    result: NDArray[np.float64] = spots.copy()
    sharp = np.flatnonzero(spots[:, UNCERTAINTY] < _MAX_ERROR)
    network: NDArray[np.float64] = spots[sharp]
    fits = _core.refine(pixels, network[:, :2], radius=_RADIUS, sigma=_SIGMA)
    error, stated = fits[:, 2], network[:, UNCERTAINTY]
    apart = np.hypot(*(fits[:, :2] - network[:, :2]).T)
    agrees = (error < _MAX_ERROR_RATIO * stated) & (
        apart < _AGREE * stated
    )  # false for NaN
    chosen = sharp[agrees]
    one = stated[agrees] ** 2  # variances
    other = error[agrees] ** 2 / max(independence, 0.01)
    share = (one / (one + _WEIGHED**2 * other))[:, None]
    result[chosen, :2] += share * (fits[agrees, :2] - network[agrees, :2])
    result[chosen, UNCERTAINTY] = 1 / np.sqrt(1 / one + 1 / (_STATED**2 * other))
    return result
