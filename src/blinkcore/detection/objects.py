"""Join the detections of planes over z, to one row per spot in three dimensions.

A spot is seen in several planes of a stack. Detections of neighbouring planes are matched one
to one (most pairs, then the smallest total distance), and chains of them are objects. The
profile of an object's height over z tells where it lies between planes, and whether it is two
spots above each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from blinkcore import _core
from blinkcore.detection.axial import NEAR, places_in_z, planes_needed
from blinkcore.detection.candidates import HEIGHT
from blinkcore.network.grid import PROBABILITY, UNCERTAINTY, X, Y

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    HeightsAt = Callable[[int, NDArray[np.float64]], NDArray[np.float64]]

REACH = 1.5  # px in y and x between detections of one spot in neighbouring planes
FLOOR = 0.05  # probability; fainter detections do not hold an object together
_GAP = 2  # planes in which a spot may be missing
_VALLEY = 0.7  # of the lower peak's height; a deeper valley separates two spots
# How near a fragment must be: in reaches, and in widths over z.
_FRAGMENT_REACH, _FRAGMENT_DEPTH = 5 / 3, 1.5
_CLEAR = 4.0  # minimum depth of a valley, in standard deviations of the noise


class Objects(NamedTuple):
    """Spots of one stack.

    Attributes
    ----------
    spots : ndarray of float64, shape (n, 5)
        As candidates, see `blinkcore.detection.candidates.COLUMNS`: y, x (px), the largest
        probability, the uncertainty of y and of x (px), and the largest height.
    z, z_uncertainty : ndarray of float64, shape (n,)
        Place and its standard error, in planes.
    n_planes : ndarray of int64, shape (n,)
        In how many planes each was detected.
    """

    spots: NDArray[np.float64]
    z: NDArray[np.float64]
    z_uncertainty: NDArray[np.float64]
    n_planes: NDArray[np.int64]


@dataclass
class _Chain:
    """Detections of one spot: plane and row of each."""

    members: list[tuple[int, int]] = field(default_factory=list)

    def is_over(self, plane: int) -> bool:
        """Return whether it ended too many planes before this one to continue."""
        return plane - self.members[-1][0] > _GAP + 1

    def top(self, planes: Sequence[NDArray[np.float64]]) -> int:
        """Find the plane of the largest height."""
        return max(self.members, key=lambda at: planes[at[0]][at[1], HEIGHT])[0]


def join_planes(
    planes: Sequence[NDArray[np.float64]],
    heights_at: HeightsAt,
    *,
    threshold: float,
    noise: float,
    reach: float = REACH,
) -> Objects:
    """Join the detections of the planes of a stack into objects.

    Parameters
    ----------
    planes : sequence of ndarray of float64, shape (n, 5)
        Candidates of each plane, see `blinkcore.detection.candidates.COLUMNS`, also
        those below the threshold, which hold an object together.
    heights_at : callable
        Takes the number of a plane and points (n, 2), y and x in px; gives the heights
        there, see `blinkcore.detection.candidates.measure_heights`.
    threshold : float
        Probability above which an object counts, in the plane where it is highest.
    noise : float
        Standard deviation of the height where there is no spot.
    reach : float
        Largest distance in y and x between detections of neighbouring planes, in px.

    Returns
    -------
    Objects
        In the order of z, then of y and x.
    """
    kept = [spots[spots[:, PROBABILITY] > FLOOR] for spots in planes]
    parts = [
        part
        for chain in _chains(kept, reach)
        for part in _parted(chain, kept, noise)
        if max(kept[p][r, PROBABILITY] for p, r in part.members) > threshold
    ]
    spots = np.array([_merged(part, kept) for part in parts], float).reshape(-1, 5)
    tops = np.array([part.top(kept) for part in parts], np.int64)
    profiles = _profiles(spots, tops, len(planes), heights_at, NEAR)
    axial = places_in_z(profiles, noise)
    if (near := planes_needed(axial.width)) > NEAR:  # planes lie close together
        profiles = _profiles(spots, tops, len(planes), heights_at, near)
        axial = places_in_z(profiles, noise)
    # A spot of which the stack holds only the rim is put into the first or last plane.
    z = np.clip(axial.z + tops, 0.0, len(planes) - 1.0)
    spots[:, PROBABILITY] *= np.clip(axial.support, 0.0, 1.0)
    is_kept = spots[:, PROBABILITY] > threshold
    is_kept &= ~_are_fragments(parts, spots, z, axial.width, reach)
    n_planes = np.array([len(part.members) for part in parts], np.int64)
    order = np.lexsort((spots[:, X], spots[:, Y], z))
    order = order[is_kept[order]]
    return Objects(spots[order], z[order], axial.uncertainty[order], n_planes[order])


def _chains(planes: Sequence[NDArray[np.float64]], reach: float) -> list[_Chain]:
    """Match each plane with the one before it, and what is left with the ones before that."""
    found: list[_Chain] = []
    chains: list[_Chain] = []
    for number, spots in enumerate(planes):
        free = np.ones(len(spots), bool)
        chains = [c for c in chains if not c.is_over(number)]
        for back in range(1, _GAP + 2):
            ends = [c for c in chains if c.members[-1][0] == number - back]
            places = np.array(
                [planes[number - back][c.members[-1][1], [Y, X]] for c in ends]
            ).reshape(-1, 2)
            rest = np.flatnonzero(free)
            for one, other in _core.match(places, spots[rest][:, [Y, X]], cutoff=reach):
                ends[one].members.append((number, int(rest[other])))
                free[rest[other]] = False
        new = [_Chain([(number, int(row))]) for row in np.flatnonzero(free)]
        chains += new
        found += new
    return found


def _parted(
    chain: _Chain, planes: Sequence[NDArray[np.float64]], noise: float
) -> list[_Chain]:
    """Cut a chain at valleys of its height: there one spot ends and the next begins."""
    heights = np.array([planes[p][r, HEIGHT] for p, r in chain.members])
    cut = _deepest_valley(heights, noise)
    if cut is None:
        return [chain]
    first, second = _Chain(chain.members[:cut]), _Chain(chain.members[cut:])
    return [*_parted(first, planes, noise), *_parted(second, planes, noise)]


def _deepest_valley(heights: NDArray[np.float64], noise: float) -> int | None:
    """Find where to cut a profile: at the deepest clear valley between two peaks."""
    best, at = _VALLEY, None
    for i in range(1, len(heights) - 1):
        lower = min(heights[:i].max(), heights[i + 1 :].max())
        if lower - heights[i] > _CLEAR * noise and heights[i] / lower < best:
            best, at = float(heights[i] / lower), i
    return at


def _merged(chain: _Chain, planes: Sequence[NDArray[np.float64]]) -> list[float]:
    """Return one row for a chain, with the columns of a candidate."""
    rows = np.array([planes[p][r] for p, r in chain.members])
    # Weight planes by their inverse variance; without an uncertainty, by their height.
    spread = rows[:, UNCERTAINTY]
    if np.isfinite(spread).all() and (spread > 0).all():
        weight = spread**-2.0
        uncertainty = float(weight.sum() ** -0.5)
    else:
        weight, uncertainty = np.maximum(rows[:, HEIGHT], 1e-9), float("nan")
    weight = weight / weight.sum()
    y, x = (float((weight * rows[:, axis]).sum()) for axis in (Y, X))
    largest = rows[:, [PROBABILITY, HEIGHT]].max(axis=0)
    return [y, x, float(largest[0]), uncertainty, float(largest[1])]


def _are_fragments(
    parts: Sequence[_Chain],
    spots: NDArray[np.float64],
    z: NDArray[np.float64],
    width: float,
    reach: float,
) -> NDArray[np.bool_]:
    """Tell which objects are fragments that a dim plane has cut off a brighter one.

    They lie within the other's point spread function, and in planes in which that was
    not detected; two real spots would be detected in the same planes.
    """
    is_fragment = np.zeros(len(parts), bool)
    places = np.column_stack(
        [z / (_FRAGMENT_DEPTH * width), spots[:, [Y, X]] / (_FRAGMENT_REACH * reach)]
    )
    for one, other in cKDTree(places).query_pairs(1.0) if len(parts) > 1 else ():
        planes = [{plane for plane, _ in parts[i].members} for i in (one, other)]
        if not planes[0] & planes[1]:
            lower = min(one, other, key=lambda i: spots[i, HEIGHT])
            is_fragment[lower] = True
    return is_fragment


def _profiles(
    spots: NDArray[np.float64],
    tops: NDArray[np.int64],
    n_planes: int,
    heights_at: HeightsAt,
    near: int,
) -> NDArray[np.float64]:
    """Measure the height of each object in `near` planes on each side of its highest.

    NaN where the stack ends.
    """
    profiles = np.full((len(spots), 2 * near + 1), np.nan)
    for plane in range(n_planes):
        rows = np.flatnonzero(np.abs(tops - plane) <= near)
        if len(rows):
            columns = plane - tops[rows] + near
            profiles[rows, columns] = heights_at(plane, spots[rows][:, [Y, X]])
    return profiles
