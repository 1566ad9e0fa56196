"""Random pieces of real planes, varied so that a few planes stand for many.

A piece is cropped, turned, resampled and made noisier or smoother. In some, a second plane
shines through, the tones are changed, the texture is made finer or smoother, or few grey
levels are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from scipy import ndimage

from blinkcore.simulation.ranges import happens, log_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blinkcore.simulation.ranges import SceneRanges

    Array = NDArray[np.float32]

# Periods above this many px are no texture.
_COARSEST = 32.0


def draw_piece(
    plane: NDArray[Any],
    other: NDArray[Any] | None,
    shape: tuple[int, int],
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> tuple[Array, np.dtype[Any]]:
    """Draw a random piece of a plane.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Of any real type.
    other : ndarray, shape (height, width), or None
        A second plane, which may shine through.
    shape : tuple of int
        Height and width of the piece in px.
    rng : Generator
        Source of all randomness.
    ranges : SceneRanges
        What to draw from: `zoom`, `tone`, `tilt`, `shine_through` and `noise_levels`.

    Returns
    -------
    ndarray of float32, shape (height, width)
        In counts.
    dtype
        Type of the picture that the piece is a part of.
    """
    piece = _cut_out(plane, shape, rng, ranges)
    if other is not None and happens(rng, ranges.p_shine_through):
        piece = _shone_through(piece, _cut_out(other, shape, rng, ranges), rng, ranges)
    if happens(rng, ranges.p_toned):
        piece = _toned(piece, rng, ranges)
    if happens(rng, ranges.p_tilted):
        piece = _tilted(piece, rng, ranges)
    if happens(rng, ranges.p_few_levels):
        return _few_levels(piece, rng, ranges), np.dtype(np.uint8)
    return piece, plane.dtype


def _cut_out(
    plane: NDArray[Any],
    shape: tuple[int, int],
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> Array:
    """Crop, turn and resample a piece of a plane, and vary its noise."""
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


def _shone_through(
    piece: Array, other: Array, rng: np.random.Generator, ranges: SceneRanges
) -> Array:
    """Add a second piece, scaled to a share of the standard deviation of the first."""
    share = log_uniform(rng, ranges.shine_through)
    scale = share * float(piece.std()) / max(float(other.std()), 1e-6)
    light = other - np.float32(np.quantile(other, 0.01))
    both: Array = piece + np.float32(scale) * light
    return both


def _toned(piece: Array, rng: np.random.Generator, ranges: SceneRanges) -> Array:
    """Change the tones by a power of the share between black and white."""
    low, high = (float(q) for q in np.quantile(piece, [0.001, 0.999]))
    extent = max(high - low, 1e-6)
    tones = np.maximum(piece - low, 0) / extent
    toned: Array = low + extent * tones ** np.float32(log_uniform(rng, ranges.tone))
    return toned


def _tilted(piece: Array, rng: np.random.Generator, ranges: SceneRanges) -> Array:
    """Make the texture finer or smoother by a power of the frequency."""
    frequency = np.hypot(
        np.fft.fftfreq(piece.shape[0])[:, None], np.fft.rfftfreq(piece.shape[1])
    )
    gain = np.maximum(frequency * _COARSEST, 1.0) ** rng.uniform(*ranges.tilt)
    tilted = np.fft.irfft2(np.fft.rfft2(piece) * gain, piece.shape).astype(np.float32)
    scale = float(piece.std()) / max(float(tilted.std()), 1e-6)
    tilted = float(piece.mean()) + scale * (tilted - tilted.mean())
    black = min(float(np.quantile(piece, 0.001)), 0.0)
    cut: Array = np.maximum(tilted, np.float32(black))
    return cut


def _few_levels(piece: Array, rng: np.random.Generator, ranges: SceneRanges) -> Array:
    """Cut off the black level and keep few grey levels, as dim images in 8 bit have them."""
    steps = np.abs(np.diff(piece, axis=1))
    noise = float(np.median(steps)) / 0.9539 or float(steps.mean()) or 1.0
    black = float(np.quantile(piece, rng.uniform(0.0, 0.6)))
    scale = min(
        log_uniform(rng, ranges.noise_levels) / noise,
        200.0 / max(float(np.quantile(piece, 0.999)) - black, 1e-6),
    )
    levels: Array = np.rint(np.clip((piece - black) * np.float32(scale), 0.0, 255.0))
    return levels
