"""Estimate the width of an image's spots, and resample the image to another scale.

Widths come from scale selection (Lindeberg, International Journal of Computer Vision
1998, doi:10.1023/A:1008045108935): the response of the scale-normalized Laplacian of a
Gaussian is largest where its width is the blob's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import PIL.Image
from scipy import ndimage

from blinkcore.network.normalize import normalized, plane_scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blinkcore.image import Image
    from blinkcore.network.model import Model
    from blinkcore.network.normalize import Scaling

_SIGMAS = np.geomspace(0.6, 12.0, 19)  # px
_SIDE = 768  # px: of the central square that is analysed
_SIGNIFICANCE = 12.0  # standard deviations of a response to noise alone
_MIN_BLOBS = 10  # blobs that make an estimate
_MAX_BLOBS = 300
# Largest ratio of the upper to the lower quartile of the widths of one kind of blobs.
_MAX_SPREAD = 1.5
MIN_FACTOR, MAX_FACTOR = 0.1, 10.0  # factors that make sense


class Blobs(NamedTuple):
    """Blobs of a plane.

    Attributes
    ----------
    sigma : float
        Median width, px.
    snr : float
        Median of peak above background over the noise.
    n : int
        Number of blobs.
    """

    sigma: float
    snr: float
    n: int


def estimate_blob_width(plane: NDArray[Any]) -> Blobs | None:
    """Estimate the width and SNR of a plane's bright blobs.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type.

    Returns
    -------
    Blobs or None
        None if fewer than ten rise above the noise, or if their widths vary so much
        that they are structures rather than spots.
    """
    rows, cols = (
        slice(max(0, (n - _SIDE) // 2), (n + _SIDE) // 2) for n in plane.shape
    )
    if min(plane.shape) < 32:
        return None
    pixels = normalized(plane[rows, cols], plane_scaling(plane, "noise"))
    # White noise of standard deviation 1 gives the normalized Laplacian a response with
    # standard deviation sqrt(1 / (2 pi)) / sigma; the pixel grid changes that by a few
    # per cent for narrow filters.
    responses = np.stack(
        [-(s**2) * ndimage.gaussian_laplace(pixels, s, truncate=3.0) for s in _SIGMAS]
    )
    noise = np.sqrt(1.0 / (2.0 * np.pi)) / _SIGMAS[:, None, None]
    # Blobs are maxima in place and scale; the first and last scale have none.
    peaks = responses[1:-1] == _largest_around(responses)[1:-1]
    peaks &= responses[1:-1] > _SIGNIFICANCE * noise[1:-1]
    scale, row, col = peaks.nonzero()
    if len(scale) < _MIN_BLOBS:
        return None
    strength = responses[1:-1][peaks]
    best = np.argsort(-strength / noise[1:-1, 0, 0][scale])[:_MAX_BLOBS]
    sigma = _between(responses, scale[best] + 1, row[best], col[best])
    low, high = np.quantile(sigma, (0.25, 0.75))
    if high > _MAX_SPREAD * low:
        return None
    # The normalized Laplacian of a Gaussian of height h is h / 2 at its own scale.
    snr = 2.0 * strength[best]
    # The observed width includes that of a pixel (variance 1 / 12 px²).
    true = np.sqrt(np.maximum(float(np.median(sigma)) ** 2 - 1.0 / 12.0, 0.05))
    return Blobs(float(true), float(np.median(snr)), len(best))


def _largest_around(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Find the maximum of each 3 x 3 x 3 cube; several times as fast as SciPy's filter."""
    largest = values
    for axis in range(values.ndim):
        before, after = largest, largest.copy()
        lines, new = np.moveaxis(before, axis, 0), np.moveaxis(after, axis, 0)
        np.maximum(new[1:], lines[:-1], out=new[1:])
        np.maximum(new[:-1], lines[1:], out=new[:-1])
        largest = after
    return largest


def _between(
    responses: NDArray[np.float32],
    scale: NDArray[np.intp],
    row: NDArray[np.intp],
    col: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Scale of the largest response by a parabola over three neighbours, px."""
    below, at, above = (responses[scale + d, row, col] for d in (-1, 0, 1))
    step = 0.5 * (below - above) / np.minimum(below - 2 * at + above, -1e-9)
    ratio = _SIGMAS[1] / _SIGMAS[0]
    sigma: NDArray[np.float64] = _SIGMAS[scale] * ratio ** np.clip(step, -0.5, 0.5)
    return sigma


def scale_factor(
    image: Image, model: Model, scale: float | str, channel: int | None = None
) -> float:
    """Return the factor by which the planes of an image are resampled.

    Parameters
    ----------
    image : Image
        For "auto", its middle plane is measured.
    model : Model
        Its `spot_sigma` is compared with the image's.
    scale : float or "auto"
        The requested factor.
    channel : int, optional
        See `predict`.

    Returns
    -------
    float
        The requested one; for "auto" the one that brings the image's spots to the width
        that the model was trained on, or 1 if they fit already or if either width is
        unknown.
    """
    if not isinstance(scale, str):
        return float(scale)
    misfit = _misfit(image, model, channel)
    return 1.0 if misfit is None else factor_to(misfit[0].sigma, misfit[1])


def scale_warning(image: Image, model: Model, channel: int | None = None) -> str | None:
    """Say in a sentence if an image's spots are not of the width of the model's."""
    misfit = _misfit(image, model, channel)
    if misfit is None:
        return None
    blobs, trained = misfit
    return (
        f"bright spots are {blobs.sigma:.1f} px wide (sigma of {blobs.n}, SNR "
        f"{blobs.snr:.0f}), the model {model.name} was trained on {trained[0]:g} to "
        f"{trained[1]:g} px; if they are what you look for, try --scale auto"
    )


def _misfit(
    image: Image, model: Model, channel: int | None
) -> tuple[Blobs, tuple[float, float]] | None:
    """Find the blobs of an image and the widths of a model, if they are known and differ."""
    trained = model.metadata.spot_sigma
    blobs = estimate_blob_width(image.middle_plane(channel).data) if trained else None
    if blobs is None or trained is None or is_within(blobs.sigma, trained):
        return None
    return blobs, trained


def is_within(sigma: float, trained: tuple[float, float]) -> bool:
    """Return whether a width is near enough to those that a model was trained on."""
    return trained[0] / 1.25 <= sigma <= trained[1] * 1.25


def factor_to(sigma: float, trained: tuple[float, float]) -> float:
    """Return the factor that brings a width to the middle of a model's range."""
    middle = float(np.sqrt(trained[0] * trained[1]))
    return float(np.clip(middle / sigma, MIN_FACTOR, MAX_FACTOR))


def check_factor(factor: float) -> None:
    """Raise ValueError if a scale makes no sense."""
    if not MIN_FACTOR <= factor <= MAX_FACTOR:
        raise ValueError(
            f"scale must be {MIN_FACTOR:g} to {MAX_FACTOR:g}, got {factor:g}"
        )


def resampled(
    plane: NDArray[Any], factor: float, scaling: Scaling | None = None
) -> NDArray[np.float32]:
    """Resample a plane: means over pixels to reduce it, bicubic to enlarge it.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type.
    factor : float
        New pixels per old pixel, in each direction.
    scaling : Scaling, optional
        That of the plane by its noise, if it is known already.

    Returns
    -------
    ndarray of float32
        In units of the scaling's noise, without its offset. A place p (an integer is the centre of a pixel) is at (p + 0.5) * shape ratio - 0.5.
    """
    height, width = (max(1, round(n * factor)) for n in plane.shape)
    kind = PIL.Image.Resampling.BOX if factor < 1 else PIL.Image.Resampling.BICUBIC
    scaling = scaling or plane_scaling(plane, "noise")
    # With their offset subtracted, counts of any size fit into float32.
    picture = PIL.Image.fromarray(normalized(plane, scaling))
    return np.array(picture.resize((width, height), kind))
