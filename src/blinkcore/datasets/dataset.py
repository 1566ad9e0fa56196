"""Data sets: labelled images, split for training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blinkcore import io
from blinkcore.io import npz
from blinkcore.io.suffixes import stem_of_image
from blinkcore.labelled import LabelledPlane
from blinkcore.spots import AXIS_COLUMNS

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from blinkcore.image import Image, PixelSize, Plane
    from blinkcore.simulation.scenes import Scene

SPLITS = npz.SPLITS


@dataclass(frozen=True)
class Sample(LabelledPlane):
    """One labelled plane, or a tile of one, in a data set.

    Attributes
    ----------
    image, points : ndarray
        See `blinkcore.labelled`.
    split : {"train", "valid", "test"}
        What it is for.
    name : str
        Of the plane or tile.
    source : str
        The image that it comes from; all samples of one are in the same split.
    cramer_rao : list of float or None
        Smallest standard error of y and of x of each spot in px, where the truth is
        simulated.
    """

    split: str
    name: str
    source: str
    cramer_rao: list[float] | None = None


@dataclass(frozen=True)
class Dataset:
    """Samples of all splits."""

    samples: tuple[Sample, ...]

    def split(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of one split.

        Raises
        ------
        ValueError
            If there are none.
        """
        chosen = tuple(s for s in self.samples if s.split == name)
        if not chosen:
            splits = ", ".join(sorted({s.split for s in self.samples})) or "nothing"
            raise ValueError(f"the data set has no split {name!r}, only {splits}")
        return chosen

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as `.npz`, whole or not at all."""
        npz.write([vars(sample) for sample in self.samples], Path(path))


def inside(points: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return whether each point (y, x) lies in an image of a shape."""
    is_in = (points >= -0.5) & (points < np.array(shape) - 0.5)
    kept: NDArray[np.bool_] = np.all(is_in, axis=1)
    return kept


def load_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Load a data set of blinkcore or deepBlink (.npz).

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is neither.
    """
    try:
        return Dataset(tuple(Sample(**_known(s)) for s in npz.read(Path(path))))
    except (
        TypeError,
        AttributeError,
    ) as error:  # fields are missing, or of other kinds
        raise ValueError(
            f"{path} is not a data set that can be read: {error}"
        ) from error


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {n: values[n] for n in Sample.__dataclass_fields__ if n in values}


def create(
    pairs: Sequence[tuple[Path, Path]],
    *,
    tile: int | None = None,
    split: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    unit: str = "auto",
    axes: str | None = None,
    channel: int | None = None,
    pixel_size: PixelSize | None = None,
) -> Dataset:
    """Make a data set from images and labels.

    Parameters
    ----------
    pairs : sequence of (Path, Path)
        Image and labels, see `blinkcore.datasets.pairing`. Every plane of a stack is a
        sample.
    tile : int, optional
        Largest side of a sample in px; larger planes are cut evenly, nothing is lost.
    split : tuple of float
        Shares of the images for training, validation and test.
    seed : int
        Of the split.
    unit : {"auto", "px", "um"}
        Of the labels, see `blinkcore.io.read_labels`.
    axes, channel, pixel_size
        See `blinkcore.detection.predict.predict`.

    Returns
    -------
    Dataset

    Raises
    ------
    OSError, ValueError
        If a file cannot be read, or its labels do not fit; the message names it.
    """
    if not pairs:
        raise ValueError("there is no image with labels")
    splits = _split([str(image) for image, _ in pairs], split, seed)
    samples: list[Sample] = []
    for path, labels in pairs:
        image = io.read_image(
            path, axes=axes, pixel_size=pixel_size, rgb=channel is not None
        )
        sizes = {axis: image.size(axis) for axis in "CZT"}
        spots = io.read_labels(
            labels, unit=unit, pixel_size=image.pixel_size, sizes=sizes
        )
        _check_places(io.one_image(spots, labels), image, labels, channel)
        for plane in image.planes(channel):
            name = stem_of_image(path) + place_name(plane, image)
            points = _points_of(spots, plane, image)
            whole = Sample(plane.data, points, splits[str(path)], name, str(path))
            samples += _tiles(whole, tile)
    return Dataset(tuple(samples))


def of_scenes(
    scenes: Sequence[Scene], split: tuple[float, float, float], seed: int
) -> Dataset:
    """Make a data set of simulated scenes, split as `create` splits images."""
    names = [f"scene{i:05d}" for i in range(len(scenes))]
    splits = _split(names, split, seed)
    return Dataset(
        tuple(
            Sample(
                scene.image,
                scene.points,
                splits[name],
                name,
                name,
                scene.cramer_rao().tolist(),
            )
            for name, scene in zip(names, scenes, strict=True)
        )
    )


def _split(
    sources: Sequence[str], shares: tuple[float, float, float], seed: int
) -> dict[str, str]:
    """Assign images to splits; each split with a share gets one if there are enough."""
    if not (min(shares) >= 0 and 0 < sum(shares) < np.inf):
        raise ValueError(f"split must be shares of train, valid and test, got {shares}")
    wanted = np.array(shares) / sum(shares) * len(sources)
    counts = np.floor(wanted).astype(int)
    for split in (0, 1, 2):  # training first
        if wanted[split] > 0 and counts[split] == 0 and counts.sum() < len(sources):
            counts[split] = 1
    while counts.sum() < len(sources):
        counts[int(np.argmax(wanted - counts))] += 1
    order = np.random.default_rng(seed).permutation(len(sources))
    names = np.repeat(SPLITS, counts)
    return {sources[i]: str(name) for i, name in zip(order, names, strict=True)}


def _check_places(
    spots: pd.DataFrame, image: Image, path: Path, channel: int | None
) -> None:
    """Refuse labels that do not say which plane of a stack they are in."""
    if image.size("C") > 1 and channel is None and "channel" not in spots.columns:
        raise ValueError(
            f"{path} does not say in which channel its spots are, and the image has "
            f"{image.size('C')}; choose a channel"
        )
    for axis, name in AXIS_COLUMNS.items():
        if (
            image.size(axis) > 1
            and _column_of(axis, spots, image) is None
            and axis != "C"
        ):
            raise ValueError(
                f"{path} does not say in which {name} its spots are, and the image has "
                f"{image.size(axis)}"
            )


def _column_of(axis: str, spots: pd.DataFrame, image: Image) -> str | None:
    """Find an axis's column; a stack with only T or only Z may use either name."""
    if AXIS_COLUMNS[axis] in spots.columns:
        return AXIS_COLUMNS[axis]
    other = {"T": "Z", "Z": "T"}.get(axis)
    if other and image.size(other) == 1 and AXIS_COLUMNS[other] in spots.columns:
        return AXIS_COLUMNS[other]
    return None


def _points_of(spots: pd.DataFrame, plane: Plane, image: Image) -> NDArray[np.float64]:
    at = {"T": plane.frame, "C": plane.channel, "Z": plane.z}
    kept = np.ones(len(spots), bool)
    for axis, index in at.items():
        column = _column_of(axis, spots, image)
        if image.size(axis) > 1 and column is not None:
            kept &= np.rint(spots[column].to_numpy(float)) == index
    points: NDArray[np.float64] = spots.loc[kept, ["y", "x"]].to_numpy(float)
    return points


def place_name(plane: Plane, image: Image) -> str:
    """Name a plane's place in a stack, like ``-t3-z0``; empty if there is one plane."""
    at = {"T": plane.frame, "C": plane.channel, "Z": plane.z}
    return "".join(f"-{a.lower()}{at[a]}" for a in "TCZ" if image.size(a) > 1)


def _tiles(sample: Sample, tile: int | None) -> list[Sample]:
    if tile is None or max(sample.image.shape) <= tile:
        return [sample]
    rows, cols = (
        np.linspace(0, n, int(np.ceil(n / tile)) + 1).astype(int)
        for n in sample.image.shape
    )
    tiles = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(cols):
            window = sample.image[top:bottom, left:right]
            here = sample.points - [top, left]
            tiles.append(
                Sample(
                    window,
                    here[inside(here, window.shape)],
                    sample.split,
                    f"{sample.name}-y{top}-x{left}",
                    sample.source,
                )
            )
    return tiles
