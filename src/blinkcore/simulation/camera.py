"""The camera: photons to counts, and counts to integers."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from scipy import ndimage

from blinkcore.simulation.processing import process
from blinkcore.simulation.ranges import happens, log_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blinkcore.simulation.ranges import SceneRanges

    Array = NDArray[np.float32]


def take_picture(
    photons: Array,
    rng: np.random.Generator,
    ranges: SceneRanges,
    *,
    full_well: float = np.inf,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Turn expected photons into the integer image that a microscopist opens.

    Parameters
    ----------
    photons : ndarray of float32, shape (height, width)
        Expected photons per px.
    rng : Generator
        Source of randomness.
    ranges : SceneRanges
        Which cameras there are, and how often pictures are processed afterwards.
    full_well : float
        Photons at which a pixel is full: spots above it get flat tops.

    Returns
    -------
    ndarray of uint8 or uint16, shape (height, width)
    """
    counts = _expose(photons, rng, ranges, full_well)
    if rng.random() < ranges.p_hot_pixels:
        n = int(rng.integers(1, max(2, photons.size // 3000)))
        row, col = (rng.integers(length, size=n) for length in photons.shape)
        counts[row, col] += np.ptp(counts) * rng.uniform(0.1, 1.5, n)
    if happens(rng, ranges.p_processed):
        counts = process(counts, rng)
    if rng.random() < ranges.p_smoothed:
        counts = ndimage.gaussian_filter(counts, rng.uniform(0.3, 0.9))
    if rng.random() < ranges.p_8bit:
        return _to_8bit(counts, rng, ranges)
    if rng.random() < ranges.p_saturated:
        high = float(np.quantile(counts, rng.uniform(0.99, 0.9999)))
        counts *= 65535 / max(high, 1.0)  # clipping may leave only zeros
    return to_integer(counts, np.dtype(np.uint16))


def _expose(
    photons: Array, rng: np.random.Generator, ranges: SceneRanges, full_well: float
) -> Array:
    """Turn photons into counts: shot noise, gain, offset, read noise."""
    shape = photons.shape
    electrons = rng.poisson(np.maximum(photons, 0.0)).astype(np.float32)
    read = rng.uniform(0.3, 3.0)
    if rng.random() < ranges.p_em_gain:
        # The multiplication register doubles the variance (Robbins & Hadwen 2003).
        electrons = rng.standard_gamma(np.maximum(electrons, 1e-3)).astype(np.float32)
    noise = rng.standard_normal(shape, dtype=np.float32) * read
    if rng.random() < ranges.p_scmos:
        maps = rng.standard_normal(shape, dtype=np.float32)
        noise *= np.exp(0.4 * maps)
        electrons *= 1 + 0.01 * maps[::-1]
        noise += 0.5 * maps[:, ::-1]
    electrons += noise
    if happens(rng, ranges.p_projected):
        _project(electrons, photons, read, rng)
    if np.isfinite(full_well):
        np.minimum(electrons, np.float32(full_well), out=electrons)
    gain = log_uniform(rng, (0.5, 8.0))
    offset = float(rng.choice([0.0, 100.0, 400.0]))
    counts: Array = gain * electrons + np.float32(offset)
    return counts


def _project(
    electrons: Array, photons: Array, read: float, rng: np.random.Generator
) -> None:
    """Take the maximum with further exposures, as a maximum projection does."""
    for _ in range(int(rng.integers(1, 8))):
        share = np.float32(rng.uniform(0.6, 1.0))  # planes differ in brightness
        again = rng.poisson(np.maximum(photons * share, 0.0)).astype(np.float32)
        again += read * rng.standard_normal(photons.shape, dtype=np.float32)
        np.maximum(electrons, again, out=electrons)


def _to_8bit(
    counts: Array, rng: np.random.Generator, ranges: SceneRanges
) -> NDArray[np.uint8]:
    low = np.quantile(counts, rng.uniform(0.0, 0.02))
    high = max(np.quantile(counts, rng.uniform(0.998, 1.0)), low + 1)
    image = to_integer((counts - low) * (255 / (high - low)), np.dtype(np.uint8))
    if rng.random() < ranges.p_jpeg / ranges.p_8bit:
        buffer = io.BytesIO()
        PIL.Image.fromarray(image).save(
            buffer, "JPEG", quality=int(rng.integers(60, 96))
        )
        image = np.array(PIL.Image.open(buffer))
    return image


def to_integer(pixels: NDArray[np.floating[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round pixels, of any shape, to an integer type; values outside are clipped."""
    counts: NDArray[Any] = np.clip(np.rint(pixels), 0, np.iinfo(dtype).max)
    return counts.astype(dtype)
