"""Real planes without spots, into which training implants simulated ones.

A lab needs no labels for them: empty channels, controls without the probe, other stains of
the same microscope.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from blinkcore import io
from blinkcore.detection.predict import find_spots
from blinkcore.files import files_in
from blinkcore.simulation.implant import implant

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from blinkcore.network.model import Model

_MIN_SIDE = 32  # px
# Spots in a plane, and for each megapixel, above which it is no background: the models mark
# some 30 by mistake, in the worst of 34 real planes 180 (benchmarks/results/real.md).
_MIN_SPOTS, _MAX_FALSE = 3, 200.0
# From this many planes on, every sixth is kept for validation alone.
_MIN_TO_SPLIT, _EVERY = 12, 6


@dataclass(frozen=True)
class Background:
    """One real plane without spots.

    Attributes
    ----------
    name : str
        File, and the plane's frame, channel and z where the file has several.
    pixels : ndarray, shape (height, width)
        Counts.
    """

    name: str
    pixels: NDArray[Any]


def load_backgrounds(folder: str | os.PathLike[str]) -> tuple[Background, ...]:
    """Read all planes of all images of a folder.

    Parameters
    ----------
    folder : str or path
        TIFF, PNG and JPEG files, in the order of their names; hidden files are skipped.

    Returns
    -------
    tuple of Background

    Raises
    ------
    OSError
        If the folder or a file cannot be read.
    ValueError
        If there is no image in it, or one is smaller than 32 px or without contrast.
    """
    planes: list[Background] = []
    for path in _files(folder):
        image = io.read_image(path)
        for plane in image.planes():
            several = image.n_planes() > 1
            place = f"|{plane.frame},{plane.channel},{plane.z}" if several else ""
            pixels = np.ascontiguousarray(plane.data)
            if min(pixels.shape) < _MIN_SIDE or np.ptp(pixels) == 0:
                raise ValueError(
                    f"{path} cannot be a background: it has {pixels.shape[0]} x "
                    f"{pixels.shape[1]} px and values from {pixels.min()} to "
                    f"{pixels.max()}; at least {_MIN_SIDE} px and some noise are needed"
                )
            planes.append(Background(path.name + place, pixels))
    return tuple(planes)


class SpotsInPlane(NamedTuple):
    """What a model finds in a plane that is said to have no spots.

    Attributes
    ----------
    name : str
        Of the plane.
    n_spots : int
        Spots found there.
    per_megapixel : float
        The same for a plane of a million pixels.
    """

    name: str
    n_spots: int
    per_megapixel: float

    @property
    def has_spots(self) -> bool:
        """Whether there are more than a model marks by mistake."""
        return self.n_spots >= _MIN_SPOTS and self.per_megapixel > _MAX_FALSE


def spots_in_backgrounds(
    planes: Sequence[Background], model: Model
) -> list[SpotsInPlane]:
    """Look for spots in planes that should have none: training would teach to miss them."""
    found = []
    for plane in planes:
        spots = find_spots(plane.pixels, model, threshold=model.metadata.threshold)
        n = len(spots)
        found.append(SpotsInPlane(plane.name, n, 1e6 * n / plane.pixels.size))
    return found


def training_samples(
    planes: Sequence[Background], count: int, *, side: int = 192, seed: int = 0
) -> list[tuple[NDArray[Any], NDArray[np.float64], str]]:
    """Draw what training sees of real planes: pieces with simulated spots in them.

    Parameters
    ----------
    planes : sequence of Background
        Each in turn.
    count : int
        How many samples to draw.
    side : int
        Of a sample in px.
    seed : int
        Of all that is random.

    Returns
    -------
    list of (ndarray, ndarray of float64, str)
        Image (side, side), the labelled spots (n, 2) as y, x in px, and the plane's name.
    """
    samples = []
    for number in range(count):
        plane = planes[number % len(planes)]
        rng = np.random.default_rng([seed, number])
        scene = implant(plane.pixels, (side, side), rng)
        samples.append((scene.image, scene.points, plane.name))
    return samples


def split_backgrounds(
    planes: Sequence[Background],
) -> tuple[tuple[Background, ...], tuple[Background, ...]]:
    """Divide planes into those to train and those to validate on.

    Parameters
    ----------
    planes : sequence of Background
        In a fixed order.

    Returns
    -------
    train, valid : tuple of Background
        Every sixth plane is kept for validation; of fewer than twelve all serve for both.
    """
    if len(planes) < _MIN_TO_SPLIT:
        return tuple(planes), tuple(planes)
    train = tuple(p for i, p in enumerate(planes) if i % _EVERY)
    return train, tuple(planes[::_EVERY])


def sha256_of_backgrounds(folder: str | os.PathLike[str]) -> str:
    """Hash names and contents of the images of a folder; errors as `load_backgrounds`."""
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(path.name.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def describe_backgrounds(folder: str | os.PathLike[str]) -> list[dict[str, str]]:
    """List the images of a folder, for the record of a model.

    Parameters
    ----------
    folder : str or path
        Source and licence of each image are taken from a table `index.csv` in the folder
        or beside it, with columns `name` (of the file, without suffix), `source` and
        `licence`, if there is one. Empty: no folder.

    Returns
    -------
    list of dict
        `name`, and `source` and `licence` where they are known.
    """
    if not str(folder):
        return []
    known: dict[str, dict[str, str]] = {}
    for index in (Path(folder).parent / "index.csv", Path(folder) / "index.csv"):
        if index.is_file():
            with index.open(newline="", encoding="utf-8") as file:
                known |= {row.get("name", ""): row for row in csv.DictReader(file)}
    return [
        {"name": path.stem}
        | {
            key: row[key]
            for row in [known.get(path.stem, {})]
            for key in ("source", "licence")
            if row.get(key)
        }
        for path in _files(folder)
    ]


def _files(folder: str | os.PathLike[str]) -> list[Path]:
    files = files_in(Path(folder), io.IMAGE_SUFFIXES)
    if not files:
        raise ValueError(f"{folder} has no image (TIFF, PNG or JPEG) in it")
    return files
