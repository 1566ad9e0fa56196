"""Spots and the regions that they lie in: label images of Cellpose, StarDist or any program.

A label image has an integer for each pixel: 0 outside, the number of the cell inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from blinkcore import io

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from blinkcore.image import Image


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
    def read(cls, path: Path, sizes: Mapping[str, int]) -> Regions:
        """Read the label image of an image that has axes of these lengths.

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
        for axis, length in labels.sizes.items():
            wanted = sizes.get(axis, 1)
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
        """Labels of one plane of the image."""
        t = min(frame, self.labels.size("T") - 1)
        k = min(z, self.labels.size("Z") - 1)
        return np.asarray(self.labels.plane(t, 0, k).data).astype(np.int64)

    def of_spots(
        self, spots: pd.DataFrame
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Find the region of each spot.

        Parameters
        ----------
        spots : DataFrame
            A spots table of the image.

        Returns
        -------
        labels : ndarray of int64, shape (n,)
            0 outside of all regions.
        distance : ndarray of float64, shape (n,)
            To the border of its region in y and x, in px; NaN outside.
        """
        labels = np.zeros(len(spots), np.int64)
        distance = np.full(len(spots), np.nan)
        zero = np.zeros(len(spots))
        frames, z = (
            np.rint(np.asarray(spots.get(name, zero), float)).astype(np.int64)
            for name in ("frame", "z")
        )
        frames = frames if self.changes else np.zeros_like(frames)
        z = z.clip(0, self.labels.size("Z") - 1)
        nearest = np.rint(spots[["y", "x"]].to_numpy(float)).astype(np.int64)
        for frame, k in set(zip(frames.tolist(), z.tolist(), strict=True)):
            rows = np.flatnonzero((frames == frame) & (z == k))
            plane = self.plane(frame, k)
            y, x = (
                nearest[rows, axis].clip(0, plane.shape[axis] - 1) for axis in (0, 1)
            )
            labels[rows] = plane[y, x]
            distance[rows] = _to_border(plane)[y, x]
        distance[labels == 0] = np.nan
        return labels, distance

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
        """List the pixels (n, 2), y and x, of each region in a frame, projected over z.

        Pixels outside all regions are region 0.
        """
        planes = [self.plane(frame, z) for z in range(self.labels.size("Z"))]
        shape = planes[0].shape
        n = planes[0].size
        # One number for region and place: sorted, they are by region and then by row.
        keys = [plane.ravel() * n + np.arange(n) for plane in planes]
        region, place = np.divmod(np.unique(np.concatenate(keys)), n)
        numbers, starts = np.unique(region, return_index=True)
        y, x = np.unravel_index(place, shape)
        places = np.split(np.stack([y, x], axis=1), starts[1:])
        return dict(zip(numbers.tolist(), places, strict=True))


def _read(path: Path, sizes: Mapping[str, int]) -> Image:
    """Read a label image; axes that its file does not tell are those of the image."""
    try:
        return io.read_image(path)
    except ValueError as error:
        own = "".join(a for a in "TZ" if sizes.get(a, 1) > 1) + "YX"
        if "--axes" not in str(error):
            raise
        return io.read_image(path, axes=own)


def _to_border(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Distance of each pixel's centre to the border of its region, in px.

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
