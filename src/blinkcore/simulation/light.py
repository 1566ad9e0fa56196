"""Light of spots: Gaussian, elliptical and Airy profiles, and comets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from blinkcore.simulation.ranges import happens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blinkcore.simulation.ranges import SceneRanges

    Array = NDArray[np.float32]


def add_spots(
    photons: Array,
    points: NDArray[np.float64],
    peak: NDArray[np.float64],
    sigma: float,
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> None:
    """Add the light of all spots of a scene, with one kind of point spread function.

    Parameters
    ----------
    photons : ndarray of float32, shape (height, width)
        Changed in place.
    points : ndarray, shape (n, 2)
        y, x in px.
    peak : ndarray, shape (n,)
        Height above the background in photons, if it lies in the centre of a pixel.
    sigma : float
        Width in px.
    rng, ranges
        What the kind is drawn with.
    """
    n = len(points)
    if happens(rng, ranges.p_wide_spots):
        # A spot that is too bright or too close to focus well still counts as one spot.
        wide = rng.random(n) < rng.uniform(0.02, 0.3)
        widths = sigma * rng.uniform(1.3, 2.2, int(wide.sum()))
        light = peak[wide] * rng.uniform(1.0, 3.0, len(widths))
        add_gaussians(photons, points[wide], light, widths)
        points, peak = points[~wide], peak[~wide]
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
        add_gaussians(photons, points, peak * (sigma / widths) ** 2, widths)
    else:
        add_gaussians(photons, points, peak, np.full(n, sigma))


def _windows(
    points: NDArray[np.float64], radius: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows (n, k) and columns (n, k) of the window around each point."""
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


def add_gaussians(
    photons: Array,
    points: NDArray[np.float64],
    peak: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> None:
    """Add Gaussians that are integrated over each pixel.

    Parameters
    ----------
    photons : ndarray of float64, shape (height, width)
        The expected photons of each pixel, to which they are added.
    points : ndarray of float64, shape (n, 2)
        y, x in px.
    peak : ndarray of float64, shape (n,)
        Height of the continuous Gaussian, in photons a pixel.
    sigma : ndarray of float64, shape (n,)
        Standard deviation in px.
    """
    if len(points) == 0:
        return
    rows, cols = _windows(points, int(np.ceil(4 * sigma.max())))
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
    rows, cols = _windows(points, int(np.ceil(4 * np.sqrt(a))))
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
    rows, cols = _windows(points, int(np.ceil(5 * sigma)))
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
        add_gaussians(photons, points + (i + 1.3) * step, tail, np.full(n, sigma))
