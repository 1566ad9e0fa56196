"""The Cramér-Rao bound: how well a spot's position can be known at best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_STEPS = (np.arange(2000) + 0.5) / 2000  # of the integral over t


def cramer_rao(
    photons: ArrayLike, background: ArrayLike, sigma: float
) -> NDArray[np.float64]:
    """Compute the smallest standard error of y and of x of isolated Gaussian spots.

    Mortensen et al., Nature Methods 2010 (doi:10.1038/nmeth.1447), eq. 5: shot noise only,
    width and background known.

    Parameters
    ----------
    photons : array-like, shape (n,)
        Of each whole spot.
    background : array-like, shape (n,)
        Photons a pixel beneath each spot.
    sigma : float
        Standard deviation of the spots in px.

    Returns
    -------
    ndarray of float64, shape (n,)
        px. Infinite for a spot without photons.
    """
    n, b = np.broadcast_arrays(
        np.asarray(photons, float), np.asarray(background, float)
    )
    variance = sigma**2 + 1.0 / 12.0  # of a spot seen through pixels
    with np.errstate(divide="ignore"):
        tau = 2.0 * np.pi * variance * b / n
        information = np.mean(np.log(_STEPS) / (1.0 + _STEPS / tau[..., None]), axis=-1)
        bound: NDArray[np.float64] = np.sqrt(variance / n / (1.0 + information))
    return bound
