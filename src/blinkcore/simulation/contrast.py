"""Contrast to noise: how far a spot stands out from what surrounds it.

The response of a difference of Gaussians (widths sigma and 2 sigma of the spot) over the
standard deviation of that response in the surroundings. It counts structure of the size of
a spot (grain of cytoplasm, edges, correlated noise) as the noise that it is to the eye,
where the ratio of signal and shot noise counts photons alone. A spot of blinkcore is a
point-like light with a contrast of 4 and more that belongs to the bright class of its image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Response of the difference of Gaussians to a spot of height 1 and the same width:
# sigma² / (sigma² + sigma²) - sigma² / (sigma² + 4 sigma²).
SPOT_RESPONSE = 0.3
# Its response to white noise of standard deviation 1, for sigma of 1 px and more:
# sqrt((1 + 1/4 - 4/5) / (4 pi)) / sigma.
WHITE_RESPONSE = 0.18934
# The surroundings are a square of this many sigma to each side.
_REACH = 20.0


def difference_of_gaussians(pixels: NDArray[Any], sigma: float) -> NDArray[np.float32]:
    """Filter a plane with Gaussians of sigma and 2 sigma and subtract.

    Parameters
    ----------
    pixels : ndarray, shape (height, width)
        Any real type.
    sigma : float
        px.

    Returns
    -------
    ndarray of float32, shape (height, width)
        In the units of the pixels.
    """
    plane = np.asarray(pixels, np.float32)
    narrow: NDArray[np.float32] = ndimage.gaussian_filter(plane, sigma, truncate=3.0)
    narrow -= ndimage.gaussian_filter(plane, 2.0 * sigma, truncate=3.0)
    return narrow


def local_noise(response: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Compute the standard deviation of a response around each pixel.

    Parameters
    ----------
    response : ndarray of float32, shape (height, width)
        Of `difference_of_gaussians`, for a plane without the spots in question.
    sigma : float
        px; the window reaches 20 sigma to each side.

    Returns
    -------
    ndarray of float32, shape (height, width)
    """
    size = 2 * round(_REACH * sigma) + 1
    mean = ndimage.uniform_filter(response, size)
    square = ndimage.uniform_filter(response * response, size)
    noise: NDArray[np.float32] = np.sqrt(np.maximum(square - mean * mean, 0.0))
    return noise


def stands_out(
    image: NDArray[Any],
    points: NDArray[np.floating[Any]],
    sigma: float,
    min_contrast: float,
) -> NDArray[np.bool_]:
    """Tell which spots can be seen in a finished picture, after camera and processing.

    Parameters
    ----------
    image : ndarray, shape (height, width)
        With the spots.
    points : ndarray, shape (n, 2)
        y, x in px.
    sigma : float
        Width of the spots in px.
    min_contrast : float
        Smallest contrast to noise. The noise is that of the picture without its strongest
        tenth, as the spots themselves are in it.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    response = difference_of_gaussians(image, sigma)
    limit = np.quantile(np.abs(response[::2, ::2]), 0.9)
    noise = local_noise(np.clip(response, -limit, limit), sigma)
    seen: NDArray[np.bool_] = at_points(response, points) > min_contrast * np.maximum(
        at_points(noise, points), 1e-9
    )
    return seen


def at_points(
    plane: NDArray[np.floating[Any]], points: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Read a plane at positions, linearly between pixels.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
    points : ndarray, shape (n, 2)
        y, x in px.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    values: NDArray[np.float64] = ndimage.map_coordinates(
        plane, np.asarray(points).T, order=1, mode="nearest", output=np.float64
    )
    return values
