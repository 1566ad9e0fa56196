"""Bring a plane to the scale that a model was trained on.

Statistics are those of the whole plane, never of a tile: a spot's surroundings must not
change with the way the plane is cut. Where the background was subtracted and cut off at zero,
or the field was masked, a large part of the pixels has the smallest value, the black level.
These pixels say nothing about background and noise, so they are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from blinkcore.noise import MEAN_TO_NOISE, MEDIAN_TO_NOISE

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHODS = ("noise", "texture", "standard")
FAR = 5  # px: farther than a spot is wide
MAX_SAMPLES = 1 << 16  # pixels that the statistics look at: whole rows, evenly spaced
BLACK_SHARE = 0.1  # of pixels with the smallest value, above which it is a black level
MIN_ROWS = 32  # that are used at least, however wide a plane is


class Scaling(NamedTuple):
    """Subtract `center`, divide by `scale` (counts).

    Attributes
    ----------
    center, scale : float
        Counts.
    independence : float
        Noise as differences of neighbouring pixels show it over that of pixels 5 px apart,
        at most 1: 1 for white noise, less for smoothed, resampled or structured images.
        Known for "texture".
    """

    center: float
    scale: float
    independence: float = 1.0


def plane_scaling(plane: NDArray[Any], method: str) -> Scaling:
    """Measure the scaling of a plane.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type. NaN and infinite pixels are left out.
    method : {"noise", "texture", "standard"}
        "noise": median, and the standard deviation of the noise from the median absolute
        difference of neighbours in a row. "texture": the same, or that from pixels 5 px
        apart if it is larger, as with correlated noise and structure. Both leave out
        pixels at the black level, and differences between two of them.
        "standard": mean and standard deviation.

    Returns
    -------
    Scaling
        A constant plane has scale 1.

    Raises
    ------
    ValueError
        If the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"normalization must be one of {METHODS}, got {method!r}")
    rows = plane[:] if method == "standard" else sampled_rows(plane)
    rows = rows.astype(np.float32 if plane.dtype.itemsize < 4 else np.float64)
    finite = rows[np.isfinite(rows)]
    if finite.size == 0 and len(rows) < len(plane):
        whole = np.asarray(plane)
        kept = np.isfinite(whole).any(axis=1)
        return plane_scaling(whole[kept], method) if kept.any() else Scaling(0.0, 1.0)
    if finite.size == 0:
        return Scaling(0.0, 1.0)
    if method == "standard":
        return Scaling(float(finite.mean()), float(finite.std()) or 1.0)
    black = finite.min()
    above = finite[finite > black]
    if finite.size - above.size > BLACK_SHARE * finite.size:
        center = _median(above) if above.size else float(black)
    else:
        center, black = _median(finite), None
    noise = near = _noise(rows, 1, black)
    if method == "texture":
        noise = max(near, _noise(rows, FAR, black))
    independence = near / noise if near else 1.0
    return Scaling(center, noise or float(finite.std()) or 1.0, independence)


def _noise(rows: NDArray[np.floating[Any]], lag: int, black: Any) -> float:
    """Estimate the noise's standard deviation from differences along the rows."""
    left, right = rows[:, :-lag], rows[:, lag:]
    with np.errstate(invalid="ignore"):
        difference = np.abs(right - left)
    if black is not None:
        difference = difference[(left > black) | (right > black)]
    difference = difference[np.isfinite(difference)]
    if difference.size == 0:
        return 0.0
    # In coarse 8-bit images most neighbours may be equal; then the mean is used.
    typical = _median(difference) / MEDIAN_TO_NOISE
    return typical or float(difference.mean()) * MEAN_TO_NOISE


def _median(values: NDArray[np.floating[Any]]) -> float:
    """Compute the median by one vectorized partition, in a sixth of NumPy's time."""
    half = values.size // 2
    parted = np.partition(values, half)
    upper = parted[half]
    return float(upper if values.size % 2 else (parted[:half].max() + upper) / 2)


def sampled_rows(plane: NDArray[Any]) -> NDArray[Any]:
    """Return the rows that the statistics of a plane (height, width) look at."""
    step = min(plane.size // MAX_SAMPLES, plane.shape[0] // MIN_ROWS)
    rows: NDArray[Any] = plane[:: max(1, step)]
    return rows


def normalized(pixels: NDArray[Any], scaling: Scaling) -> NDArray[np.float32]:
    """Scale pixels; NaN and infinite ones become the centre, which is 0.

    Parameters
    ----------
    pixels : ndarray, shape (height, width)
        A plane, or a tile of it.
    scaling : Scaling
        Of the whole plane.

    Returns
    -------
    ndarray of float32, shape (height, width)
    """
    # float64 where a float32 could not hold the counts: 2^24 and beyond.
    wide = pixels.dtype.itemsize >= 4
    values = pixels.astype(np.float64 if wide else np.float32)
    values -= scaling.center
    values *= 1.0 / scaling.scale
    if pixels.dtype.kind == "f":
        limit = 1e6  # far beyond any spot, and finite in float32
        np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        np.clip(values, -limit, limit, out=values)
    return values.astype(np.float32, copy=False)


def padded_to_multiple(pixels: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """Pad normalized pixels with background, below and to the right.

    Parameters
    ----------
    pixels : ndarray of float32, shape (height, width)
        Of `normalized`.
    stride : int
        Sides become multiples of it.

    Returns
    -------
    ndarray of float32
        The same array if nothing is missing.
    """
    missing = [(0, -side % stride) for side in pixels.shape]
    return np.pad(pixels, missing) if any(m[1] for m in missing) else pixels
