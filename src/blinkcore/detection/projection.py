"""The maximum projection of a stack, computed plane by plane on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from blinkcore.image import Image, LazyPlanes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blinkcore.detection.options import PredictOptions


def searched(image: Image, options: PredictOptions) -> Image:
    """Return the image whose planes are searched: itself, or its projection."""
    return max_projection(image) if options.z == "max" else image


def max_projection(image: Image) -> Image:
    """Project an image over z.

    Parameters
    ----------
    image : Image
        With or without an axis `Z`.

    Returns
    -------
    Image
        Without `Z`. A plane is computed when it is asked for.
    """
    if "Z" not in image.axes:
        return image
    return Image(
        _Projected(image),
        image.axes.replace("Z", ""),
        image.pixel_size,
        image.frame_interval,
    )


class _Projected(LazyPlanes):
    """Planes that are the maximum over z of another image's."""

    def __init__(self, image: Image) -> None:
        at = image.axes.index("Z")
        shape = image.data.shape
        self.shape = (*shape[:at], *shape[at + 1 :])
        self.dtype = image.data.dtype
        self._image, self._at = image, at

    def __getitem__(self, index: tuple[int, ...]) -> NDArray[Any]:
        before, after = index[: self._at], index[self._at :]
        data = self._image.data
        planes = [(*before, z, *after) for z in range(self._image.size("Z"))]
        result = np.array(np.asarray(data[planes[0]]))
        for plane in planes[1:]:
            np.maximum(result, np.asarray(data[plane]), out=result)
        return result
