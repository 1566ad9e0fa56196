"""Simulated spots in real planes: a microscope's own noise and structure, exact truth.

A plane without spots is cropped, turned, resampled and processed at random; then spots of
one width are drawn into it. Their heights are set by their contrast to noise in that very
plane (see `blinkcore.simulation.contrast`), and their photons bring the noise that the
plane's own gain gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from scipy import ndimage

from blinkcore.noise import MEDIAN_TO_NOISE
from blinkcore.simulation import contrast
from blinkcore.simulation.camera import to_integer
from blinkcore.simulation.light import add_gaussians, add_spots
from blinkcore.simulation.processing import process
from blinkcore.simulation.ranges import GENERAL, SceneRanges, happens, log_uniform
from blinkcore.simulation.scenes import (
    Scene,
    draw_intensities,
    draw_positions,
    draw_specks,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


def implant(
    plane: NDArray[Any],
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    ranges: SceneRanges = GENERAL,
) -> Scene:
    """Draw a random piece of a real plane with simulated spots in it.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        A real image without spots, of any real type.
    shape : tuple of int
        Height and width of the piece in px.
    rng : Generator
        Source of all randomness.
    ranges : SceneRanges
        What to draw from: `sigma`, `density`, `contrast`, `zoom` and the shapes,
        intensities and specks of scenes.

    Returns
    -------
    Scene
        Its `snr`, `photons` and `background` are unknown, NaN.
    """
    ground = _piece(plane, shape, rng, ranges)
    sigma = log_uniform(rng, ranges.sigma)
    points = draw_positions(shape, sigma, None, rng, ranges)
    response = contrast.difference_of_gaussians(ground, sigma)
    noise = contrast.local_noise(response, sigma)
    # In a flat area of integers the noise counts as one grey level, not as 0.
    is_integer = plane.dtype.kind in "ui"
    floor = contrast.WHITE_RESPONSE / sigma if is_integer else 0.01 * float(noise.max())
    noise = np.maximum(noise, max(floor, 1e-6))
    at_spots = contrast.at_points(noise, points)
    unit = log_uniform(rng, ranges.contrast) / contrast.SPOT_RESPONSE
    # Equally visible everywhere, or equally bright.
    even = rng.random() < 0.5
    level = at_spots if even else np.full(len(points), np.median(noise))
    peak = unit * level * draw_intensities(len(points), rng, ranges)
    seen = contrast.SPOT_RESPONSE * peak >= ranges.min_contrast * at_spots
    if len(peak):
        seen &= peak >= ranges.min_relative_height * np.median(peak)

    light = np.zeros(shape, np.float32)
    add_spots(light, points, peak, sigma, rng, ranges)
    specks = draw_specks(shape, sigma, peak[seen], rng, ranges)
    add_gaussians(light, specks.points, specks.peak, specks.sigma)
    pixels = ground + light
    pixels += _shot_noise(ground, light, rng)
    if happens(rng, ranges.p_flat_tops) and seen.any():
        _flatten_tops(pixels, ground, float(np.median(peak[seen])), rng, ranges)
    if happens(rng, ranges.p_processed):
        pixels = process(pixels, rng)
    image = _digitized(pixels, plane.dtype, rng)
    if len(points):
        seen &= contrast.stands_out(image, points, sigma, ranges.min_contrast / 2)
    unknown = np.full(int(seen.sum()), np.nan)
    return Scene(image, points[seen], sigma, unknown, unknown, unknown)


def _flatten_tops(
    pixels: Array,
    ground: Array,
    typical: float,
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> None:
    """Cut bright spots at a share of their typical height, in place, as saturation does."""
    top = float(np.median(ground)) + typical * log_uniform(rng, ranges.flat_top)
    np.minimum(pixels, np.maximum(top, ground), out=pixels)


def _piece(
    plane: NDArray[Any],
    shape: tuple[int, int],
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> Array:
    """Cut, turn and resample a piece of a plane, and vary its noise."""
    zoom = log_uniform(rng, ranges.zoom)
    size = np.minimum(np.ceil(np.array(shape) / zoom).astype(int), plane.shape)
    top, left = (int(rng.integers(n + 1)) for n in np.array(plane.shape) - size)
    crop = plane[top : top + size[0], left : left + size[1]].astype(np.float32)
    crop = np.nan_to_num(crop, nan=0.0, posinf=0.0, neginf=0.0)
    if rng.random() < 0.5:
        crop = crop.T
    crop = crop[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    if crop.shape != shape:
        kind = PIL.Image.Resampling(rng.choice([2, 3]))  # bilinear, bicubic
        picture = PIL.Image.fromarray(np.ascontiguousarray(crop))
        crop = np.asarray(picture.resize((shape[1], shape[0]), kind))
    crop = np.array(crop, np.float32)
    change = rng.random()
    if change < 0.25:
        steps = np.abs(np.diff(crop, axis=1))
        scale = float(np.median(steps)) or float(steps.mean())
        crop += rng.uniform(0.2, 2.0) * scale * rng.standard_normal(shape, np.float32)
    elif change < 0.4:
        crop = ndimage.gaussian_filter(crop, rng.uniform(0.3, 1.2))
    return crop


def _shot_noise(ground: Array, light: Array, rng: np.random.Generator) -> Array:
    """Draw the noise that the light of the spots adds, by the plane's own gain."""
    gain = estimate_gain(ground)
    spread = np.sqrt(gain * np.maximum(light, 0.0))
    return spread * rng.standard_normal(light.shape, dtype=np.float32)


def estimate_gain(plane: NDArray[Any]) -> float:
    """Estimate the variance of the noise per count of light, from a single plane.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        At least 16 px to each side.

    Returns
    -------
    float
        Counts; 0 where brighter places are not noisier.
    """
    pixels = np.asarray(plane, np.float32)
    rows, cols = (n // 16 * 16 for n in pixels.shape)
    blocks = pixels[:rows, :cols].reshape(rows // 16, 16, cols // 16, 16)
    mean = blocks.mean(axis=(1, 3)).ravel()
    # Half the variance of differences of neighbours: structure is mostly smooth.
    steps = np.diff(blocks, axis=3)
    variance = (np.median(np.abs(steps), axis=(1, 3)) / MEDIAN_TO_NOISE).ravel() ** 2
    spread = mean - np.quantile(mean, 0.1)
    known = spread > 0
    if known.sum() < 4:
        return 0.0
    low = np.quantile(variance[~known], 0.5) if (~known).any() else 0.0
    slopes = (variance[known] - low) / spread[known]
    return float(max(np.median(slopes), 0.0))


def _digitized(
    pixels: Array, dtype: np.dtype[Any], rng: np.random.Generator
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Round to 8 bit, stretched, or to 16 bit with steps as fine as the plane's."""
    low, high = float(pixels.min()), float(pixels.max())
    if dtype == np.uint8 and rng.random() < 0.5:
        factor = 255 / max(high - low, 1e-6) if high > 255 or low < 0 else 1.0
        base = low if factor != 1.0 else 0.0
        return to_integer((pixels - base) * factor, np.dtype(np.uint8))
    if high - low < 4096:  # float planes, and quantized noise made finer
        factor = rng.uniform(1.0, 16.0)
        pixels = (pixels - min(low, 0.0)) * np.float32(factor)
    return to_integer(pixels, np.dtype(np.uint16))
