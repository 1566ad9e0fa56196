"""Cut planes into tiles whose spots do not depend on the cut.

A tile is read with a margin and gives the spots of its core; cores partition the plane.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# px, side of a tile without its margin. Smaller tiles compute more margin, larger ones
# exceed a CPU's cache: 768 px took a third longer, 2,048 px half as long again.
TILE = 1024

Window = tuple[slice, slice]


def tiles(
    shape: tuple[int, ...],
    side: int,
    stride: int,
    reach: int,
    part: slice | None = None,
) -> list[tuple[Window, Window]]:
    """Cut a plane into cores, and find the windows to read for them.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the plane in px.
    side : int
        Of a core in px; rounded up to the stride.
    stride : int
        Cores and windows begin at multiples of it, in px.
    reach : int
        Largest distance in px at which a pixel can change a spot.
    part : slice, optional
        Only cores that begin in these rows.

    Returns
    -------
    list of tuple
        Core and window of each tile: the slices of its rows and columns.
    """
    height, width = shape
    side = max(1, math.ceil(side / stride)) * stride
    margin = math.ceil(reach / stride) * stride
    rows, cut = range(height)[part or slice(None)], []
    for top in (top for top in range(0, height, side) if top in rows):
        for left in range(0, width, side):
            core = (
                slice(top, min(top + side, height)),
                slice(left, min(left + side, width)),
            )
            window = (
                slice(max(0, top - margin), min(core[0].stop + margin, height)),
                slice(max(0, left - margin), min(core[1].stop + margin, width)),
            )
            cut.append((core, window))
    return cut


def in_core(
    points: NDArray[np.float64], core: Window, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Tell which positions lie in a core; those at the plane's edges reach 0.5 px out.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 2 or more)
        y, x (px) first.
    core : tuple of slice
        Rows and columns.
    shape : tuple of int
        Height and width of the plane in px.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    kept = np.ones(len(points), bool)
    for axis in (0, 1):
        first, last = core[axis].start, core[axis].stop
        low = first - (1.0 if first == 0 else 0.5)
        high = last - (0.0 if last == shape[axis] else 0.5)
        kept &= (points[:, axis] >= low) & (points[:, axis] < high)
    return kept
