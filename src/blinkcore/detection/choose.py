"""Choose the candidates that are spots, over all planes of a channel together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from blinkcore.detection.candidates import (
    COLUMNS,
    HEIGHT,
    height_noise,
    measure_heights,
)
from blinkcore.detection.objects import REACH, Objects, join_planes
from blinkcore.detection.scale import resampled
from blinkcore.network.calibration import calibrated, keep_for_fdr
from blinkcore.network.grid import PROBABILITY
from blinkcore.network.normalize import plane_scaling
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
    factor: float = 1.0,
) -> tuple[pd.DataFrame, int]:
    """Choose the spots of stacks, one row per spot.

    See `choose_spots` for the parameters and what is returned; `factor` is that by which
    planes were resampled. The table has `z_uncertainty` and `n_planes`, too.
    """
    together, alone = _judged_planes(planes, candidates, model, options)
    threshold = options.threshold_for(model)
    tables = []
    n_dim = 0
    for frame, channel in dict.fromkeys((t, c) for t, c, _ in planes):
        mine = [i for i, (t, c, _) in enumerate(planes) if (t, c) == (frame, channel)]
        stack = _Stack(image, [planes[i] for i in mine], mine, factor)
        objects = _objects(stack, together, threshold, options.fdr)
        place = np.tile([frame, channel, 0], (len(objects.z), 1))
        table = _table(image, objects.spots, place)
        table["z"] = objects.z
        table["z_uncertainty"] = objects.z_uncertainty
        table["n_planes"] = objects.n_planes
        tables.append(table)
        # Where the population changes nothing, nothing was left out.
        is_changed = any((together[i] != alone[i]).any() for i in mine)
        if options.fdr is None and is_changed:
            n_alone = len(_objects(stack, alone, threshold, options.fdr).z)
            n_dim += max(0, n_alone - len(objects.z))
    return pd.concat(tables, ignore_index=True), n_dim


class _Stack(NamedTuple):
    """The planes of one frame and channel, as the network sees them."""

    image: Image
    places: Places
    numbers: list[int]  # of the planes among all of the image
    factor: float

    def heights_at(
        self, number: int, points: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Measure heights in counts at places y, x (n, 2), px, of a plane."""
        plane = self.image.plane(*self.places[number]).data
        if self.factor == 1.0:
            return measure_heights(plane, points)
        scaling = plane_scaling(plane, "noise")
        pixels = resampled(np.asarray(plane), self.factor, scaling)
        ratio = np.array(pixels.shape) / np.array(plane.shape)
        heights = measure_heights(pixels, (points + 0.5) * ratio - 0.5)
        return heights * scaling.scale

    def noise(self) -> float:
        """Estimate the standard deviation of a height where there is no spot, in counts."""
        plane = self.image.plane(*self.places[len(self.places) // 2]).data
        if self.factor == 1.0:
            return height_noise(plane)
        scaling = plane_scaling(plane, "noise")
        noise = height_noise(resampled(np.asarray(plane), self.factor, scaling))
        return noise * scaling.scale


def _objects(
    stack: _Stack,
    spots: list[NDArray[np.float64]],
    threshold: float,
    fdr: float | None,
) -> Objects:
    """Join the planes of a stack."""
    found = join_planes(
        [spots[i] for i in stack.numbers],
        stack.heights_at,
        threshold=threshold if fdr is None else 0.0,
        noise=stack.noise(),
        # Wide spots are found less exactly, and bend more from plane to plane.
        reach=REACH * max(1.0, 1.0 / stack.factor),
    )
    if fdr is None:
        return found
    kept = keep_for_fdr(found.spots[:, PROBABILITY], fdr)
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
