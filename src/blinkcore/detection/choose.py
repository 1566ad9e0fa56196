"""Choose the candidates that are spots, over all planes of a channel together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from blinkcore.detection.candidates import (
    COLUMNS,
    HEIGHT,
    height_noise,
    measure_heights,
)
from blinkcore.detection.objects import Objects, join_planes
from blinkcore.network.calibration import calibrated, keep_for_fdr
from blinkcore.network.grid import PROBABILITY
from blinkcore.spots import AXIS_COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blinkcore.detection.options import PredictOptions
    from blinkcore.image import Image
    from blinkcore.network.calibration import Calibration
    from blinkcore.network.model import Model

    Places = list[tuple[int, int, int]]  # frame, channel, z of each plane


def judged(
    candidates: NDArray[np.float64], calibration: Calibration
) -> NDArray[np.float64]:
    """Calibrate the probabilities of candidates, which are judged together.

    Parameters
    ----------
    candidates : ndarray of float64, shape (n, 5)
        Of a plane or of several, see `blinkcore.detection.candidates.COLUMNS`.
    calibration : Calibration
        See `blinkcore.network.calibration.calibrated`.

    Returns
    -------
    ndarray of float64, shape (n, 5)
        A copy.
    """
    spots: NDArray[np.float64] = candidates.copy()
    spots[:, PROBABILITY] = calibrated(
        candidates[:, PROBABILITY], candidates[:, HEIGHT], calibration
    )
    return spots


def kept_above(spots: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Keep the spots (n, 5) whose probability is above a threshold."""
    kept: NDArray[np.float64] = spots[spots[:, PROBABILITY] > threshold]
    return kept


def choose_spots(
    image: Image,
    planes: Places,
    candidates: list[NDArray[np.float64]],
    model: Model,
    options: PredictOptions,
) -> tuple[pd.DataFrame, int]:
    """Choose the spots of planes.

    Parameters
    ----------
    image : Image
        To which the planes belong.
    planes : list of tuple of int
        Frame, channel and z of each.
    candidates : list of ndarray of float64, shape (n, 5)
        Of each plane, see `blinkcore.detection.candidates.COLUMNS`.
    model : Model
        Its calibration and threshold.
    options : PredictOptions
        How to find spots.

    Returns
    -------
    spots : DataFrame
        The columns of candidates, with calibrated probabilities, and places in the stack.
    n_dim : int
        How many more spots there would be if each candidate were judged alone.
    """
    together, alone = _judged_planes(planes, candidates, model, options)
    threshold = options.threshold_for(model)
    if options.fdr is None:
        kept = [kept_above(spots, threshold) for spots in together]
        n_alone = sum(len(kept_above(spots, threshold)) for spots in alone)
        n_dim = max(0, n_alone - sum(map(len, kept)))
    else:
        kept, n_dim = _kept_for_fdr(planes, together, options.fdr), 0
    place_of = np.repeat(planes, [len(spots) for spots in kept], axis=0)
    return _table(image, np.concatenate(kept), place_of), n_dim


def choose_objects(
    image: Image,
    planes: Places,
    candidates: list[NDArray[np.float64]],
    model: Model,
    options: PredictOptions,
) -> tuple[pd.DataFrame, int]:
    """Choose the spots of stacks, one row per spot.

    See `choose_spots` for the parameters and what is returned. The table has `z_uncertainty` and `n_planes`, too.
    """
    together, alone = _judged_planes(planes, candidates, model, options)
    threshold = options.threshold_for(model)
    tables = []
    n_dim = 0
    for frame, channel in dict.fromkeys((t, c) for t, c, _ in planes):
        mine = [i for i, (t, c, _) in enumerate(planes) if (t, c) == (frame, channel)]
        objects = _objects(image, planes, mine, together, threshold, options)
        place = np.tile([frame, channel, 0], (len(objects.z), 1))
        table = _table(image, objects.spots, place)
        table["z"] = objects.z
        table["z_uncertainty"] = objects.z_uncertainty
        table["n_planes"] = objects.n_planes
        tables.append(table)
        # Where the population changes nothing, nothing was left out.
        is_changed = any((together[i] != alone[i]).any() for i in mine)
        if options.fdr is None and is_changed:
            n_alone = len(_objects(image, planes, mine, alone, threshold, options).z)
            n_dim += max(0, n_alone - len(objects.z))
    return pd.concat(tables, ignore_index=True), n_dim


def _objects(
    image: Image,
    planes: Places,
    mine: list[int],
    spots: list[NDArray[np.float64]],
    threshold: float,
    options: PredictOptions,
) -> Objects:
    """Join the planes `mine` of one frame and channel."""

    def heights_at(number: int, points: NDArray[np.float64]) -> NDArray[np.float64]:
        plane = image.plane(*planes[mine[number]]).data
        return measure_heights(plane, points)

    middle = image.plane(*planes[mine[len(mine) // 2]]).data
    found = join_planes(
        [spots[i] for i in mine],
        heights_at,
        threshold=threshold if options.fdr is None else 0.0,
        noise=height_noise(middle),
    )
    if options.fdr is None:
        return found
    kept = keep_for_fdr(found.spots[:, PROBABILITY], options.fdr)
    return Objects(
        found.spots[kept],
        found.z[kept],
        found.z_uncertainty[kept],
        found.n_planes[kept],
    )


def _judged_planes(
    planes: Places,
    candidates: list[NDArray[np.float64]],
    model: Model,
    options: PredictOptions,
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Calibrate the candidates of each plane: all of a channel together, and each alone."""
    calibration = model.metadata.calibration
    together, alone = list(candidates), list(candidates)
    for channel in {c for _, c, _ in planes}:
        mine = [i for i, (_, c, _) in enumerate(planes) if c == channel]
        every = np.concatenate([candidates[i] for i in mine])
        each = judged(every, calibration.alone())
        both = each if options.dim else judged(every, calibration)
        ends = np.cumsum([len(candidates[i]) for i in mine])[:-1]
        for i, joint, single in zip(
            mine, np.split(both, ends), np.split(each, ends), strict=True
        ):
            together[i], alone[i] = joint, single
    return together, alone


def _kept_for_fdr(
    planes: Places, spots: list[NDArray[np.float64]], fdr: float
) -> list[NDArray[np.float64]]:
    kept = list(spots)
    for channel in {c for _, c, _ in planes}:
        mine = [i for i, (_, c, _) in enumerate(planes) if c == channel]
        probability = np.concatenate([spots[i][:, PROBABILITY] for i in mine])
        ends = np.cumsum([len(spots[i]) for i in mine])[:-1]
        for i, is_kept in zip(
            mine, np.split(keep_for_fdr(probability, fdr), ends), strict=True
        ):
            kept[i] = spots[i][is_kept]
    return kept


def _table(
    image: Image, spots: NDArray[np.float64], place_of: NDArray[np.int64]
) -> pd.DataFrame:
    """Put spots and their places, (n, 3), into one table."""
    values = pd.DataFrame(spots, columns=COLUMNS)
    table: pd.DataFrame = values.drop(columns="height")
    places = np.asarray(place_of).reshape(-1, 3)
    for index, (axis, name) in enumerate(AXIS_COLUMNS.items()):
        if axis in image.axes:
            table[name] = places[:, index]
    return table
