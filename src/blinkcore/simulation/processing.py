"""Steps of processing that people apply before they look for spots.

Smoothing, background subtraction, clipping and stretching, sharpening, deconvolution,
stitching: each leaves noise that is no longer white, and edges that no camera made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from blinkcore.simulation.ranges import log_uniform

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float32]


def process(pixels: Array, rng: np.random.Generator) -> Array:
    """Apply one to three random steps of processing.

    Parameters
    ----------
    pixels : ndarray of float32, shape (height, width)
        Counts.
    rng : Generator
        Source of randomness.

    Returns
    -------
    ndarray of float32
        Counts of about the same range, never negative.
    """
    chosen = rng.choice(len(_STEPS), int(rng.integers(1, 4)), replace=False, p=_SHARES)
    for step in np.sort(chosen):
        pixels = _STEPS[step](pixels, rng).astype(np.float32, copy=False)
    return np.maximum(pixels, 0)


def _stitch(pixels: Array, rng: np.random.Generator) -> Any:
    """Make two or four fields of view with gains of their own."""
    result = pixels.copy()
    for axis in range(int(rng.integers(1, 3))):
        cut = int(rng.integers(pixels.shape[axis] // 4, 3 * pixels.shape[axis] // 4))
        half = result[cut:] if axis == 0 else result[:, cut:]
        half *= rng.uniform(0.7, 1.3)
    return result


def _interlace(pixels: Array, rng: np.random.Generator) -> Any:
    """Shift and scale every other row a little, as scanners in two directions do."""
    result = pixels.copy()
    shift = rng.uniform(-0.4, 0.4)
    for start in (0, 1):
        rows = result[start::2]
        moved = ndimage.shift(rows, (0, shift * (start - 0.5)), order=1, mode="nearest")
        result[start::2] = moved * (1 + start * rng.uniform(-0.08, 0.08))
    return result


def _smooth(pixels: Array, rng: np.random.Generator) -> Any:
    return ndimage.gaussian_filter(pixels, rng.uniform(0.4, 1.3))


def _median(pixels: Array, _rng: np.random.Generator) -> Any:
    return ndimage.median_filter(pixels, 3)


def _denoise(pixels: Array, rng: np.random.Generator) -> Any:
    """Smooth where little happens and leave what stands out (Lee's local Wiener filter)."""
    size = int(rng.choice([3, 5]))
    mean = ndimage.uniform_filter(pixels, size)
    variance = ndimage.uniform_filter(pixels * pixels, size) - mean * mean
    noise = np.quantile(variance[::4, ::4], rng.uniform(0.3, 0.7))
    weight = np.maximum(variance - noise, 0) / np.maximum(variance, 1e-9)
    return mean + weight * (pixels - mean)


def _deconvolve(pixels: Array, rng: np.random.Generator) -> Any:
    """Sharpen by a few steps of Richardson and Lucy with a Gaussian."""
    sigma = rng.uniform(0.8, 1.8)
    observed = np.maximum(pixels - pixels.min(), 0) + 1
    estimate = np.full_like(observed, observed.mean())
    for _ in range(int(rng.integers(3, 9))):
        blurred = ndimage.gaussian_filter(estimate, sigma)
        estimate *= ndimage.gaussian_filter(observed / blurred, sigma)
    return estimate


def _unsharp(pixels: Array, rng: np.random.Generator) -> Any:
    smooth = ndimage.gaussian_filter(pixels, rng.uniform(1.0, 4.0))
    return pixels + rng.uniform(0.3, 1.5) * (pixels - smooth)


def _subtract_background(pixels: Array, rng: np.random.Generator) -> Any:
    """Take a smooth or an opened copy away, and clip at zero."""
    if rng.random() < 0.6:
        ground = ndimage.gaussian_filter(pixels, log_uniform(rng, (3.0, 20.0)))
    else:
        size = int(rng.integers(7, 25))
        ground = ndimage.uniform_filter(ndimage.minimum_filter(pixels, size), size)
    return np.maximum(pixels - rng.uniform(0.8, 1.05) * ground, 0)


def _clip_low(pixels: Array, rng: np.random.Generator) -> Any:
    """Cut everything below a percentile to zero, as a display range does."""
    low = np.quantile(pixels[::2, ::2], rng.uniform(0.05, 0.95))
    return np.maximum(pixels - low, 0)


def _gamma(pixels: Array, rng: np.random.Generator) -> Any:
    low, high = float(pixels.min()), float(pixels.max())
    span = max(high - low, 1e-6)
    return span * ((pixels - low) / span) ** rng.uniform(0.5, 1.8)


# In the order in which they are applied; `_SHARES` holds how often each is chosen.
_STEPS: list[Callable[[Array, np.random.Generator], Any]] = [
    _stitch,
    _interlace,
    _smooth,
    _median,
    _denoise,
    _deconvolve,
    _unsharp,
    _subtract_background,
    _clip_low,
    _gamma,
]
_SHARES = np.array([0.5, 0.3, 2.0, 1.0, 1.0, 0.7, 1.0, 2.0, 1.5, 1.0])
_SHARES /= _SHARES.sum()
