"""Random scenes of fluorescent spots with exact truth.

Point spread functions, densities, backgrounds, artefacts, cameras and processing are drawn from
the wide ranges of `SceneRanges`, so that networks trained on simulations generalize to
microscopes that they never saw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from scipy import ndimage

from blinkcore.labelled import LabelledPlane
from blinkcore.simulation import contrast
from blinkcore.simulation.background import add_distractors, draw_background
from blinkcore.simulation.camera import take_picture, to_integer
from blinkcore.simulation.crlb import cramer_rao
from blinkcore.simulation.light import add_gaussians, add_spots
from blinkcore.simulation.ranges import GENERAL, SceneRanges, happens, log_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


@dataclass(frozen=True)
class Scene(LabelledPlane):
    """A simulated image and its truth.

    Attributes
    ----------
    image : ndarray of uint8 or uint16, shape (height, width)
        Camera counts.
    points : ndarray of float64, shape (n, 2)
        See `blinkcore.labelled`.
    sigma : float
        Width of the point spread function in px.
    snr : ndarray of float64, shape (n,)
        (peak - background) / sqrt(peak) of each spot, in photons.
    photons, background : ndarray of float64, shape (n,)
        Photons of each whole spot, and of a pixel beneath it, in the camera.
    zoom : float
        Factor by which the camera's picture was resampled.
    """

    sigma: float
    snr: NDArray[np.float64]
    photons: NDArray[np.float64]
    background: NDArray[np.float64]
    zoom: float = 1.0

    def cramer_rao(self) -> NDArray[np.float64]:
        """Compute the smallest standard error of y and of x of each spot (px), if alone.

        It is that of a Gaussian of this width on even background in a camera without
        noise of its own, see `blinkcore.simulation.crlb`; other shapes and cameras give
        less information.
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
    sigma = log_uniform(rng, ranges.sigma)
    level = log_uniform(rng, ranges.background)
    typical_snr = log_uniform(rng, ranges.snr)
    background, cells = draw_background(shape, level, rng, ranges)
    points = draw_positions(shape, sigma, cells, rng, ranges)
    local = contrast.at_points(background, points)
    peak = _peak(typical_snr, local) * draw_intensities(len(points), rng, ranges)

    photons = background
    add_distractors(photons, sigma, _peak(typical_snr, level), rng, ranges)
    if ranges.min_contrast > 0 or ranges.p_specks > 0:
        specks = draw_specks(shape, sigma, peak, rng, ranges)
        add_gaussians(photons, specks.points, specks.peak, specks.sigma)
        seen = _visible(photons, points, peak, sigma, ranges)
    else:
        seen = np.ones(len(points), bool)
    full_well = np.inf
    if happens(rng, ranges.p_flat_tops) and len(peak):
        top = np.median(peak) * log_uniform(rng, ranges.flat_top)
        full_well = float(local.mean() + top)
    add_spots(photons, points, peak, sigma, rng, ranges)
    image = take_picture(photons, rng, ranges, full_well=full_well)
    if ranges.min_contrast > 0 and len(points):
        # Processing may have removed a spot. The noise here includes the spots' light.
        seen &= contrast.stands_out(image, points, sigma, ranges.min_contrast / 2)
    snr = peak / np.sqrt(peak + local)
    total = peak * 2 * np.pi * sigma**2
    return Scene(image, points[seen], sigma, snr[seen], total[seen], local[seen])


def _visible(
    photons: Array,
    points: NDArray[np.float64],
    peak: NDArray[np.float64],
    sigma: float,
    ranges: SceneRanges,
) -> NDArray[np.bool_]:
    """Tell which spots stand out from shot noise and structure, and are of the bright class.

    `photons` is all light except that of the spots.
    """
    if not len(points):
        return np.zeros(0, bool)
    response = contrast.difference_of_gaussians(photons, sigma)
    structure = contrast.at_points(contrast.local_noise(response, sigma), points)
    mean = contrast.at_points(ndimage.uniform_filter(photons, 9), points)
    shot = contrast.WHITE_RESPONSE / sigma * np.sqrt(mean)
    ratio = contrast.SPOT_RESPONSE * peak / np.hypot(structure, shot)
    return (ratio >= ranges.min_contrast) & (
        peak >= ranges.min_relative_height * np.median(peak)
    )


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
    image = to_integer(pixels, scene.image.dtype)
    scale = np.array(shape) / np.array(inner)
    points = (scene.points + 0.5) * scale - 0.5
    zoom = float(scale.mean())
    return replace(
        scene, image=image, points=points, sigma=scene.sigma * zoom, zoom=zoom
    )


# Where spots are, and how bright.


def draw_positions(
    shape: tuple[int, int],
    sigma: float,
    cells: Array | None,
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> NDArray[np.float64]:
    """Draw where spots are: evenly, in clusters, or in cells.

    Parameters
    ----------
    shape : tuple of int
        Height and width in px.
    sigma : float
        Width of a spot in px: wide ones cannot be as dense as narrow ones.
    cells : ndarray of float32, shape (height, width), or None
        Mask in [0, 1] of the places where there may be spots.
    rng, ranges
        What to draw from.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        y, x in px.
    """
    if rng.random() < ranges.p_empty:
        return np.empty((0, 2))
    area = shape[0] * shape[1]
    highest = min(ranges.density[1], 0.04 / sigma**2)
    n = int(rng.poisson(log_uniform(rng, (ranges.density[0], highest)) * area))
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


def draw_intensities(
    n: int, rng: np.random.Generator, ranges: SceneRanges
) -> NDArray[np.float64]:
    """Draw relative intensities around 1: log-normal, or two populations.

    Parameters
    ----------
    n : int
        How many.
    rng, ranges
        What to draw from.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    spread = rng.uniform(*ranges.intensity_spread)
    values = np.exp(rng.normal(0, spread, n))
    if rng.random() < ranges.p_mixture:
        bright = rng.random(n) < rng.uniform(0.05, 0.5)
        values[bright] *= rng.uniform(*ranges.mixture)
    return values


@dataclass(frozen=True)
class Specks:
    """Dim specks of the shape of spots, which nobody would mark.

    Attributes
    ----------
    points : ndarray, shape (n, 2)
        y, x in px.
    peak, sigma : ndarray, shape (n,)
        Height, in the unit of the spots' heights, and width in px.
    """

    points: NDArray[np.float64]
    peak: NDArray[np.float64]
    sigma: NDArray[np.float64]


def draw_specks(
    shape: tuple[int, int],
    sigma: float,
    peak: NDArray[np.float64],
    rng: np.random.Generator,
    ranges: SceneRanges,
) -> Specks:
    """Draw a population of dim specks beside the spots of a scene.

    Parameters
    ----------
    shape : tuple of int
        Height and width in px.
    sigma : float
        Width of the spots in px.
    peak : ndarray, shape (n,)
        Heights of the spots. With fewer than three of them there are no specks: nothing
        would tell one class from the other.
    rng, ranges
        What to draw from.

    Returns
    -------
    Specks
    """
    n = 0
    if len(peak) >= 3 and happens(rng, ranges.p_specks):
        highest = min(ranges.specks[1], 0.06 / sigma**2)
        density = log_uniform(rng, (min(ranges.specks[0], highest), highest))
        n = int(rng.poisson(density * shape[0] * shape[1]))
    points = rng.uniform(-0.5, np.array(shape) - 0.5, (n, 2))
    height = np.median(peak) * rng.uniform(*ranges.speck_height) if n else 0.0
    # Few reach the largest height: most specks of an image are its dimmest.
    heights = height * rng.random(n) ** rng.uniform(0.5, 3.0)
    return Specks(points, heights, sigma * rng.uniform(0.9, 1.2, n))


def _peak(snr: float, background: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Compute the peak signal above background (photons) that gives (p - b) / sqrt(p) = snr."""
    root = (snr + np.sqrt(snr**2 + 4.0 * np.maximum(background, 0.0))) / 2.0
    return root**2 - background
