"""An image with the true places of its spots, simulated or labelled by a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledPlane:
    """One plane with its true spots: what training, validation and scores need.

    Attributes
    ----------
    image : ndarray, shape (height, width)
        Of any real type.
    points : ndarray of float64, shape (n, 2)
        y, x in px; an integer is the centre of a pixel. An empty array labels a plane
        without spots.
    """

    image: NDArray[Any]
    points: NDArray[np.float64]
