"""Fit a Gaussian to each spot: width, intensity and position with standard errors.

The model is a round Gaussian that is integrated over the pixels, on a flat background (Smith et
al., Nature Methods 2010, doi:10.1038/nmeth.1449); the estimate is that of maximum likelihood
for photons, or least squares. Errors follow from the Fisher information.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from blinkcore import _core
from blinkcore.large_plane import bands_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

METHODS = ("poisson", "lsq")
NAMES = (
    "fit_y", "fit_x", "fit_uncertainty", "sigma", "sigma_uncertainty", "amplitude",
    "amplitude_uncertainty", "background", "intensity", "intensity_uncertainty", "snr",
)  # fmt: skip
_Y, _X, _SIGMA, _INTENSITY, _BACKGROUND = range(5)
_AMPLITUDE = 5  # only among the errors
_ERRORS, _CHI_SQUARE = 5, 11  # columns of `_core.fit`
_RADII = (4, 15)  # px: smallest and largest radius of a window
_TRIED, _TRIED_RADIUS = 200, 5  # spots fitted first, for the width; their window, px
_REACH, _START = 3.0, 1.3  # radius of a window in widths; initial width, px
_ENOUGH = 10  # fewest fits from which a common value is estimated


class Camera(NamedTuple):
    """Offset (counts), gain (counts per photon), read noise: from counts to photons."""

    offset: float
    gain: float
    read_noise: float = 0.0  # photons, standard deviation


def check_camera(camera: Camera) -> None:
    """Raise ValueError if a camera makes no sense."""
    if not (np.isfinite(camera).all() and camera.gain > 0 and camera.read_noise >= 0):
        raise ValueError(
            "camera must be OFFSET,GAIN or OFFSET,GAIN,READ_NOISE with a gain above 0, got "
            + ",".join(f"{value:g}" for value in camera)
        )


def fit_spots(
    plane: NDArray[Any],
    points: ArrayLike,
    *,
    method: str = "poisson",
    camera: Camera | None = None,
) -> NDArray[np.float64]:
    """Fit the spots of a plane, each by itself.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type, counts; may be a large plane.
    points : array-like, shape (n, 2)
        y, x in px.
    method : {"poisson", "lsq"}
        Maximum likelihood of photons, or least squares.
    camera : Camera, optional
        If not given, counts are treated as photons, and errors are scaled by how far
        the residuals exceed photon noise: right for any gain, if the offset is small.

    Returns
    -------
    ndarray of float64, shape (n, 11)
        The columns `NAMES`: place and its standard error (of y and of x, px); width and its
        error (px); height of the peak and its error; background in a pixel; all light and
        its error; peak over the noise of the background. In photons with a camera, else in
        counts. NaN where no fit converges.

    Raises
    ------
    ValueError
        If the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"measure must be one of {', '.join(METHODS)}, got {method!r}")
    places = np.asarray(points, np.float64).reshape(-1, 2)
    assumed = camera or Camera(0.0, 1.0)
    tried = places[:: max(1, len(places) // _TRIED)]
    first = _fitted(plane, tried, method, assumed, _TRIED_RADIUS, _START)
    width = _median_or(first[:, _SIGMA], _START)
    radius = int(np.clip(np.ceil(_REACH * width), *_RADII))
    raw = _fitted(plane, places, method, assumed, radius, width)
    factor = 1.0 if camera else _median_or(raw[:, _CHI_SQUARE], 1.0)
    error = raw[:, _ERRORS:_CHI_SQUARE] * np.sqrt(factor)
    sigma, intensity, background = (
        raw[:, column] for column in (_SIGMA, _INTENSITY, _BACKGROUND)
    )
    amplitude = intensity / (2.0 * np.pi * sigma**2)
    noise = np.sqrt(np.maximum(background + assumed.read_noise**2, 0.0) * factor)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.where(noise > 0, amplitude / noise, np.nan)
    uncertainty = np.sqrt((error[:, _Y] ** 2 + error[:, _X] ** 2) / 2.0)
    return np.column_stack(
        [
            raw[:, _Y], raw[:, _X], uncertainty, sigma, error[:, _SIGMA], amplitude,
            error[:, _AMPLITUDE], background, intensity, error[:, _INTENSITY], snr,
        ]
    )  # fmt: skip


def _fitted(
    plane: NDArray[Any],
    places: NDArray[np.float64],
    method: str,
    camera: Camera,
    radius: int,
    width: float,
) -> NDArray[np.float64]:
    """Fit in windows of this radius, beginning with this width, px; see `_core.fit`."""
    result = np.full((len(places), _CHI_SQUARE + 1), np.nan)
    for which, pixels, top in bands_of(plane, places, radius + 1):
        found = _core.fit(
            np.ascontiguousarray(pixels, np.float32),
            places[which] - [top, 0],
            radius=radius,
            sigma=width,
            poisson=method == "poisson",
            offset=camera.offset,
            gain=camera.gain,
            read_variance=camera.read_noise**2,
            n_threads=os.cpu_count() or 1,
        )
        found[:, _Y] += top
        result[which] = found
    return result


def _median_or(values: NDArray[np.float64], otherwise: float) -> float:
    """Return the median of the finite values, or a default if these are too few."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) >= _ENOUGH else otherwise
