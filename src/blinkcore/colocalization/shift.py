"""The shift between two channels: estimated from pairs of spots, kept in a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from blinkcore import _core
from blinkcore.files import write_json
from blinkcore.io.tables import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from blinkcore.image import PixelSize

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
    offset_z : float
        Along z, in µm or planes.
    z_unit : {"um", "planes", ""}
        Unit of `offset_z`; empty where the spots had no z.
    pixel_size : float or None
        Size of a pixel along x in µm in the images that it was estimated from.
    n_pairs : int
        Pairs of spots that it was estimated from.
    residual : float
        Root mean square distance in y and x of these pairs after the correction, in px.
    """

    model: str
    matrix: tuple[tuple[float, float], tuple[float, float]]
    offset: tuple[float, float]
    n_pairs: int
    residual: float
    offset_z: float = 0.0
    z_unit: str = ""
    pixel_size: float | None = None

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Correct positions y, x (n, 2) of the second channel."""
        corrected: NDArray[np.float64] = points @ np.array(self.matrix).T + self.offset
        return corrected

    def check_pixels(self, pixel_size: PixelSize | None, name: str) -> None:
        """Raise ValueError if an image has other pixels than those it was estimated from."""
        size = None if pixel_size is None else pixel_size.x
        if None not in (size, self.pixel_size) and not np.isclose(
            float(size or 0), float(self.pixel_size or 0), rtol=0.02
        ):
            raise ValueError(
                f"the shift is of images with {self.pixel_size:g} µm a pixel, and {name} "
                f"has {size:g}; estimate it from images of the same kind"
            )

    def planes(self, pixel_size: PixelSize | None, name: str) -> float:
        """Return the part along z in planes of an image.

        Raises
        ------
        ValueError
            If the distance of its planes is not known, or is known and was not where the
            shift was estimated.
        """
        distance = None if pixel_size is None else pixel_size.z
        if not self.offset_z or (self.z_unit == "planes" and distance is None):
            return self.offset_z
        if self.z_unit == "planes" or distance is None:
            raise ValueError(
                f"the shift along z is in {self.z_unit.replace('um', 'µm')}, and the "
                f"distance of planes of {name if distance is None else 'the beads'} is not "
                "known; give the size of a pixel in z, y and x, which is used for both"
            )
        return self.offset_z / distance

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json({"blinkcore_shift": 1, **asdict(self)}, path)

    @classmethod
    def load(cls, path: Path) -> Shift:
        """Read what `save` wrote; ValueError if it is something else."""
        try:
            content = parse_json(path)
            (a, b), (c, d) = content["matrix"]
            y, x = content["offset"]
            return cls(
                str(content["model"]),
                ((float(a), float(b)), (float(c), float(d))),
                (float(y), float(x)),
                int(content["n_pairs"]),
                float(content["residual"]),
                float(content.get("offset_z", 0.0)),
                str(content.get("z_unit", "")),
                None if (size := content.get("pixel_size")) is None else float(size),
            )
        except (ValueError, KeyError, TypeError) as error:
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
    first, second : list of ndarray of float64, shape (n, 2 or 3)
        Positions y, x (px) of the spots of each image or frame, with z before them in
        stacks. Pairs are found by y and x; along z their median difference is the shift.
    model : {"translation", "affine"}
        What to estimate.
    largest : float
        Largest displacement, px; above 0.
    distance : float
        Largest distance of a pair after the correction, px.

    Returns
    -------
    Shift

    Raises
    ------
    ValueError
        If there are too few pairs, or `largest` is not above 0.
    """
    if not 0 < largest < np.inf:
        raise ValueError(f"the largest shift must be above 0 px, got {largest}")
    fixed_side, moving_side = (
        [points[:, -2:] for points in side] for side in (first, second)
    )
    matrix, offset = np.eye(2), _most_frequent(fixed_side, moving_side, largest)
    for _ in range(_ROUNDS):
        rows = [
            _core.match(a, b @ matrix.T + offset, cutoff=distance)
            for a, b in zip(fixed_side, moving_side, strict=True)
        ]
        n = sum(map(len, rows))
        if n < _MIN_PAIRS[model]:
            raise ValueError(
                f"a shift ({model}) needs {_MIN_PAIRS[model]} pairs of spots, and there are "
                f"{n} within {distance:g} px of each other"
            )
        fixed = _chosen(fixed_side, rows, 0)
        moving = _chosen(moving_side, rows, 1)
        matrix, offset = _fitted(fixed, moving, model)
    remaining = fixed - (moving @ matrix.T + offset)
    residual = float(np.sqrt((remaining**2).sum(axis=1).mean()))
    (a, b), (c, d) = matrix.tolist()
    y, x = offset.tolist()
    z = _along_z(first, second, rows)
    return Shift(model, ((a, b), (c, d)), (y, x), n, residual, z)


def _chosen(
    points: list[NDArray[np.float64]], rows: list[NDArray[np.int64]], side: int
) -> NDArray[np.float64]:
    """Collect the points of all pairs on one side, (n, 2)."""
    own = [p[r[:, side]] for p, r in zip(points, rows, strict=True)]
    return np.concatenate(own)


def _fitted(
    fixed: NDArray[np.float64], moving: NDArray[np.float64], model: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit what maps the moving points to the fixed ones: matrix and offset."""
    if model == "translation":
        return np.eye(2), np.median(fixed - moving, axis=0)
    design = np.column_stack([moving, np.ones(len(moving))])
    solution, *_ = np.linalg.lstsq(design, fixed, rcond=None)
    return solution[:2].T, solution[2]


def _along_z(
    first: list[NDArray[np.float64]],
    second: list[NDArray[np.float64]],
    rows: list[NDArray[np.int64]],
) -> float:
    """Return the median difference of z of the pairs; 0 without z."""
    apart = [
        a[p[:, 0], 0] - b[p[:, 1], 0]
        for a, b, p in zip(first, second, rows, strict=True)
        if a.shape[1] == b.shape[1] == 3
    ]
    every = np.concatenate(apart) if apart else np.empty(0)
    return float(np.median(every)) if len(every) else 0.0


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
