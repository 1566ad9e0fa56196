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
    by_chance : ndarray of int64, shape (N_SHUFFLES,)
        Number of pairs each time that the second channel's spots are placed at random.
    """

    rows: NDArray[np.int64]
    distance: NDArray[np.float64]
    by_chance: NDArray[np.int64]


class Chance(NamedTuple):
    """How many pairs chance gives: the mean, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, by_chance: NDArray[np.int64]) -> Chance:
        """Summarize numbers of pairs, shape (n,), which add up over independent frames."""
        low, high = np.quantile(by_chance, _INTERVAL)
        return cls(float(np.mean(by_chance)), float(low), float(high))


def colocalize(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    distance: float,
    shuffled: Callable[[np.random.Generator], NDArray[np.float64]],
    rng: np.random.Generator,
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
    rng : Generator
        Of the random positions.

    Returns
    -------
    Pairs
    """
    rows = _core.match(first, second, cutoff=distance)
    separation = np.sqrt(((first[rows[:, 0]] - second[rows[:, 1]]) ** 2).sum(axis=1))
    by_chance = np.zeros(N_SHUFFLES, np.int64)
    if len(first) and len(second):
        by_chance[:] = [
            len(_core.match(first, shuffled(rng), cutoff=distance))
            for _ in range(N_SHUFFLES)
        ]
    return Pairs(rows, separation, by_chance)


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
    second : ndarray of float64, shape (n, 2 or 3)
        Positions, in the unit of the pairs.
    region : ndarray of int64, shape (n,)
        Number of the region of each spot.
    pixels : dict of int to ndarray of int64, shape (m, 2 or 3)
        Pixels (y, x) or voxels (z, y, x) of each region. With pixels only, the spots of a
        region in a stack exchange their z.
    scale : ndarray of float64, shape (2 or 3,)
        Size of a pixel along each axis of `second`, in the unit of the pairs.
    """

    def draw(rng: np.random.Generator) -> NDArray[np.float64]:
        places: NDArray[np.float64] = second.copy()
        for number in np.unique(region):
            rows = np.flatnonzero(region == number)
            own = pixels[int(number)]
            n_axes = min(own.shape[1], second.shape[1])
            chosen = own[rng.integers(len(own), size=len(rows)), -n_axes:]
            inside = rng.uniform(-0.5, 0.5, chosen.shape)
            places[rows, -n_axes:] = (chosen + inside) * scale[-n_axes:]
            if n_axes < second.shape[1]:
                places[rows, 0] = rng.permutation(second[rows, 0])
        return places

    return draw
