"""Find spots: planes, candidates, a threshold over all planes, the spots table."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from blinkcore.detection.candidates import (
    HEIGHT,
    find_candidates,
    put_inside,
)
from blinkcore.detection.choose import (
    choose_objects,
    choose_spots,
    judged,
    kept_above,
)
from blinkcore.detection.measure import measure_spots
from blinkcore.detection.options import PredictOptions
from blinkcore.detection.projection import searched
from blinkcore.detection.scale import resampled, scale_factor
from blinkcore.detection.tiles import TILE
from blinkcore.image import Image, PixelSize, as_pixel_size, to_canonical_axes
from blinkcore.network.grid import UNCERTAINTY, X, Y
from blinkcore.network.model import DEFAULT, Model, load_model
from blinkcore.network.normalize import plane_scaling
from blinkcore.spots import ordered, with_micrometers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from blinkcore.detection.fit import Camera
    from blinkcore.network.normalize import Scaling

    Find = Callable[[float, int], Iterable[NDArray[np.float64]]]
    OnProgress = Callable[[str, int, int], None]


class Part(NamedTuple):
    """Rows of a plane in which tiles begin, and the scaling of the whole plane."""

    scaling: Scaling
    rows: slice


def predict(
    image: str | os.PathLike[str] | NDArray[Any] | Image,
    model: str | os.PathLike[str] | Model = DEFAULT,
    *,
    threshold: float | None = None,
    fdr: float | None = None,
    radius: float | None = None,
    measure: str | None = None,
    camera: Camera | None = None,
    molecules: bool = False,
    scale: float | str = 1.0,
    dim: bool = False,
    z: str = "objects",
    channel: int | None = None,
    axes: str | None = None,
    pixel_size: PixelSize | float | str | Sequence[float] | None = None,
    level: int = 0,
    truncated: bool = False,
    device: str = "auto",
    tile: int = TILE,
) -> pd.DataFrame:
    """Find the spots in an image.

    Parameters
    ----------
    image : path, ndarray or Image
        A file, a URL of OME-Zarr, or an array of any real type with up to five dimensions.
    model : str, path or Model
        Name of a bundled model, path of a `.pt` file, or a loaded model.
    threshold, fdr, radius, measure, camera, molecules, scale, dim, z, channel, axes,
    pixel_size, level, truncated
        See `blinkcore.detection.options.PredictOptions`. `axes` is needed for an array of
        more than two dimensions, and for a file that does not tell.
    device : {"auto", "cpu", "cuda", "mps"}
        Where a model runs that is not loaded yet.
    tile : int
        Side of a plane's tiles in px. Limits the memory, does not change the spots.

    Returns
    -------
    DataFrame
        The spots table, see `blinkcore.spots.COLUMNS`; ``attrs["dim_specks"]``: how many
        specks the population of brightness left out.

    Raises
    ------
    OSError, ValueError, TypeError
        If a file, its pixels or an option cannot be used; the message says why.
    """
    options = PredictOptions(
        threshold=threshold, fdr=fdr, radius=radius, measure=measure, camera=camera,
        molecules=molecules, scale=scale, dim=dim, z=z, channel=channel,
        axes=axes, level=level, truncated=truncated,
        pixel_size=None if pixel_size is None else as_pixel_size(pixel_size),
    )  # fmt: skip
    image = _as_image(image, options)
    loaded = model if isinstance(model, Model) else load_model(model, device=device)
    return predict_image(image, loaded, options, tile=tile)


def predict_image(
    image: Image,
    model: Model,
    options: PredictOptions,
    *,
    tile: int = TILE,
    on_progress: OnProgress | None = None,
    find: Find | None = None,
    candidates: list[NDArray[np.float64]] | None = None,
) -> pd.DataFrame:
    """Find the spots in an opened image with a loaded model.

    Parameters
    ----------
    image : Image
        To search; the options' axes and pixel size were used in reading it.
    model : Model
        To run.
    options : PredictOptions
        How to find spots.
    tile : int
        See `predict`.
    on_progress : callable, optional
        Called after each plane with ``"plane"``, the number of planes done and their total;
        of an image of one plane also after each tile, with ``"tile"`` and the same of tiles.
    find : callable, optional
        Takes the factor by which planes are resampled, and how many are done; yields the
        candidates of the others, as `candidates_of_plane` would, from other processes.
    candidates : list of ndarray, optional
        Those of the first planes, from an interrupted run; the others' are appended.

    Returns
    -------
    DataFrame
        See `predict`.

    Raises
    ------
    ValueError
        If there is no such channel, or the image is too large for the model.
    """
    factor = scale_factor(image, model, options.scale, options.channel)
    image = searched(image, options)
    planes = list(image.places(options.channel))
    candidates = [] if candidates is None else candidates
    find = find or _finder(image, planes, model, tile, on_progress)
    for found in find(factor, len(candidates)):
        candidates.append(found)
        if on_progress is not None:
            on_progress("plane", len(candidates), len(planes))
    joins = image.size("Z") > 1 and options.z == "objects"
    choose = partial(choose_objects, factor=factor) if joins else choose_spots
    spots, n_dim = choose(image, planes, candidates, model, options)
    measure_spots(spots, image, planes, options)
    if not model.has_error:
        spots = spots.drop(columns="localization_uncertainty")
    result = with_micrometers(ordered(spots), image.pixel_size)
    result.attrs["dim_specks"] = n_dim
    return result


def _finder(
    image: Image,
    planes: list[tuple[int, int, int]],
    model: Model,
    tile: int,
    on_progress: OnProgress | None,
) -> Find:
    """Return the `find` of `predict_image` that searches in this process."""
    single = len(planes) == 1
    on_tile = (
        partial(on_progress, "tile") if on_progress is not None and single else None
    )

    def find(factor: float, start: int) -> Iterable[NDArray[np.float64]]:
        for place in planes[start:]:
            yield candidates_of_plane(
                image, place, model, factor, tile, on_tile=on_tile
            )

    return find


def _as_image(
    image: str | os.PathLike[str] | NDArray[Any] | Image, options: PredictOptions
) -> Image:
    """Read a file, or put an array's dimensions into order."""
    axes, pixel_size = options.axes, options.pixel_size
    if isinstance(image, (str, os.PathLike)):
        return options.read(image)
    if not isinstance(image, Image):
        return _from_array(np.asarray(image), axes, pixel_size)
    if axes is not None or pixel_size is not None:
        raise ValueError("axes and pixel_size are those of the Image; give an array")
    return image


def candidates_of_plane(
    image: Image,
    place: tuple[int, int, int],
    model: Model,
    factor: float,
    tile: int = TILE,
    part: Part | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Find everything in a plane of an image that may be a spot.

    Parameters
    ----------
    image : Image
        The image.
    place : tuple of int
        Frame, channel and z of the plane.
    model : Model
        To run.
    factor : float
        By which the plane is resampled for the model.
    tile : int
        See `predict`.
    part : Part, optional
        Of a plane that is not resampled.
    on_tile : callable, optional
        See `blinkcore.detection.candidates.find_candidates`.

    Returns
    -------
    ndarray of float64, shape (n, 5)
        In px of the image; see `blinkcore.detection.candidates.find_candidates`.
    """
    plane, about = image.plane(*place).data, model.metadata
    if factor == 1.0:
        scaling, rows = part or (None, None)
        return find_candidates(
            plane, model, about, tile=tile, scaling=scaling, part=rows, on_tile=on_tile
        )
    scaling = plane_scaling(plane, "noise")
    other = resampled(np.asarray(plane), factor, scaling)
    # Enlarged pixels are correlated, but a fit would take them for independent ones.
    spots = find_candidates(
        other, model, about, tile=tile, refine=factor <= 1.0, on_tile=on_tile
    )
    ratio = np.array(plane.shape) / np.array(other.shape)
    spots[:, [Y, X]] = (spots[:, [Y, X]] + 0.5) * ratio - 0.5
    # In counts, as of planes that are not resampled.
    spots[:, HEIGHT] *= scaling.scale
    put_inside(spots, plane.shape)
    spots[:, UNCERTAINTY] *= ratio.mean()
    return spots


def find_spots(
    plane: NDArray[Any],
    model: Model,
    *,
    threshold: float,
    tile: int = TILE,
    refine: bool = True,
) -> NDArray[np.float64]:
    """Find the spots in one plane.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type; may be a view of a file. NaN and infinite pixels count as
        background.
    model : Model
        To run.
    threshold : float
        Probability above which a spot counts.
    tile, refine
        See `blinkcore.detection.candidates.find_candidates`.

    Returns
    -------
    ndarray of float64, shape (n, 3 or 4)
        y, x (px), probability and, if the model predicts it, the standard error of y and
        of x (px), from top to bottom of each tile.

    Raises
    ------
    ValueError
        If the plane is too large for a network that must see it in one piece.
    """
    spots = find_candidates(plane, model, model.metadata, tile=tile, refine=refine)
    kept = kept_above(judged(spots, model.metadata.calibration), threshold)
    return kept[:, : HEIGHT if model.has_error else UNCERTAINTY]


def _from_array(
    pixels: NDArray[Any], axes: str | None, pixel_size: PixelSize | None
) -> Image:
    if axes is None:
        if pixels.ndim != 2:
            raise ValueError(
                f"axes must be given for an array of shape {pixels.shape}, "
                "for example axes='TYX'"
            )
        axes = "YX"
    return to_canonical_axes(pixels, axes, pixel_size)
