"""Spots and the regions that they lie in: label images of Cellpose, StarDist or any program.

A label image has an integer for each pixel: 0 outside, the number of the cell inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from blinkcore import io, limits
from blinkcore.image import AxesError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from blinkcore.image import Image

_LARGEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Regions:
    """Regions of one image.

    Attributes
    ----------
    labels : Image
        Integers, with axes out of `T`, `Z`, `Y`, `X` that are as long as those of the
        image. Along an axis that it lacks, the labels are the same everywhere.
    """

    labels: Image

    @classmethod
    def read(cls, path: Path, sizes: Mapping[str, int] | None) -> Regions:
        """Read the label image of an image that has axes of these lengths, if known.

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it is not a label image, or not one of this image.
        """
        labels = _read(path, sizes)
        if labels.data.dtype.kind not in "bui":
            raise ValueError(
                f"{path} is not a label image: its pixels are {labels.data.dtype}, not "
                "whole numbers"
            )
        if labels.size("C") > 1:
            raise ValueError(
                f"{path} is not a label image: it has {labels.size('C')} channels"
            )
        for axis, length in labels.sizes.items():
            wanted = length if sizes is None else sizes.get(axis, 1)
            if length != wanted and not (length == 1 and axis not in "YX"):
                raise ValueError(
                    f"{path} has {length} along {axis}, and its image {wanted}; it is not "
                    "the label image of this image"
                )
        return cls(labels)

    @property
    def is_3d(self) -> bool:
        """Whether its regions are volumes in a stack rather than areas."""
        return self.labels.size("Z") > 1

    @property
    def changes(self) -> bool:
        """Whether the regions differ between frames."""
        return self.labels.size("T") > 1

    def plane(self, frame: int, z: int) -> NDArray[np.int64]:
        """Return the labels of one plane of the image, of shape (height, width).

        Raises
        ------
        ValueError
            If a label does not fit into 64 bits with a sign.
        """
        t = min(frame, self.labels.size("T") - 1)
        k = min(z, self.labels.size("Z") - 1)
        plane = np.asarray(self.labels.plane(t, 0, k).data)
        if plane.dtype == np.uint64 and plane.max(initial=0) > _LARGEST:
            raise ValueError(
                "its label image has labels above 9,223,372,036,854,775,807"
            )
        # -1 marks what some programs ignore.
        labels: NDArray[np.int64] = np.maximum(plane.astype(np.int64), 0)
        return labels

    def of_spots(
        self, spots: pd.DataFrame, plane_distance: float | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Find the region of each spot.

        Parameters
        ----------
        spots : DataFrame
            A spots table of the image.
        plane_distance : float, optional
            Distance of planes in px of x. Where it is known, and regions are volumes, the
            border above and below a spot counts, too.

        Returns
        -------
        labels : ndarray of int64, shape (n,)
            0 outside of all regions.
        distance : ndarray of float64, shape (n,)
            To the border of its region, in px of x; NaN outside.
        """
        labels = np.zeros(len(spots), np.int64)
        distance = np.full(len(spots), np.nan)
        frames, places = self._nearest(spots)
        for frame, z in set(zip(frames.tolist(), places[:, 0].tolist(), strict=True)):
            rows = np.flatnonzero((frames == frame) & (places[:, 0] == z))
            plane = self.plane(frame, z)
            y, x = places[rows, 1:].T
            labels[rows] = plane[y, x]
            distance[rows] = _to_border(plane)[y, x]
        if self.is_3d and plane_distance is not None:
            for frame in set(frames.tolist()):
                rows = np.flatnonzero((frames == frame) & (labels > 0))
                body, numbers = self._body(frame, labels[rows])
                nearest = _to_border_3d(body, numbers, places[rows], plane_distance)
                distance[rows] = np.minimum(distance[rows], nearest)
        distance[labels == 0] = np.nan
        return labels, distance

    def _nearest(
        self, spots: pd.DataFrame
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the frame of each spot and its nearest voxel (n, 3), of those that exist."""
        zero = np.zeros(len(spots))
        names = ("frame", "z", "y", "x")
        columns = [np.asarray(spots.get(name, zero), float) for name in names]
        frames, *places = (np.rint(column).astype(np.int64) for column in columns)
        if not self.changes:
            frames = np.zeros_like(frames)
        sizes = [self.labels.size(axis) for axis in "ZYX"]
        inside = [p.clip(0, size - 1) for p, size in zip(places, sizes, strict=True)]
        return frames, np.stack(inside, axis=1)

    def _body(
        self, frame: int, chosen: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return some regions of a frame, (z, y, x), numbered from 1, and their numbers here.

        A label may be in the billions, and a frame large.
        """
        numbers, own = np.unique(chosen, return_inverse=True)
        depth = self.labels.size("Z")
        shape = (depth, self.labels.size("Y"), self.labels.size("X"))
        limits.check_memory(4 * math.prod(shape), "the label image")
        body = np.zeros(shape, np.int32)
        for z in range(depth if len(numbers) else 0):
            plane = self.plane(frame, z)
            place = np.minimum(np.searchsorted(numbers, plane), len(numbers) - 1)
            body[z] = np.where(numbers[place] == plane, place + 1, 0)
        return body, own + 1

    def sizes(self, frame: int, inside: Regions | None = None) -> dict[int, int]:
        """Count the pixels of each region in a frame: its area, or its volume.

        Parameters
        ----------
        frame : int
            From 0.
        inside : Regions, optional
            Only pixels that also lie in one of these regions count, such as nuclei.

        Returns
        -------
        dict of int to int
            Region 0 is outside of all.
        """
        total: dict[int, int] = {}
        depths = [r.labels.size("Z") for r in (self, inside) if r is not None]
        for z in range(max(depths)):
            plane = self.plane(frame, z)
            if inside is not None:
                plane = plane[inside.plane(frame, z) > 0]
            numbers, counts = np.unique(plane, return_counts=True)
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                total[number] = total.get(number, 0) + count
        return total

    def pixels(self, frame: int) -> dict[int, NDArray[np.int64]]:
        """List the pixels of each region in a frame, region 0 being what is outside.

        Returns
        -------
        dict of int to ndarray of int64, shape (n, 2 or 3)
            y, x of each pixel; z, y, x where the regions are volumes.
        """
        depth = self.labels.size("Z")
        n_pixels = depth * self.labels.size("Y") * self.labels.size("X")
        limits.check_memory(64 * n_pixels, "the label image")
        planes = np.stack([self.plane(frame, z) for z in range(depth)])
        order = np.argsort(planes, axis=None, kind="stable")
        numbers, starts = np.unique(planes.ravel()[order], return_index=True)
        places = np.stack(np.unravel_index(order, planes.shape), axis=1)
        if not self.is_3d:
            places = places[:, 1:]
        parts = np.split(places, starts[1:])
        return dict(zip(numbers.tolist(), parts, strict=True))


def _read(path: Path, sizes: Mapping[str, int] | None) -> Image:
    """Read a label image; axes that its file does not tell are those of the image."""
    try:
        return io.read_image(path)
    except AxesError:
        known = {"Z": 2} if sizes is None else sizes  # the usual stack
        own = "".join(a for a in "TZ" if known.get(a, 1) > 1) + "YX"
    try:
        return io.read_image(path, axes=own)
    except AxesError as error:
        raise ValueError(
            f"{path} has other dimensions than its image, {own}; it is not the label image "
            "of this image (with --z max, label images are of a single plane)"
        ) from error


def _to_border(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Measure the distance of each pixel's centre to the border of its region, in px.

    The border lies half a pixel outside the centres of the region's outermost pixels.
    The edge of the image is not a border.
    """
    is_edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        other = np.moveaxis(is_edge, axis, 0)
        differs = np.diff(np.moveaxis(labels, axis, 0), axis=0) != 0
        other[1:] |= differs
        other[:-1] |= differs
    if not is_edge.any():
        return np.full(labels.shape, np.inf)
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~is_edge) + 0.5
    return distance


def _to_border_3d(
    body: NDArray[np.int32],
    own: NDArray[np.int64],
    places: NDArray[np.int64],
    plane_distance: float,
) -> NDArray[np.float64]:
    """Measure the distance of voxels to the border above, below and aslant of them, in px of x.

    `own` is the region of each voxel in `body`. The border is that of the nearest voxel
    outside the region, and of the one in the same column, half a voxel before its centre
    along each axis. The edge of the image is not a border.
    """
    distance = np.full(len(places), np.inf)
    step = np.array([plane_distance, 1.0, 1.0])
    for number, found in enumerate(ndimage.find_objects(body), start=1):
        # One voxel more on each side, where there is one, to see what lies outside.
        box = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in found)
        inside = body[box] == number
        if inside.all():
            continue
        nearest = ndimage.distance_transform_edt(
            inside, sampling=step, return_distances=False, return_indices=True
        )
        rows = np.flatnonzero(own == number)
        at = places[rows] - [part.start for part in box]
        voxels = np.stack([axis[tuple(at.T)] for axis in nearest], axis=1)
        apart = np.maximum(np.abs(voxels - at) - 0.5, 0) * step
        column = np.where(inside[:, at[:, 1], at[:, 2]], np.inf, 0.0)
        planes = np.abs(np.arange(len(inside))[:, None] - at[:, 0]) - 0.5
        above = (planes * plane_distance + column).min(axis=0)
        distance[rows] = np.minimum(np.linalg.norm(apart, axis=1), above)
    return distance
