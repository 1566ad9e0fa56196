"""Convert spots to a grid of cells, and back.

A grid (3, rows, cols) holds for each cell of `cell_size` px the probability that a spot
lies in it and the spot's row and column within the cell, all in [0, 1] (Eichenberger et
al., Nucleic Acids Research 2021, doi:10.1093/nar/gkab546).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blinkcore import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Columns of spots, by number.
Y, X, PROBABILITY, UNCERTAINTY = range(4)

# Coordinate of the outer edge of the first cell. deepBlink's own map puts it at 0, in
# the centre of the first pixel.
ORIGINS = {"center": -0.5, "deepblink": 0.0}


def encode(
    points: ArrayLike,
    shape: tuple[int, int],
    *,
    cell_size: int,
    cell_map: str = "center",
) -> NDArray[np.float32]:
    """Turn spots into the grid that a network should give.

    Parameters
    ----------
    points : array-like, shape (n, 2)
        y, x in px. If several spots share a cell, the last one is kept.
    shape : tuple of int
        Rows and columns of the grid.
    cell_size : int
        Side of a cell in px.
    cell_map : {"center", "deepblink"}
        Where the first cell begins: at the outer edge of the first pixel (-0.5), or in
        its centre (0).

    Returns
    -------
    ndarray of float32, shape (3, rows, cols)
        A spot outside the grid is put at the nearest edge of the nearest cell.
    """
    grid = np.zeros((3, *shape), np.float32)
    position = np.asarray(points, float).reshape(-1, 2)
    scaled = (position - ORIGINS[cell_map]) / cell_size
    cell = np.clip(np.floor(scaled), 0, np.asarray(shape) - 1).astype(np.intp)
    row, col = cell.T
    grid[0, row, col] = 1.0
    grid[1:, row, col] = np.clip(scaled - cell, 0.0, 1.0).T
    return grid


def decode(
    grid: NDArray[np.float32],
    *,
    cell_size: int,
    cell_map: str = "center",
    threshold: float = 0.5,
    merge_distance: float = 0.0,
) -> NDArray[np.float64]:
    """Turn one grid into spots.

    Parameters
    ----------
    grid : ndarray of float32, shape (3 or 4, rows, cols)
        Probability, row offset, column offset, all in [0, 1]; a fourth channel is the
        standard error of y and of x, in px.
    cell_size : int
        Side of a cell in px.
    cell_map : {"center", "deepblink"}
        See `encode`.
    threshold : float
        A spot's probability must exceed it.
    merge_distance : float
        In px. A spot near the border of two cells is a candidate of both, each with a part
        of its probability: candidates of neighbouring cells closer than this are one spot,
        with their summed probability (at most 1) and weighted mean position.

    Returns
    -------
    ndarray of float64, shape (n, 3 or 4)
        y, x (px), probability and, if the grid has it, the error (px), in row-major order
        of cells.
    """
    return _core.decode(
        grid,
        cell_size=cell_size,
        origin=ORIGINS[cell_map],
        threshold=threshold,
        merge_distance=merge_distance,
    )
