"""Choose the crops to label next: the ones that a model is least certain about.

A crop's worth is the entropy of its spots' probabilities, plus a fixed amount for each
blob that a simple detector finds and the model does not (a model has no doubts where it
sees nothing). It grows with the difference between the crop's contrast and that of the
labelled images. Crops like those already chosen count less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage, spatial

from blinkcore import io
from blinkcore.datasets.dataset import inside, place_name
from blinkcore.detection.predict import find_spots
from blinkcore.io import tables
from blinkcore.io.suffixes import stem_of_image
from blinkcore.network.grid import PROBABILITY
from blinkcore.network.normalize import normalized, plane_scaling
from blinkcore.noise import MAD_TO_NOISE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from blinkcore.datasets.dataset import Sample
    from blinkcore.network.model import Model

_MIN_PROBABILITY = 0.05  # of a spot that adds to the doubt
_WIDTHS = (1.0, 2.0, 4.0)  # px, of blobs that the simple detector looks for
_CLEAR, _APART = 7.0, 4  # minimum contrast to noise of a blob, minimum distance in px
_BLIND = 5.0  # bits that each blob adds which the model missed
_LEVELS = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999)  # quantiles that describe a crop


class Crop(NamedTuple):
    """A piece of an image that is worth labelling.

    Attributes
    ----------
    path : Path
        The image.
    name : str
        Name of the crop: that of the image, the plane and the position.
    pixels : ndarray, shape (height, width)
        As in the image.
    points : ndarray of float64, shape (n, 3)
        What the model finds, as a start: y, x in px of the crop, and probability.
    doubt : float
        Entropy of the probabilities, bits.
    unseen : int
        Blobs where the model finds nothing.
    novelty : float
        Difference in contrast from the labelled samples, 0 if there are none.
    worth : float
        Value for the ranking, before similarity to chosen crops is considered.
    """

    path: Path
    name: str
    pixels: NDArray[Any]
    points: NDArray[np.float64]
    doubt: float
    unseen: int
    novelty: float
    worth: float


def suggest(
    paths: Iterable[Path],
    model: Model,
    *,
    known: Sequence[Sample] = (),
    count: int = 10,
    crop: int = 128,
    axes: str | None = None,
) -> list[Crop]:
    """Rank the crops of images by what their labels would teach a model.

    Parameters
    ----------
    paths : iterable of Path
        Images.
    model : Model
        Model whose uncertainty decides.
    known : sequence of Sample
        Samples that are labelled already; crops unlike them rank higher.
    count : int
        Number of crops to choose.
    crop : int
        Side of a crop in px; smaller images are taken whole.
    axes : str, optional
        See `blinkcore.io.read_image`.

    Returns
    -------
    list of Crop
        The best first, at most `count`.
    """
    labelled = np.array([_description(s.image) for s in known])
    left = [c for p in paths for c in _crops_of(p, model, labelled, crop, axes)]
    chosen: list[Crop] = []
    described: list[NDArray[np.float64]] = []
    while left and len(chosen) < count:
        # Each next one should differ from those chosen before it.
        values = [
            c.worth * (1.0 - np.exp(-_distance(d, np.array(described))))
            for c, d in left
        ]
        best = int(np.argmax(values))
        found, description = left.pop(best)
        chosen.append(found)
        described.append(description)
    return chosen


def write(crops: Sequence[Crop], folder: Path) -> None:
    """Write crops as TIFF, what the model finds as CSV, and `suggest.csv`."""
    rows = []
    for rank, crop in enumerate(crops, start=1):
        base = folder / f"{rank:03d}_{crop.name}"
        io.write_image(crop.pixels, base.with_name(base.name + ".tif"))
        found = pd.DataFrame(crop.points, columns=["y", "x", "probability"])
        io.write_spots(found, base.with_name(base.name + ".csv"))
        rows.append(
            {
                "rank": rank, "crop": base.name, "image": str(crop.path),
                "worth": crop.worth, "doubt": crop.doubt, "unseen": crop.unseen,
                "novelty": crop.novelty,
            }
        )  # fmt: skip
    tables.write_csv(pd.DataFrame(rows), folder / "suggest.csv", "%.4g")


def _crops_of(
    path: Path,
    model: Model,
    labelled: NDArray[np.float64],
    side: int,
    axes: str | None,
) -> list[tuple[Crop, NDArray[np.float64]]]:
    """Cut an image into crops and describe each."""
    image = io.read_image(path, axes=axes)
    crops = []
    for plane in image.planes():
        spots = find_spots(plane.data, model, threshold=_MIN_PROBABILITY)[:, :3]
        unseen = _unseen(plane.data, spots[:, :2])
        place = place_name(plane, image)
        for top, left in _corners(plane.data.shape, side):
            pixels = plane.data[top : top + side, left : left + side]
            points = spots[:, :2] - [top, left]
            kept = inside(points, pixels.shape)
            own = np.column_stack([points[kept], spots[kept, PROBABILITY]])
            doubt, description = _entropy(own[:, PROBABILITY]), _description(pixels)
            novelty = _distance(description, labelled) if len(labelled) else 0.0
            n_unseen = int(inside(unseen - [top, left], pixels.shape).sum())
            worth = (doubt + _BLIND * n_unseen + 1.0) * (1.0 + novelty)
            name = f"{stem_of_image(path)}{place}-y{top}-x{left}"
            found = Crop(
                path, name, np.array(pixels), own, doubt, n_unseen, novelty, worth
            )
            crops.append((found, description))
    return crops


def _corners(shape: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    """List the upper left corners of squares that cover a plane, evenly overlapping."""
    starts = [
        np.linspace(0, max(0, n - side), -(-n // side)).round().astype(int)
        for n in shape
    ]
    return [(int(top), int(left)) for top in starts[0] for left in starts[1]]


def _unseen(plane: NDArray[Any], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find centres of blobs up to a few px wide, away from all spots of the model."""
    pixels = normalized(plane, plane_scaling(plane, "noise"))
    best = np.zeros_like(pixels)
    # Where all pixels are alike (a margin, a mask, no photons) there is no noise to measure.
    noisy = ndimage.maximum_filter(pixels, 3) > ndimage.minimum_filter(pixels, 3)
    if not noisy.any():
        return np.empty((0, 2))
    for sigma in _WIDTHS:
        blob = ndimage.gaussian_filter(pixels, sigma)
        blob -= ndimage.gaussian_filter(pixels, 1.6 * sigma)
        blob /= max(MAD_TO_NOISE * float(np.median(np.abs(blob[noisy]))), 1e-6)
        np.maximum(best, blob, out=best)
    peaks = (best == ndimage.maximum_filter(best, 2 * _APART + 1)) & (best > _CLEAR)
    points = np.argwhere(peaks).astype(float)
    if len(points) == 0 or len(found) == 0:
        return points
    distance, _ = spatial.cKDTree(found).query(points)
    alone: NDArray[np.float64] = points[distance > _APART]
    return alone


def _entropy(probability: NDArray[np.float64]) -> float:
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum())


def _description(image: NDArray[Any]) -> NDArray[np.float64]:
    """Compute quantiles of the normalized pixels, on a scale that compresses bright ones."""
    pixels = normalized(image, plane_scaling(image, "noise"))
    quantiles: NDArray[np.float64] = np.arcsinh(np.quantile(pixels, _LEVELS))
    return quantiles


def _distance(one: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Measure the distance to the nearest of some descriptions; far where there is none."""
    if len(others) == 0:
        return 3.0
    return float(np.sqrt(((others - one) ** 2).mean(axis=1)).min())
