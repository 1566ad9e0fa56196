"""Measures of each spot from the pixels around it: light in a disk, or a fit.

Of disks, background is the median of a ring; intensity is the sum over a disk of what exceeds it,
so that a camera's offset and uneven illumination cancel.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from blinkcore.detection.fit import NAMES as FITTED
from blinkcore.detection.fit import fit_spots
from blinkcore.large_plane import bands_of
from blinkcore.noise import MAD_TO_NOISE
from blinkcore.spots import AXIS_COLUMNS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from blinkcore.detection.options import PredictOptions
    from blinkcore.image import Image

NAMES = ("background", "intensity", "snr")
RADIUS = 3.0  # px, of the disk
_GAP, _WIDTH = 1.0, 2.0  # px between disk and ring, and of the ring


def measure(
    plane: NDArray[Any], points: ArrayLike, *, radius: float = RADIUS
) -> NDArray[np.float64]:
    """Measure spots in a plane.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type, counts.
    points : array-like, shape (n, 2)
        y, x in px.
    radius : float
        Of the disk, in px; the ring lies from 1 px to 3 px outside of it.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Background: median of the ring, counts. Intensity: sum over the pixels whose
        centres lie in the disk of what exceeds the background, counts. SNR: largest excess
        in the disk over the standard deviation of the ring (1.4826 times its median
        absolute deviation). Pixels outside the plane and NaN do not count; a spot without
        a ring has NaN.

    Raises
    ------
    ValueError
        If the radius is not positive.
    """
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius}")
    positions = np.asarray(points, float).reshape(-1, 2)
    result = np.full((len(positions), 3), np.nan)
    reach = int(np.ceil(radius + _GAP + _WIDTH)) + 1
    for which, pixels, top in bands_of(plane, positions, reach):
        result[which] = _measured(pixels, positions[which] - [top, 0], radius)
    return result


def measure_spots(
    spots: pd.DataFrame,
    image: Image,
    planes: list[tuple[int, int, int]],
    options: PredictOptions,
) -> None:
    """Measure each spot in its plane, and add the measures as columns.

    Parameters
    ----------
    spots : DataFrame
        Spots of the image, with a column for each of its axes; changed in place.
    image : Image
        Where they were found.
    planes : list of tuple of int
        Frame, channel and z of the planes that were searched.
    options : PredictOptions
        What to measure: a fit, or disks of a radius, or nothing.
    """
    names: tuple[str, ...]
    if options.measure is not None:
        names = FITTED
        measured = partial(fit_spots, method=options.measure, camera=options.camera)
    elif options.radius is not None:
        names, measured = NAMES, partial(measure, radius=options.radius)
    else:
        return
    zero = pd.Series(0, index=spots.index)
    places = np.stack(
        [
            np.rint(spots.get(name, zero).to_numpy(float))
            for name in AXIS_COLUMNS.values()
        ],
        axis=1,
    ).astype(np.int64)
    values = np.full((len(spots), len(names)), np.nan)
    for place in planes:
        rows = np.flatnonzero((places == place).all(axis=1))
        if len(rows):
            points = spots[["y", "x"]].to_numpy()[rows]
            values[rows] = measured(image.plane(*place).data, points)
    spots[list(names)] = values
    if options.molecules:
        intensity = values[:, names.index("intensity")]
        molecules = np.full(len(spots), np.nan)
        for channel in np.unique(places[:, 1]):
            mine = (places[:, 1] == channel) & np.isfinite(intensity)
            if mine.any():
                molecules[mine] = intensity[mine] / np.median(intensity[mine])
        spots["molecules"] = molecules


def _measured(
    plane: NDArray[Any], positions: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """Measure spots whose disks and rings lie in one array."""
    outer = radius + _GAP + _WIDTH
    reach = int(np.ceil(outer))
    step = np.arange(-reach, reach + 1)
    result = np.full((len(positions), 3), np.nan)
    # A few thousand at a time, because each spot needs about a hundred pixels.
    for start in range(0, len(positions), 4096):
        some = positions[start : start + 4096]
        nearest = np.rint(some).astype(np.intp)
        rows, cols = nearest[:, :1] + step, nearest[:, 1:] + step
        inside = ((rows >= 0) & (rows < plane.shape[0]))[:, :, None] & (
            (cols >= 0) & (cols < plane.shape[1])
        )[:, None, :]
        pixels = plane[
            rows.clip(0, plane.shape[0] - 1)[:, :, None],
            cols.clip(0, plane.shape[1] - 1)[:, None, :],
        ].astype(float)
        distance = np.hypot(
            (rows - some[:, :1])[:, :, None], (cols - some[:, 1:])[:, None, :]
        )
        known = inside & np.isfinite(pixels)
        ring = known & (distance > radius + _GAP) & (distance <= outer)
        disk = known & (distance <= radius)
        result[start : start + 4096] = _of_windows(pixels, disk, ring)
    return result


def _of_windows(
    pixels: NDArray[np.float64], disk: NDArray[np.bool_], ring: NDArray[np.bool_]
) -> NDArray[np.float64]:
    around = np.where(ring, pixels, np.nan).reshape(len(pixels), -1)
    result = np.full((len(pixels), 3), np.nan)
    some = ring.any(axis=(1, 2)) & disk.any(axis=(1, 2))
    background = np.nanmedian(around[some], axis=1)
    spread = MAD_TO_NOISE * np.nanmedian(
        np.abs(around[some] - background[:, None]), axis=1
    )
    excess = np.where(disk[some], pixels[some] - background[:, None, None], 0.0)
    highest = np.where(disk[some], excess, -np.inf).max(axis=(1, 2))
    result[some, 0] = background
    result[some, 1] = excess.sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        result[some, 2] = np.where(spread > 0, highest / spread, np.nan)
    return result
