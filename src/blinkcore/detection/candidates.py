"""Find candidates in the pixels of one plane, for prediction and validation alike.

Normalize, run the network on tiles, decode, refine positions, measure heights. Which of
the candidates are spots is decided over a whole plane or series, see
`blinkcore.network.calibration`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from blinkcore.detection.refine import refined
from blinkcore.detection.tiles import TILE, in_core, tiles
from blinkcore.large_plane import bands_of
from blinkcore.network import grid
from blinkcore.network.calibration import PROBABILITY_FLOOR
from blinkcore.network.grid import UNCERTAINTY, X, Y
from blinkcore.network.normalize import (
    Scaling,
    normalized,
    padded_to_multiple,
    plane_scaling,
)
from blinkcore.noise import MAD_TO_NOISE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Columns of candidates: those of spots and the height, and all their names.
HEIGHT = 4
COLUMNS = ("y", "x", "probability", "localization_uncertainty", "height")
# Without a receptive field (squeeze-and-excitation sees everything) a plane is run in one
# piece; beyond this many pixels it would not fit a computer's memory.
_MAX_WHOLE = 4096 * 4096
# Widths in px of the two Gaussians whose difference is the height of a spot, and how far they
# are summed.
_NARROW, _WIDE, _REACH = 1.0, 2.0, 6
# A hot pixel: stands out by so many standard deviations of the noise around, and its four
# neighbours by at most this share of it (a spot of sigma 0.8 px: 0.46 or more).
_HOT_CONTRAST, _HOT_SHARE = 6.0, 0.1
_CHUNK = 4096  # candidates whose pixels are gathered at a time


class Network(Protocol):
    """Attributes of a network; `Metadata` and the network classes have them."""

    @property
    def cell_size(self) -> int: ...  # noqa: D102 (as in `Metadata`)
    @property
    def cell_map(self) -> str: ...  # noqa: D102
    @property
    def stride(self) -> int: ...  # noqa: D102
    @property
    def receptive_field(self) -> int | None: ...  # noqa: D102
    @property
    def normalization(self) -> str: ...  # noqa: D102
    @property
    def merge_distance(self) -> float: ...  # noqa: D102


def find_candidates(
    plane: NDArray[Any],
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    network: Network,
    *,
    floor: float = PROBABILITY_FLOOR,
    tile: int = TILE,
    refine: bool = True,
    scaling: Scaling | None = None,
    part: slice | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Find everything in a plane that may be a spot.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type; may be a view of a file; what is not finite counts as background.
    run : callable
        Normalized tiles (1, 1, H, W) to grids (1, 3 or 4, H / cell, W / cell).
    network : Network
        What the tiles and grids of `run` are.
    floor : float
        Probability, as decoded, above which there is a candidate.
    tile : int
        Side of a core in px; rounded up to the stride.
    refine : bool
        Fit positions (`blinkcore.detection.refine`) if the network predicts their error.
    scaling : Scaling, optional
        Scaling of the plane, if it is known already.
    part : slice, optional
        Only tiles that begin in these rows; all parts together give the whole plane.
    on_tile : callable, optional
        Called after each tile with the number of tiles done and their total.

    Returns
    -------
    ndarray of float64, shape (n, 5)
        y, x (px), probability as decoded, standard error of y and of x (px; NaN if it is
        not predicted) and height, from top to bottom of each tile. The height is the
        difference of the plane smoothed by Gaussians of 1 and 2 px at the spot, in counts.

    Raises
    ------
    ValueError
        If the plane is too large for a network that must see it in one piece.
    """
    side, reach = _cut(plane.shape, network, tile)
    scaling = scaling or plane_scaling(plane, network.normalization)
    found = [np.empty((0, len(COLUMNS)))]
    cut = tiles(plane.shape, side, network.stride, reach, part)
    for done, (core, window) in enumerate(cut, 1):
        pixels = normalized(plane[window], scaling)
        spots = _in_tile(pixels, run, network, floor, scaling, refine=refine)
        spots[:, [Y, X]] += [window[0].start, window[1].start]
        found.append(spots[in_core(spots, core, plane.shape)])
        if on_tile is not None:
            on_tile(done, len(cut))
    return put_inside(np.concatenate(found), plane.shape)


def _cut(shape: tuple[int, ...], network: Network, tile: int) -> tuple[int, int]:
    """Choose side and reach of tiles, px; some networks need the whole plane."""
    # Four cells more, because candidates of neighbouring cells are merged.
    more = 4 * network.cell_size
    if network.receptive_field is not None:
        return tile, network.receptive_field + more
    if shape[0] * shape[1] > _MAX_WHOLE:
        raise ValueError(
            f"this model takes planes of up to {_MAX_WHOLE} px (its squeeze-and-excitation "
            f"needs the plane in one piece), got {shape[0]} x {shape[1]}; use a blink model "
            "or crop the image"
        )
    return max(shape), more


def _in_tile(
    pixels: NDArray[np.float32],
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    network: Network,
    floor: float,
    scaling: Scaling,
    *,
    refine: bool,
) -> NDArray[np.float64]:
    """Find the candidates of one normalized tile, in px of the tile."""
    spots = grid.decode(
        run(padded_to_multiple(pixels, network.stride)[None, None])[0],
        cell_size=network.cell_size,
        cell_map=network.cell_map,
        threshold=floor,
        merge_distance=network.merge_distance,
    )
    spots = spots[~_are_hot_pixels(pixels, spots)]
    if spots.shape[1] <= UNCERTAINTY:
        spots = np.column_stack([spots, np.full(len(spots), np.nan)])
    elif refine:
        spots = refined(pixels, spots, scaling.independence)
    return np.column_stack([spots, scaling.scale * measure_heights(pixels, spots)])


def _are_hot_pixels(
    pixels: NDArray[np.float32], spots: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which candidates are one bright pixel, too sharp for any optics."""
    nearest = np.rint(spots[:, :2]).astype(np.intp)
    # The brightest of the 3 x 3 px at a candidate, and the 5 x 5 px around that one.
    near = _squares(pixels, nearest, 1).reshape(len(spots), 9)
    brightest = nearest + np.stack(np.divmod(near.argmax(axis=1), 3), axis=1) - 1
    inside = np.clip(brightest, 0, np.array(pixels.shape) - 1)
    square = _squares(pixels, inside, 2)
    border = np.ones((5, 5), bool)
    border[1:4, 1:4] = False
    ring = square[:, border]  # (n, 16)
    background = np.median(ring, axis=1)
    noise = MAD_TO_NOISE * np.median(np.abs(ring - background[:, None]), axis=1)
    peak = square[:, 2, 2] - background
    neighbours = square[:, [1, 2, 2, 3], [2, 1, 3, 2]].mean(axis=1) - background
    hot: NDArray[np.bool_] = peak > _HOT_CONTRAST * noise
    hot &= neighbours < _HOT_SHARE * peak
    return hot


def measure_heights(
    pixels: NDArray[np.float32], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Measure how far spots stand out from their surroundings.

    Parameters
    ----------
    pixels : ndarray or LargePlane, shape (height, width)
        Any real type, finite.
    points : ndarray of float64, shape (n, 2 or more)
        y, x (px) first.

    Returns
    -------
    ndarray of float64, shape (n,)
        Difference of the image smoothed by Gaussians of 1 px and of 2 px, at each point.
    """
    heights = np.empty(len(points))
    for which, band, top in bands_of(pixels, points, _REACH + 1):
        heights[which] = _heights(band, points[which, :2] - [top, 0])
    return heights


def _heights(
    pixels: NDArray[np.float32], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    offsets = np.arange(-_REACH, _REACH + 1)
    heights = np.empty(len(points))
    for start in range(0, len(points), _CHUNK):
        position = points[start : start + _CHUNK, :2]
        nearest = np.rint(position).astype(np.intp)
        places = nearest[:, :, None] + offsets  # (n, 2, 13)
        apart = places - position[:, :, None]
        light = _squares(pixels, nearest, _REACH)
        height = np.zeros(len(position))
        for sigma, sign in ((_NARROW, 1.0), (_WIDE, -1.0)):
            weights = np.exp(-0.5 * (apart / sigma) ** 2)
            weights /= weights.sum(axis=2, keepdims=True)
            across = np.einsum("nij,nj->ni", light, weights[:, 1])
            height += sign * np.einsum("ni,ni->n", weights[:, 0], across)
        heights[start : start + _CHUNK] = height
    return heights


def height_noise(plane: NDArray[Any]) -> float:
    """Estimate the standard deviation of the height where there is no spot.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type.

    Returns
    -------
    float
        1.4826 times the median absolute deviation at 2,000 places that are always the same
        for planes of one shape, in the plane's unit; 0 without finite pixels.
    """
    rng = np.random.default_rng(0)
    places = rng.uniform(0, np.array(plane.shape) - 1, (2000, 2))
    heights = measure_heights(plane, places)
    heights = heights[np.isfinite(heights)]
    if len(heights) == 0:
        return 0.0
    return float(MAD_TO_NOISE * np.median(np.abs(heights - np.median(heights))))


def _squares(
    pixels: NDArray[np.float32], centres: NDArray[np.intp], reach: int
) -> NDArray[np.float32]:
    """Cut a square of 2 reach + 1 px around each centre (n, 2); repeat edge pixels."""
    places = centres[:, :, None] + np.arange(-reach, reach + 1)
    rows, cols = (
        np.clip(places[:, axis], 0, pixels.shape[axis] - 1) for axis in (0, 1)
    )
    squares: NDArray[np.float32] = pixels[rows[:, :, None], cols[:, None, :]]
    return squares


def put_inside(
    spots: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Clip positions y, x of spots (n, 2 or more) to the edges of an image, in place."""
    # The last position that is still inside when a CSV rounds it to four decimals.
    last = np.array(shape) - 0.5001
    np.clip(spots[:, :2], -0.5, last, out=spots[:, :2])
    return spots
