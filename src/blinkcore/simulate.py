"""Random scenes of fluorescent spots with exact truth.

Wide rather than faithful to one microscope: point spread functions, densities,
backgrounds, dirt and cameras are drawn from the ranges of `SceneRanges`, so that a
network trained on nothing else meets a stranger's image halfway.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import PIL.Image
from scipy import ndimage, special

from blinkcore.bound import cramer_rao

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


@dataclass(frozen=True)
class SceneRanges:
    """Everything that a scene draws from; pairs are (least, most).

    Attributes
    ----------
    sigma : pair
        Width of the point spread function in px, drawn evenly in its logarithm.
    ellipticity : pair
        Ratio of the two widths of an elliptical point spread function.
    density : pair
        Spots per px², drawn evenly in its logarithm.
    snr : pair
        Signal to noise ratio of a typical spot, (peak - background) / sqrt(peak) in
        photons, drawn evenly in its logarithm.
    background : pair
        Photons per px, drawn evenly in its logarithm.
    intensity_spread : pair
        Standard deviation of the logarithm of the spots' intensities.
    structure : pair
        Contrast of cells, haze and texture, in units of the background.
    p_* : float
        Probability that a scene has the thing.
    """

    sigma: tuple[float, float] = (0.8, 2.5)
    ellipticity: tuple[float, float] = (1.05, 1.5)
    density: tuple[float, float] = (1e-4, 1.2e-2)
    snr: tuple[float, float] = (1.0, 25.0)
    background: tuple[float, float] = (2.0, 2000.0)
    intensity_spread: tuple[float, float] = (0.1, 0.7)
    structure: tuple[float, float] = (0.05, 2.0)
    p_empty: float = 0.05
    p_clustered: float = 0.25
    p_airy: float = 0.2
    p_elliptical: float = 0.2
    p_defocused: float = 0.3
    p_comets: float = 0.1
    p_mixture: float = 0.3
    p_cells: float = 0.45
    p_haze: float = 0.5
    p_texture: float = 0.3
    p_gradient: float = 0.4
    p_out_of_focus: float = 0.35
    p_blobs: float = 0.2
    p_discs: float = 0.15
    p_lines: float = 0.2
    p_hot_pixels: float = 0.25
    p_em_gain: float = 0.15
    p_scmos: float = 0.3
    p_saturated: float = 0.05
    p_8bit: float = 0.2
    p_jpeg: float = 0.06
    p_resampled: float = 0.2
    p_smoothed: float = 0.1


GENERAL = SceneRanges()


class Scene(NamedTuple):
    """A simulated image and its truth.

    Attributes
    ----------
    image : ndarray of uint8 or uint16, shape (height, width)
        Camera counts.
    points : ndarray of float64, shape (n, 2)
        y, x in px; an integer is the centre of a pixel.
    sigma : float
        Width of the point spread function in px.
    snr : ndarray of float64, shape (n,)
        (peak - background) / sqrt(peak) of each spot, in photons.
    photons, background : ndarray of float64, shape (n,)
        Of each whole spot, and a pixel beneath it, in the camera.
    zoom : float
        By how much the camera's picture was resampled.
    """

    image: NDArray[np.uint8] | NDArray[np.uint16]
    points: NDArray[np.float64]
    sigma: float
    snr: NDArray[np.float64]
    photons: NDArray[np.float64] = np.empty(0)
    background: NDArray[np.float64] = np.empty(0)
    zoom: float = 1.0

    def cramer_rao(self) -> NDArray[np.float64]:
        """Give the least standard error of y and of x of each spot (px), if it were alone.

        Of a Gaussian of this width on even background in a camera without noise of its
        own, see `blinkcore.bound`; other shapes and cameras know less.
        """
        sigma = self.sigma / self.zoom
        return self.zoom * cramer_rao(self.photons, self.background, sigma)


def simulate(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    ranges: SceneRanges = GENERAL,
) -> Scene:
    """Draw one scene.

    Parameters
    ----------
    shape : tuple of int
        Height and width in px.
    rng : Generator
        Source of all randomness: one seed, one scene.
    ranges : SceneRanges
        What to draw from.

    Returns
    -------
    Scene
    """
    if rng.random() < ranges.p_resampled:
        return _resampled(shape, rng, ranges)
    return _scene(shape, rng, ranges)


def _scene(
    shape: tuple[int, int], rng: np.random.Generator, ranges: SceneRanges
) -> Scene:
    sigma = _log_uniform(rng, ranges.sigma)
    level = _log_uniform(rng, ranges.background)
    typical_snr = _log_uniform(rng, ranges.snr)
    background, cells = _background(shape, level, rng, ranges)
    points = _positions(shape, sigma, cells, rng, ranges)
    local = ndimage.map_coordinates(background, points.T, order=1, mode="nearest")
    peak = _peak(typical_snr, local) * _intensities(len(points), rng, ranges)

    photons = background
    _add_distractors(photons, sigma, _peak(typical_snr, level), rng, ranges)
    _add_spots(photons, points, peak, sigma, rng, ranges)
    image = _camera(photons, rng, ranges)
    snr = peak / np.sqrt(peak + local)
    return Scene(image, points, sigma, snr, peak * 2 * np.pi * sigma**2, local)


def _resampled(
    shape: tuple[int, int], rng: np.random.Generator, ranges: SceneRanges
) -> Scene:
    """Draw a scene at another pixel size and resample it: correlated noise, pixelation."""
    factor = float(rng.uniform(0.6, 1.6))
    inner = (round(shape[0] / factor), round(shape[1] / factor))
    scene = _scene(inner, rng, ranges)
    kind = PIL.Image.Resampling(rng.choice([0, 2, 3]))  # nearest, bilinear, bicubic
    if kind == PIL.Image.Resampling.NEAREST and factor < 1:
        kind = PIL.Image.Resampling.BOX
    picture = PIL.Image.fromarray(scene.image.astype(np.float32))
    pixels = np.asarray(picture.resize((shape[1], shape[0]), kind))
    image = _to_integer(pixels, scene.image.dtype)
    scale = np.array(shape) / np.array(inner)
    points = (scene.points + 0.5) * scale - 0.5
    zoom = float(scale.mean())
    return scene._replace(
        image=image, points=points, sigma=scene.sigma * zoom, zoom=zoom
    )


# Where spots are, and how bright.


def _positions(
    shape: tuple[int, int],
    sigma: float,
    cells: Array | None,
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> NDArray[np.float64]:
    if rng.random() < ranges.p_empty:
        return np.empty((0, 2))
    area = shape[0] * shape[1]
    # Wide spots cannot be as dense as narrow ones.
    most = min(ranges.density[1], 0.04 / sigma**2)
    n = int(rng.poisson(_log_uniform(rng, (ranges.density[0], most)) * area))
    points = rng.uniform(0, shape, (n, 2))
    if rng.random() < ranges.p_clustered and n > 10:
        n_clusters = int(rng.integers(1, 12))
        centres = rng.uniform(0, shape, (n_clusters, 2))
        clustered = rng.random(n) < rng.uniform(0.2, 0.9)
        spread = rng.uniform(3, 30) * np.sqrt(n / 200 + 0.1)
        around = centres[rng.integers(n_clusters, size=n)]
        points[clustered] = (around + rng.normal(0, spread, (n, 2)))[clustered]
    if cells is not None and rng.random() < 0.6:
        row, col = np.clip(points, 0, np.array(shape) - 1).astype(int).T
        points = points[cells[row, col] > 0.3]
    points -= 0.5
    inside = ((points >= -0.5) & (points < np.array(shape) - 0.5)).all(axis=1)
    return points[inside]


def _intensities(
    n: int, rng: np.random.Generator, ranges: SceneRanges
) -> NDArray[np.float64]:
    """Relative intensities around 1: log-normal, or two populations."""
    spread = rng.uniform(*ranges.intensity_spread)
    values = np.exp(rng.normal(0, spread, n))
    if rng.random() < ranges.p_mixture:
        bright = rng.random(n) < rng.uniform(0.05, 0.5)
        values[bright] *= rng.uniform(1.5, 6.0)
    return values


def _peak(snr: float, background: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Peak signal above background (photons) that gives (p - b) / sqrt(p) = snr."""
    root = (snr + np.sqrt(snr**2 + 4.0 * np.maximum(background, 0.0))) / 2.0
    return root**2 - background


# Light.


def _add_spots(
    photons: Array,
    points: NDArray[np.float64],
    peak: NDArray[np.float64],
    sigma: float,
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> None:
    n = len(points)
    if rng.random() < ranges.p_comets:
        _add_tails(photons, points, peak, sigma, rng)
    if rng.random() < ranges.p_airy:
        _add_airy(photons, points, peak, sigma)
    elif rng.random() < ranges.p_elliptical:
        ratio = np.sqrt(rng.uniform(*ranges.ellipticity))
        angle = rng.uniform(0, np.pi) + rng.normal(0, rng.choice([0.05, 1.0]), n)
        _add_elliptical(photons, points, peak, sigma * ratio, sigma / ratio, angle)
    elif rng.random() < ranges.p_defocused:
        widths = sigma * rng.uniform(1.0, rng.uniform(1.05, 1.6), n)
        _add_gaussians(photons, points, peak * (sigma / widths) ** 2, widths)
    else:
        _add_gaussians(photons, points, peak, np.full(n, sigma))


def _windows(
    shape: tuple[int, int], points: NDArray[np.float64], radius: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows (n, k) and columns (n, k) of the window around each point."""
    offsets = np.arange(-radius, radius + 1)
    nearest = np.rint(points).astype(np.intp)
    return nearest[:, :1] + offsets, nearest[:, 1:] + offsets


def _deposit(
    photons: Array,
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    light: NDArray[np.floating],
) -> None:
    """Add windows of light (n, k, k); what falls outside the image is lost."""
    height, width = photons.shape
    inside = ((rows >= 0) & (rows < height))[:, :, None] & (
        (cols >= 0) & (cols < width)
    )[:, None, :]
    index = (rows[:, :, None] * width + cols[:, None, :])[inside]
    total = np.bincount(index, light[inside], minlength=height * width)
    photons += total.reshape(photons.shape).astype(np.float32)


def _add_gaussians(
    photons: Array,
    points: NDArray[np.float64],
    peak: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> None:
    """Add Gaussians integrated over each pixel; `peak` is that of the continuous one."""
    if len(points) == 0:
        return
    rows, cols = _windows(photons.shape, points, int(np.ceil(4 * sigma.max())))
    width = sigma[:, None] * np.sqrt(2.0)

    def profile(at: NDArray[np.float64]) -> NDArray[np.float64]:
        edges = np.concatenate([at - 0.5, at[:, -1:] + 0.5], axis=1) / width
        part: NDArray[np.float64] = np.diff(special.erf(edges), axis=1)
        part *= width * np.sqrt(np.pi) / 2.0
        return part

    y = profile(rows - points[:, :1])
    x = profile(cols - points[:, 1:])
    _deposit(photons, rows, cols, (peak[:, None] * y)[:, :, None] * x[:, None, :])


def _add_elliptical(
    photons: Array,
    points: NDArray[np.float64],
    peak: NDArray[np.float64],
    major: float,
    minor: float,
    angle: NDArray[np.float64],
) -> None:
    """Add rotated Gaussians; a pixel's width adds 1/12 px² to their variances."""
    if len(points) == 0:
        return
    a, b = major**2 + 1 / 12, minor**2 + 1 / 12
    rows, cols = _windows(photons.shape, points, int(np.ceil(4 * np.sqrt(a))))
    y = (rows - points[:, :1])[:, :, None]
    x = (cols - points[:, 1:])[:, None, :]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    square = (x * cos + y * sin) ** 2 / a + (y * cos - x * sin) ** 2 / b
    scale = peak * (major * minor / np.sqrt(a * b))
    _deposit(photons, rows, cols, scale[:, None, None] * np.exp(-square / 2))


# Airy pattern (2 J1(r) / r)², tabulated; r = 1.5 / sigma px gives its core the width of a
# Gaussian of sigma.
_AIRY_R = np.linspace(0.0, 14.0, 1400)
_AIRY = np.ones(1400)
_AIRY[1:] = (2 * special.j1(_AIRY_R[1:]) / _AIRY_R[1:]) ** 2


def _add_airy(
    photons: Array, points: NDArray[np.float64], peak: NDArray[np.float64], sigma: float
) -> None:
    """Add Airy patterns up to their second ring, the mean of 2 x 2 samples a pixel."""
    if len(points) == 0:
        return
    rows, cols = _windows(photons.shape, points, int(np.ceil(5 * sigma)))
    light = np.zeros((len(points), rows.shape[1], cols.shape[1]))
    for dy in (-0.25, 0.25):
        for dx in (-0.25, 0.25):
            y = (rows + dy - points[:, :1])[:, :, None]
            x = (cols + dx - points[:, 1:])[:, None, :]
            place = np.sqrt(y * y + x * x) * (1.5 / sigma * 1399 / 14.0)
            light += _AIRY[np.minimum(place, 1399).astype(np.intp)]
    _deposit(photons, rows, cols, light * (peak / 4)[:, None, None])


def _add_tails(
    photons: Array,
    points: NDArray[np.float64],
    peak: NDArray[np.float64],
    sigma: float,
    rng: np.random.Generator,
) -> None:
    """Add fading tails behind the spots: comets, whose label is the bright tip."""
    n = len(points)
    angle = rng.uniform(0, 2 * np.pi, n)
    step = 0.8 * sigma * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    first = rng.uniform(0.2, 0.55)
    fade = rng.uniform(0.6, 0.9)
    for i in range(int(rng.integers(3, 12))):
        tail = peak * first * fade**i
        _add_gaussians(photons, points + (i + 1.3) * step, tail, np.full(n, sigma))


# What is not a spot.


def _background(
    shape: tuple[int, int], level: float, rng: np.random.Generator, ranges: SceneRanges
) -> tuple[Array, Array | None]:
    """Light between the spots, and the mask of the cells if there are any."""
    photons = np.full(shape, level, np.float32)
    cells = None
    if rng.random() < ranges.p_haze:
        haze = _smooth_noise(shape, _log_uniform(rng, (20.0, 150.0)), rng)
        photons += level * _log_uniform(rng, ranges.structure) * np.maximum(haze, 0)
    if rng.random() < ranges.p_cells:
        cells = _cells(shape, rng)
        inside = _log_uniform(rng, ranges.structure) * rng.choice([1.0, 1.0, 3.0])
        grain = _smooth_noise(shape, _log_uniform(rng, (4.0, 15.0)), rng)
        contrast = rng.uniform(0.0, 0.5)
        photons += level * inside * cells * np.maximum(1 + contrast * grain, 0)
    if rng.random() < ranges.p_texture:
        grain = _smooth_noise(shape, _log_uniform(rng, (3.0, 12.0)), rng)
        photons *= np.maximum(1 + rng.uniform(0.02, 0.25) * grain, 0.05)
    if rng.random() < ranges.p_gradient:
        y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
        angle = rng.uniform(0, 2 * np.pi)
        slope = np.sin(angle) * y + np.cos(angle) * x - 0.3 * (y * y + x * x)
        photons *= np.exp(rng.uniform(0.0, 0.7) * slope).astype(np.float32)
    return photons, cells


def _smooth_noise(
    shape: tuple[int, int], scale: float, rng: np.random.Generator
) -> Array:
    """Noise of mean 0 and standard deviation about 1 with structures of `scale` px."""
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
    """Mask in [0, 1] of round, wobbly cells with more or less soft edges."""
    size = _log_uniform(rng, (25.0, 120.0))
    rough = _smooth_noise(shape, size, rng) + 0.15 * _smooth_noise(shape, size / 5, rng)
    softness = _log_uniform(rng, (0.02, 0.5))
    mask: Array = special.expit((rough - rng.uniform(-0.5, 1.0)) / softness).astype(
        np.float32
    )
    return mask


def _add_distractors(
    photons: Array,
    sigma: float,
    peak: NDArray[np.float64] | float,
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> None:
    """Add out-of-focus spots, blobs, discs and lines, none of which is labelled."""
    shape = np.array(photons.shape)
    area = photons.size
    height = float(peak)
    if rng.random() < ranges.p_out_of_focus:
        n = int(rng.poisson(_log_uniform(rng, (1e-4, 3e-3)) * area))
        widths = sigma * rng.uniform(2.2, 5.0, n)
        light = height * rng.uniform(0.05, 0.5, n) * (2 * sigma / widths)
        for narrow in (widths < 3.2 * sigma, widths >= 3.2 * sigma):
            at = rng.uniform(-10, shape + 10, (int(narrow.sum()), 2))
            _add_gaussians(photons, at, light[narrow], widths[narrow])
    if rng.random() < ranges.p_blobs:
        n = int(rng.integers(1, 8))
        at = rng.uniform(0, shape, (n, 2))
        light = height * np.exp(rng.uniform(-1, 1.5, n))
        _add_gaussians(
            photons, at, light, rng.uniform(4, 12, n) * max(1.0, sigma / 1.5)
        )
    if rng.random() < ranges.p_discs:
        for _ in range(int(_log_uniform(rng, (1, 40)))):
            _add_disc(photons, height * float(np.exp(rng.uniform(-1, 1.5))), rng)
    if rng.random() < ranges.p_lines:
        for _ in range(int(rng.integers(1, 5))):
            _add_line(photons, sigma, height * float(np.exp(rng.uniform(-1, 1))), rng)


def _add_disc(photons: Array, height: float, rng: np.random.Generator) -> None:
    """Add an oval with a flat top and a soft edge: a nucleus, a vesicle, debris."""
    major = _log_uniform(rng, (4.0, 20.0))
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


# Camera.


def _camera(
    photons: Array, rng: np.random.Generator, ranges: SceneRanges
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    counts = _expose(photons, rng, ranges)
    if rng.random() < ranges.p_hot_pixels:
        n = int(rng.integers(1, max(2, photons.size // 3000)))
        row, col = (rng.integers(length, size=n) for length in photons.shape)
        counts[row, col] += np.ptp(counts) * rng.uniform(0.1, 1.5, n)
    if rng.random() < ranges.p_smoothed:
        counts = ndimage.gaussian_filter(counts, rng.uniform(0.3, 0.9))
    if rng.random() < ranges.p_8bit:
        return _to_8bit(counts, rng, ranges)
    if rng.random() < ranges.p_saturated:
        counts *= 65535 / np.quantile(counts, rng.uniform(0.99, 0.9999))
    return _to_integer(counts, np.dtype(np.uint16))


def _expose(photons: Array, rng: np.random.Generator, ranges: SceneRanges) -> Array:
    """Photons to counts: shot noise, gain, offset, read noise."""
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
    gain = _log_uniform(rng, (0.5, 8.0))
    offset = float(rng.choice([0.0, 100.0, 400.0]))
    counts: Array = gain * (electrons + noise) + np.float32(offset)
    return counts


def _to_8bit(
    counts: Array, rng: np.random.Generator, ranges: SceneRanges
) -> NDArray[np.uint8]:
    low = np.quantile(counts, rng.uniform(0.0, 0.02))
    high = max(np.quantile(counts, rng.uniform(0.998, 1.0)), low + 1)
    image = _to_integer((counts - low) * (255 / (high - low)), np.dtype(np.uint8))
    if rng.random() < ranges.p_jpeg / ranges.p_8bit:
        buffer = io.BytesIO()
        PIL.Image.fromarray(image).save(
            buffer, "JPEG", quality=int(rng.integers(60, 96))
        )
        image = np.array(PIL.Image.open(buffer))
    return image


def _to_integer(
    pixels: NDArray[np.floating[Any]], dtype: np.dtype[Any]
) -> NDArray[Any]:
    counts: NDArray[Any] = np.clip(np.rint(pixels), 0, np.iinfo(dtype).max)
    return counts.astype(dtype)


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    low, high = np.log(limits)
    return float(np.exp(rng.uniform(low, high)))
