"""Time of decoding a grid into spots, beside a Python loop over its cells and NumPy."""

import numpy as np
from timing import machine, seconds, table

from blinkcore.network import grid


def python_loop(cells, threshold=0.5, cell_size=4):
    """Cell by cell, as deepBlink decodes; without merging."""
    spots = []
    for row in range(cells.shape[1]):
        for col in range(cells.shape[2]):
            if cells[0, row, col] > threshold:
                y = (row + cells[1, row, col]) * cell_size - 0.5
                x = (col + cells[2, row, col]) * cell_size - 0.5
                spots.append((y, x, cells[0, row, col]))
    return np.array(spots)


def numpy_only(cells, threshold=0.5, cell_size=4):
    """Whole arrays at once; without merging."""
    row, col = np.nonzero(cells[0] > threshold)
    y = (row + cells[1, row, col]) * cell_size - 0.5
    x = (col + cells[2, row, col]) * cell_size - 0.5
    return np.stack([y, x, cells[0, row, col]], axis=1)


def main():
    machine()
    rng = np.random.default_rng(0)
    rows = []
    for side, n_spots in ((128, 300), (256, 1000), (1024, 15000)):
        points = rng.uniform(0, side * 4, (n_spots, 2))
        cells = grid.encode(points, (side, side), cell_size=4)
        cells[0] *= 0.9
        times = [
            seconds(grid.decode, cells, cell_size=4, merge_distance=1.5),
            seconds(grid.decode, cells, cell_size=4),
            seconds(numpy_only, cells),
            seconds(python_loop, cells),
        ]
        rows.append(
            [f"{side} x {side}, {n_spots:,} spots", *(f"{1000 * t:.3f}" for t in times)]
        )
    print("Decoding, ms:\n")
    table(["grid", "blinkcore, merging", "blinkcore", "NumPy", "Python loop"], rows)


if __name__ == "__main__":
    main()
