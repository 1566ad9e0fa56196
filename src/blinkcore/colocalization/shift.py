"""The shift between two channels: estimated from pairs of spots, kept in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from blinkcore import _core
from blinkcore.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MODELS = ("translation", "affine")
_MIN_PAIRS = {"translation": 5, "affine": 12}
_BIN = 0.5  # px, of the histogram of displacements
_ROUNDS = 5


@dataclass(frozen=True)
class Shift:
    """Maps positions of the second channel to the first: matrix (y, x) + offset.

    Attributes
    ----------
    model : {"translation", "affine"}
        What was estimated.
    matrix : tuple of tuple of float
        2 x 2.
    offset : tuple of float
        y, x in px.
    n_pairs : int
        Pairs of spots that it was estimated from.
    residual : float
        Root mean square distance of these pairs after the correction, in px.
    """

    model: str
    matrix: tuple[tuple[float, float], tuple[float, float]]
    offset: tuple[float, float]
    n_pairs: int
    residual: float

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Correct places (n, 2) of the second channel."""
        corrected: NDArray[np.float64] = points @ np.array(self.matrix).T + self.offset
        return corrected

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json({"blinkcore_shift": 1, **asdict(self)}, path)

    @classmethod
    def load(cls, path: Path) -> Shift:
        """Read what `save` wrote; ValueError if it is something else."""
        try:
            content = json.loads(path.read_text("utf-8"))
            (a, b), (c, d) = content["matrix"]
            y, x = content["offset"]
            return cls(
                str(content["model"]),
                ((float(a), float(b)), (float(c), float(d))),
                (float(y), float(x)),
                int(content["n_pairs"]),
                float(content["residual"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is not a shift of blinkcore") from error


def estimate_shift(
    first: list[NDArray[np.float64]],
    second: list[NDArray[np.float64]],
    *,
    model: str = "translation",
    largest: float = 10.0,
    distance: float = 2.0,
) -> Shift:
    """Estimate the shift from the spots of two channels.

    It starts from the most frequent displacement, which chance pairs do not bias. Then
    pairs within `distance` are matched and the model is fitted to them, several times.

    Parameters
    ----------
    first, second : list of ndarray of float64, shape (n, 2)
        y, x of the spots of each image or frame, in px.
    model : {"translation", "affine"}
        What to estimate.
    largest : float
        Largest displacement, px.
    distance : float
        Largest distance of a pair after the correction, px.

    Returns
    -------
    Shift

    Raises
    ------
    ValueError
        If there are too few pairs.
    """
    matrix, offset = np.eye(2), _most_frequent(first, second, largest)
    for _ in range(_ROUNDS):
        pairs = [
            (a[p[:, 0]], b[p[:, 1]])
            for a, b in zip(first, second, strict=True)
            if len(p := _core.match(a, b @ matrix.T + offset, cutoff=distance))
        ]
        n = sum(len(a) for a, _ in pairs)
        if n < _MIN_PAIRS[model]:
            raise ValueError(
                f"a shift ({model}) needs {_MIN_PAIRS[model]} pairs of spots, and there are "
                f"{n} within {distance:g} px of each other"
            )
        fixed, moving = (np.concatenate(side) for side in zip(*pairs, strict=True))
        if model == "affine":
            design = np.column_stack([moving, np.ones(n)])
            solution, *_ = np.linalg.lstsq(design, fixed, rcond=None)
            matrix, offset = solution[:2].T, solution[2]
        else:
            offset = np.median(fixed - moving, axis=0)
    remaining = fixed - (moving @ matrix.T + offset)
    residual = float(np.sqrt((remaining**2).sum(axis=1).mean()))
    (a, b), (c, d) = matrix.tolist()
    y, x = offset.tolist()
    return Shift(model, ((a, b), (c, d)), (y, x), n, residual)


def _most_frequent(
    first: list[NDArray[np.float64]], second: list[NDArray[np.float64]], largest: float
) -> NDArray[np.float64]:
    """Find the displacement that most pairs have, to half a pixel."""
    found = []
    for a, b in zip(first, second, strict=True):
        if len(a) and len(b):
            near = cKDTree(b).query_ball_point(a, largest)
            found += [a[i] - b[rows] for i, rows in enumerate(near) if rows]
    if not found:
        return np.zeros(2)
    n = int(np.ceil(largest / _BIN)) + 1
    edges = (np.arange(-n, n + 2) - 0.5) * _BIN
    y, x = np.concatenate(found).T
    counts, *_ = np.histogram2d(y, x, bins=[edges, edges])
    # Sum over neighbouring bins, since a displacement may lie between two.
    smooth = sum(
        np.roll(counts, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)
    )
    row, col = np.unravel_index(int(np.argmax(smooth)), counts.shape)
    centres = (edges[:-1] + edges[1:]) / 2
    return np.array([centres[row], centres[col]])
