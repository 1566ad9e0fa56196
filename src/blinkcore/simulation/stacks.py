"""Simulated z-stacks of a confocal microscope, with the exact positions of spots."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Stack(NamedTuple):
    """A simulated z-stack.

    Attributes
    ----------
    pixels : ndarray of uint16, shape (planes, height, width)
        Photons with shot noise.
    points : ndarray of float64, shape (n, 3)
        z (planes), y, x (px); an integer is the centre of a plane or pixel.
    cramer_rao : ndarray of float64, shape (n, 3)
        Smallest standard error of each coordinate of a lone spot, in planes and px.
    """

    pixels: NDArray[np.uint16]
    points: NDArray[np.float64]
    cramer_rao: NDArray[np.float64]


def simulate_stack(
    shape: tuple[int, int, int],
    points: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    peak: float = 200.0,
    background: float = 100.0,
    sigma: float = 1.3,
    sigma_z: float = 1.5,
) -> Stack:
    """Draw a stack.

    Parameters
    ----------
    shape : tuple of int
        Planes, height, width.
    points : ndarray of float64, shape (n, 3)
        z (planes), y, x (px) of each spot.
    rng : Generator
        Of the shot noise.
    peak, background : float
        Photons at a spot's centre above the background, and of the background.
    sigma, sigma_z : float
        Widths of the point spread function, a Gaussian, in px and in planes.

    Returns
    -------
    Stack
    """
    light = np.full(shape, background)
    widths = np.array([sigma_z, sigma, sigma])
    bounds = np.empty((len(points), 3))
    for number, point in enumerate(points):
        window = tuple(
            slice(max(0, int(at - 6 * width)), int(at + 6 * width) + 2)
            for at, width in zip(point, widths, strict=True)
        )
        axes = [np.arange(n)[part] for n, part in zip(shape, window, strict=True)]
        apart = [
            (axis - at) / width
            for axis, at, width in zip(axes, point, widths, strict=True)
        ]
        z, y, x = (np.exp(-0.5 * d**2) for d in apart)
        spot = peak * z[:, None, None] * y[:, None] * x
        light[window] += spot
        # Fisher information of Poisson light: sum of squared derivatives over the mean.
        mean = spot + background
        slopes = np.meshgrid(*apart, indexing="ij")
        information = [
            float(((spot * slope / width) ** 2 / mean).sum())
            for slope, width in zip(slopes, widths, strict=True)
        ]
        bounds[number] = 1.0 / np.sqrt(np.maximum(information, 1e-12))
    pixels = rng.poisson(light).clip(0, 65535).astype(np.uint16)
    return Stack(pixels, np.asarray(points, float).reshape(-1, 3), bounds)


def scattered(
    shape: tuple[int, int, int], n: int, apart: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw positions of spots at least `apart` px apart in y and x, off the border.

    Parameters
    ----------
    shape : tuple of int
        Planes, height, width.
    n : int
        How many.
    apart : float
        Smallest distance in y and x, px.
    rng : Generator
        To draw from.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        z (planes), y, x (px).

    Raises
    ------
    ValueError
        If there is no room for so many.
    """
    border = np.array([2.0, apart / 2, apart / 2])
    points: list[NDArray[np.float64]] = []
    for _ in range(1000 * n):
        if len(points) == n:
            break
        new = rng.uniform(border, np.array(shape) - 1 - border)
        if all(np.hypot(*(new - old)[1:]) >= apart for old in points):
            points.append(new)
    if len(points) < n:
        raise ValueError(f"there is no room for {n} spots {apart} px apart in {shape}")
    return np.array(points).reshape(-1, 3)
