"""Pair the spots of two channels one to one, and estimate the level of chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from blinkcore import _core

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

N_SHUFFLES = 200
_INTERVAL = (0.025, 0.975)


class Pairs(NamedTuple):
    """Pairs of spots, and the number of pairs expected by chance.

    Attributes
    ----------
    rows : ndarray of int64, shape (n, 2)
        Row of the first and of the second spot.
    distance : ndarray of float64, shape (n,)
        In the unit of the positions.
    chance, low, high : float
        Mean number of pairs when the second channel's spots are placed at random, and
        the ends of its 95 % interval.
    """

    rows: NDArray[np.int64]
    distance: NDArray[np.float64]
    chance: float
    low: float
    high: float


def colocalize(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    distance: float,
    shuffled: Callable[[np.random.Generator], NDArray[np.float64]],
    seed: int = 0,
) -> Pairs:
    """Match the spots of two channels one to one.

    Parameters
    ----------
    first, second : ndarray of float64, shape (n, 2 or 3)
        Positions (z first, if there is one), all in the same unit.
    distance : float
        Largest distance of a pair.
    shuffled : callable
        Takes a random generator and returns random positions for the spots of `second`.
    seed : int
        Seed of the random positions.

    Returns
    -------
    Pairs
    """
    rows = _core.match(first, second, cutoff=distance)
    separation = np.sqrt(((first[rows[:, 0]] - second[rows[:, 1]]) ** 2).sum(axis=1))
    rng = np.random.default_rng(seed)
    counts = [
        len(_core.match(first, shuffled(rng), cutoff=distance))
        for _ in range(N_SHUFFLES if len(first) and len(second) else 0)
    ]
    if not counts:
        return Pairs(rows, separation, 0.0, 0.0, 0.0)
    low, high = np.quantile(counts, _INTERVAL)
    return Pairs(rows, separation, float(np.mean(counts)), float(low), float(high))


def shuffled_in_field(
    second: NDArray[np.float64], shape: tuple[float, float], scale: NDArray[np.float64]
) -> Callable[[np.random.Generator], NDArray[np.float64]]:
    """Return a function that draws positions in the whole field, and permutes z.

    Parameters
    ----------
    second : ndarray of float64, shape (n, 2 or 3)
        Positions, in the unit of the pairs.
    shape : tuple of float
        Height and width of the field in px.
    scale : ndarray of float64, shape (2,)
        Size of a pixel in y and x, in the unit of the pairs.
    """

    def draw(rng: np.random.Generator) -> NDArray[np.float64]:
        places = rng.permutation(second)
        places[:, -2:] = (rng.random((len(second), 2)) * shape - 0.5) * scale
        return places

    return draw


def shuffled_in_regions(
    second: NDArray[np.float64],
    region: NDArray[np.int64],
    pixels: dict[int, NDArray[np.int64]],
    scale: NDArray[np.float64],
) -> Callable[[np.random.Generator], NDArray[np.float64]]:
    """Return a function that draws a position for each spot within its own region.

    Parameters
    ----------
    second, scale
        See `shuffled_in_field`.
    region : ndarray of int64, shape (n,)
        Number of the region of each spot.
    pixels : dict of int to ndarray of int64, shape (m, 2)
        Pixels (y, x) of each region.
    """

    def draw(rng: np.random.Generator) -> NDArray[np.float64]:
        places: NDArray[np.float64] = second.copy()
        for number in np.unique(region):
            rows = np.flatnonzero(region == number)
            own = pixels[int(number)]
            chosen = own[rng.integers(len(own), size=len(rows))]
            inside = rng.uniform(-0.5, 0.5, (len(rows), 2))
            places[rows, -2:] = (chosen + inside) * scale
            places[rows] = np.column_stack(
                [rng.permutation(second[rows, :-2]), places[rows, -2:]]
            )
        return places

    return draw
