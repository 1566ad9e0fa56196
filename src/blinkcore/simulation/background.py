"""Light that does not come from spots: cells, haze, texture, blobs, discs, lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from scipy import fft, ndimage, special

from blinkcore.simulation.light import add_gaussians
from blinkcore.simulation.ranges import happens, log_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blinkcore.simulation.ranges import SceneRanges

    Array = NDArray[np.float32]


def draw_background(
    shape: tuple[int, int], level: float, rng: np.random.Generator, ranges: SceneRanges
) -> tuple[Array, Array | None]:
    """Draw the light between the spots, and a mask of the cells if there are any."""
    photons = np.full(shape, level, np.float32)
    cells = None
    if rng.random() < ranges.p_haze:
        haze = smooth_noise(shape, log_uniform(rng, (20.0, 150.0)), rng)
        photons += level * log_uniform(rng, ranges.structure) * np.maximum(haze, 0)
    if rng.random() < ranges.p_cells:
        cells = _cells(shape, rng)
        inside = log_uniform(rng, ranges.structure) * rng.choice([1.0, 1.0, 3.0])
        grain = smooth_noise(shape, log_uniform(rng, (4.0, 15.0)), rng)
        contrast = rng.uniform(0.0, 0.5)
        photons += level * inside * cells * np.maximum(1 + contrast * grain, 0)
    if rng.random() < ranges.p_texture:
        grain = smooth_noise(shape, log_uniform(rng, (3.0, 12.0)), rng)
        photons *= np.maximum(1 + rng.uniform(0.02, 0.25) * grain, 0.05)
    if rng.random() < ranges.p_gradient:
        y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
        angle = rng.uniform(0, 2 * np.pi)
        slope = np.sin(angle) * y + np.cos(angle) * x - 0.3 * (y * y + x * x)
        photons *= np.exp(rng.uniform(0.0, 0.7) * slope).astype(np.float32)
    if happens(rng, ranges.p_grain):
        _add_grain(photons, level, cells, rng, ranges)
    return photons, cells


def _add_grain(
    photons: Array,
    level: float,
    cells: Array | None,
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> None:
    """Add texture down to the size of a spot, as cytoplasm and tissue have it.

    It adds light or modulates it, evenly or to one side (bright grains, dark holes), and
    follows the cells where there are some.
    """
    slope = rng.uniform(*ranges.grain_slope)
    texture = power_law_noise(photons.shape, slope, rng)
    texture = ndimage.gaussian_filter(texture, rng.uniform(0.5, 1.6))
    kind = rng.integers(3)
    if kind == 1:
        texture = np.maximum(texture, 0) ** rng.uniform(1.0, 2.0)
    elif kind == 2:
        texture = -np.abs(texture)
    texture /= max(float(texture.std()), 1e-6)
    texture *= np.float32(log_uniform(rng, ranges.grain))
    if rng.random() < 0.5:
        photons *= np.maximum(1 + texture, 0.05)
        return
    place = 1.0 if cells is None or rng.random() < 0.3 else cells
    photons += level * place * texture
    np.maximum(photons, 0.05 * level, out=photons)


def power_law_noise(
    shape: tuple[int, ...], slope: float, rng: np.random.Generator
) -> Array:
    """Draw noise of standard deviation 1 whose amplitude falls as frequency ** -slope."""
    rows, cols = (fft.next_fast_len(n, real=True) for n in shape)
    frequency = np.hypot(fft.fftfreq(rows)[:, None], fft.rfftfreq(cols))
    frequency[0, 0] = np.inf  # no mean
    spectrum = fft.rfft2(rng.standard_normal((rows, cols), dtype=np.float32))
    spectrum *= (np.maximum(frequency, 1 / 64) ** -slope).astype(np.float32)
    noise = fft.irfft2(spectrum, (rows, cols))[: shape[0], : shape[1]]
    noise /= max(float(noise.std()), 1e-9)
    result: Array = noise.astype(np.float32)
    return result


def smooth_noise(
    shape: tuple[int, int], scale: float, rng: np.random.Generator
) -> Array:
    """Draw noise of mean 0 and standard deviation about 1, structured at `scale` px."""
    coarse = tuple(max(3, int(np.ceil(n / scale)) + 3) for n in shape)
    values = rng.standard_normal(coarse, dtype=np.float32)
    fine = (round(coarse[1] * scale), round(coarse[0] * scale))
    picture = PIL.Image.fromarray(values).resize(fine, PIL.Image.Resampling.BICUBIC)
    pixels = np.asarray(picture)
    if pixels.shape[0] < shape[0] or pixels.shape[1] < shape[1]:
        pixels = np.asarray(picture.resize((shape[1], shape[0])))
    noise = 1.4 * pixels[: shape[0], : shape[1]]
    return noise.astype(np.float32, copy=False)


def _cells(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Draw a mask in [0, 1] of round, wobbly cells with more or less soft edges."""
    size = log_uniform(rng, (25.0, 120.0))
    rough = smooth_noise(shape, size, rng) + 0.15 * smooth_noise(shape, size / 5, rng)
    softness = log_uniform(rng, (0.02, 0.5))
    mask: Array = special.expit((rough - rng.uniform(-0.5, 1.0)) / softness).astype(
        np.float32
    )
    return mask


def add_distractors(
    photons: Array,
    sigma: float,
    peak: NDArray[np.float64] | float,
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> None:
    """Add out-of-focus spots, blobs, discs and lines, none of which is labelled.

    Parameters
    ----------
    photons : ndarray of float64, shape (height, width)
        The expected photons of each pixel, to which they are added.
    sigma : float
        Width of the scene's spots in px.
    peak : float
        Typical height of the scene's spots in photons.
    rng : Generator
        What is drawn with.
    ranges : SceneRanges
        How often each kind occurs.
    """
    shape = np.array(photons.shape)
    area = photons.size
    height = float(peak)
    if rng.random() < ranges.p_out_of_focus:
        n = int(rng.poisson(log_uniform(rng, (1e-4, 3e-3)) * area))
        widths = sigma * rng.uniform(2.2, 5.0, n)
        light = height * rng.uniform(0.05, 0.5, n) * (2 * sigma / widths)
        for narrow in (widths < 3.2 * sigma, widths >= 3.2 * sigma):
            at = rng.uniform(-10, shape + 10, (int(narrow.sum()), 2))
            add_gaussians(photons, at, light[narrow], widths[narrow])
    if rng.random() < ranges.p_blobs:
        n = int(rng.integers(1, 8))
        at = rng.uniform(0, shape, (n, 2))
        light = height * np.exp(rng.uniform(-1, 1.5, n))
        add_gaussians(photons, at, light, rng.uniform(4, 12, n) * max(1.0, sigma / 1.5))
    if rng.random() < ranges.p_discs:
        for _ in range(int(log_uniform(rng, (1, 40)))):
            _add_disc(photons, height * float(np.exp(rng.uniform(-1, 1.5))), rng)
    if rng.random() < ranges.p_lines:
        for _ in range(int(rng.integers(1, 5))):
            _add_line(photons, sigma, height * float(np.exp(rng.uniform(-1, 1))), rng)


def _add_disc(photons: Array, height: float, rng: np.random.Generator) -> None:
    """Add an oval with a flat top and a soft edge: a nucleus, a vesicle, debris."""
    major = log_uniform(rng, (4.0, 20.0))
    minor = major * rng.uniform(0.6, 1.0)
    y0, x0 = rng.uniform(0, photons.shape)
    y, x = (slice(max(0, int(at - major - 8)), int(at + major + 8)) for at in (y0, x0))
    rows, cols = np.ogrid[y, x]
    angle = rng.uniform(0, np.pi)
    along = (rows - y0) * np.sin(angle) + (cols - x0) * np.cos(angle)
    across = (rows - y0) * np.cos(angle) - (cols - x0) * np.sin(angle)
    depth = minor * (1 - np.hypot(along / major, across / minor))
    light = height * special.expit(depth / rng.uniform(0.4, 2.0))
    window = photons[y, x]
    window += light[: window.shape[0], : window.shape[1]].astype(np.float32)


def _add_line(
    photons: Array, sigma: float, height: float, rng: np.random.Generator
) -> None:
    """Add a scratch or fibre: a slightly bent bright line across the image."""
    y, x = np.ogrid[: photons.shape[0], : photons.shape[1]]
    angle = rng.uniform(0, np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    y0, x0 = rng.uniform(0, photons.shape)
    along = (x - x0) * cos + (y - y0) * sin
    across = (y - y0) * cos - (x - x0) * sin
    across = across + rng.uniform(0, 12) * np.sin(along / rng.uniform(20, 80))
    width = sigma * rng.uniform(0.7, 1.6)
    length = rng.uniform(10, 400)
    line = np.exp(-0.5 * (across / width) ** 2) * (np.abs(along) < length)
    photons += (height * line).astype(np.float32)
