"""Simulated spots of known contrast in real planes; bounds of their positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from blinkcore.noise import MEDIAN_TO_NOISE
from blinkcore.simulation import contrast
from blinkcore.simulation.implant import estimate_gain
from blinkcore.simulation.light import add_gaussians

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTRASTS = (4, 6, 8, 12)
PER_MEGAPIXEL = 400


class Implanted(NamedTuple):
    """A plane with implanted spots: y, x, contrast and two bounds (px) of each."""

    image: NDArray
    points: NDArray
    ratios: NDArray
    bound_noise: NDArray
    bound_structure: NDArray


def implanted(plane, rng):
    """Implant spots of one width and several contrasts to noise."""
    ground = plane.astype(np.float32)
    sigma = float(rng.uniform(0.9, 2.2))
    points = apart(ground.shape, 4 * sigma, rng)
    noise = contrast.local_noise(contrast.difference_of_gaussians(ground, sigma), sigma)
    # In flat regions of integers the noise is taken as that of one grey level.
    noise = np.maximum(noise, contrast.WHITE_RESPONSE / sigma)
    ratios = rng.choice(CONTRASTS, len(points))
    peak = ratios * contrast.at_points(noise, points) / contrast.SPOT_RESPONSE
    whole = plane.dtype.kind in "ui"
    top = np.iinfo(plane.dtype).max if whole else np.inf
    fits = peak < top - contrast.at_points(ground, points)
    points, peak, ratios = points[fits], peak[fits], ratios[fits]
    light = np.zeros_like(ground)
    add_gaussians(light, points, peak, np.full(len(points), sigma))
    gain = estimate_gain(ground)
    shot = np.sqrt(gain * light) * rng.standard_normal(light.shape)
    image = np.clip(ground + light + shot, min(ground.min(), 0), top)
    image = (np.rint(image) if whole else image).astype(plane.dtype)
    both = bounds(ground, points, peak, sigma, gain)
    return Implanted(image, points, ratios, *both)


def apart(shape, distance, rng):
    """Draw random positions, none nearer than a distance to another or to the edge."""
    n = round(PER_MEGAPIXEL * shape[0] * shape[1] / 1e6)
    points = np.empty((0, 2))
    for _ in range(50 * n):
        point = rng.uniform(distance, np.array(shape) - distance)
        if not len(points) or np.hypot(*(points - point).T).min() > distance:
            points = np.vstack([points, point])
        if len(points) == n:
            break
    return points


def bounds(ground, points, peak, sigma, gain):
    """Compute the smallest standard error of y, without and with structure as noise.

    Without: sum over pixels of (dS/dy)² / variance. With: sum over frequencies of
    |dS/dy|² / power, the spectrum being that of the 32 x 32 px around, averaged over
    directions (Whittle's approximation of the information of coloured noise: Kay,
    Fundamentals of Statistical Signal Processing, 1993, section 3.9).
    """
    side = 32
    taper = np.hanning(side + 2)[1:-1]
    taper = np.outer(taper, taper)
    frequency = np.fft.fftfreq(side) * side
    ring = np.rint(np.hypot(frequency[:, None], frequency)).astype(int)
    steps = np.abs(np.diff(ground, axis=1))
    padded = np.pad(ground, side // 2, mode="reflect")
    offsets = np.arange(-side // 2, side // 2)
    known, structured = [], []
    for (y, x), height in zip(points, peak, strict=True):
        row, col = round(y), round(x)
        near = steps[max(row - 10, 0) : row + 11, max(col - 10, 0) : col + 11]
        # Rounding to integers is noise, too, of variance 1/12.
        noise = max((np.median(near) / MEDIAN_TO_NOISE) ** 2, 1 / 12)
        dy, dx = (row + offsets - y)[:, None], (col + offsets - x)[None]
        spot = height * np.exp(-(dy**2 + dx**2) / (2 * sigma**2))
        slope = spot * dy / sigma**2
        known.append((slope**2 / (noise + gain * spot)).sum())
        window = padded[row : row + side, col : col + side]
        power = np.abs(np.fft.fft2(taper * (window - window.mean()))) ** 2
        power /= (taper**2).sum()
        power = (np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel()))[
            ring
        ]
        shot = gain * (slope**2 * spot).sum() / (slope**2).sum()
        signal = np.abs(np.fft.fft2(slope)) ** 2 / side**2
        structured.append((signal / (np.maximum(power, 1 / 12) + shot)).sum())
    return 1 / np.sqrt(np.array(known)), 1 / np.sqrt(np.array(structured))
