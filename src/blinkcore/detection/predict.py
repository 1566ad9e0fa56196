"""Find spots: planes → tiles → network → grid → spots table."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from blinkcore import io
from blinkcore.detection.measure import NAMES as MEASURED
from blinkcore.detection.measure import measure
from blinkcore.detection.refine import refined
from blinkcore.detection.scale import (
    Blobs,
    check_factor,
    estimate,
    factor_for,
    fits,
    resampled,
)
from blinkcore.image import Image, PixelSize, in_order
from blinkcore.network import grid
from blinkcore.network.calibration import LEAST_PROBABILITY, check_fdr, keep_for_fdr
from blinkcore.network.model import DEFAULT, Model, load_model
from blinkcore.network.normalize import filled, normalized, plane_scaling
from blinkcore.spots import ordered, with_micrometers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# px, side of a tile without its margin. Smaller ones compute more of the margin, larger ones
# leave a CPU's cache: 768 and 2,048 px took a third and a half longer.
TILE = 1024
# Without a receptive field (squeeze-and-excitation sees everything) a plane is run in one
# piece; beyond this many pixels it would not fit a computer's memory.
_MAX_WHOLE = 4096 * 4096


def predict(
    image: str | os.PathLike[str] | NDArray[Any] | Image,
    model: str | os.PathLike[str] | Model = DEFAULT,
    *,
    threshold: float | None = None,
    fdr: float | None = None,
    radius: float | None = None,
    scale: float | str = 1.0,
    channel: int | None = None,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    device: str = "auto",
    tile: int = TILE,
) -> pd.DataFrame:
    """Find the spots in an image.

    Parameters
    ----------
    image : path, ndarray or Image
        A file, or an array of any real type with up to five dimensions.
    model : str, path or Model
        Name of a bundled model, path of a `.pt` file, or a loaded model.
    threshold : float, optional
        Probability above which a spot counts, in [0, 1); the model's own if not given.
    fdr : float, optional
        Expected share of false spots among those found, in (0, 1), instead of a
        threshold: see `blinkcore.network.calibration`.
    radius : float, optional
        Measure the light of each spot in a disk of this radius in px, see
        `blinkcore.detection.measure`: columns `background`, `intensity`, `snr`.
    scale : float or "auto"
        Resample planes by this factor before the model sees them, if spots are wider or
        narrower than those that it was trained on; positions are those of the image. With
        "auto" the width of blobs decides, see `choose_scale`.
    channel : int, optional
        Only this channel, from 0; of a colour picture red, green or blue.
    axes : str, optional
        One letter a dimension out of `TCZYX`, in the array's or file's order. Needed for
        an array of more than two dimensions and for a file that does not tell.
    pixel_size : PixelSize, optional
        In µm, instead of what the file says.
    device : {"auto", "cpu", "cuda", "mps"}
        Where a model runs that is not loaded yet.
    tile : int
        Side in px of the tiles that a plane is cut into. It bounds the memory and does
        not change the spots.

    Returns
    -------
    DataFrame
        The spots table: `frame`, `channel`, `z` where the image has these axes, `y`, `x`
        (px, an integer is the centre of a pixel), `probability`, `localization_error`
        (px, standard error of y and of x, if the model predicts it), and `z_um`, `y_um`,
        `x_um` where the pixel size is known.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If the image or an option is not usable; the message says why.
    TypeError
        If pixels are complex or no numbers.
    """
    if isinstance(image, (str, os.PathLike)):
        image = io.read_image(
            image, axes=axes, pixel_size=pixel_size, rgb=channel is not None
        )
    elif not isinstance(image, Image):
        image = _from_array(np.asarray(image), axes, pixel_size)
    elif axes is not None or pixel_size is not None:
        raise ValueError("axes and pixel_size are those of the Image; give an array")
    loaded = model if isinstance(model, Model) else load_model(model, device=device)
    least = _least_probability(threshold, fdr, loaded)
    factor = choose_scale(image, loaded, channel) if scale == "auto" else float(scale)
    check_factor(factor)

    rows, places = [], []
    for plane in image.planes(channel):
        found = _find_scaled(plane.data, loaded, least, tile, factor)
        if radius is not None:
            light = measure(plane.data, found[:, :2], radius=radius)
            found = np.concatenate([found, light], axis=1)
        rows.append(found)
        places.append(np.tile([plane.frame, plane.channel, plane.z], (len(found), 1)))
    table = np.concatenate([np.concatenate(places), np.concatenate(rows)], axis=1)
    names = ["frame", "channel", "z", "y", "x", "probability"]
    names += ["localization_error"] if loaded.has_error else []
    names += list(MEASURED) if radius is not None else []
    spots = pd.DataFrame(table, columns=names)
    if fdr is not None:
        kept = keep_for_fdr(spots["probability"].to_numpy(), fdr)
        spots = spots[kept].reset_index(drop=True)
    absent = [n for n, a in zip(names, "TCZ", strict=False) if a not in image.axes]
    return with_micrometers(ordered(spots.drop(columns=absent)), image.pixel_size)


def choose_scale(image: Image, model: Model, channel: int | None = None) -> float:
    """Choose the factor that brings an image's spots to what a model was trained on.

    Parameters
    ----------
    image : Image
        Its middle plane is looked at.
    model : Model
        Whose `spot_sigma` counts.
    channel : int, optional
        See `predict`.

    Returns
    -------
    float
        1 if the spots fit, or nothing is known about them or about the model.
    """
    misfit = _misfit(image, model, channel)
    return 1.0 if misfit is None else factor_for(misfit[0].sigma, misfit[1])


def scale_warning(image: Image, model: Model, channel: int | None = None) -> str | None:
    """Say in a sentence if an image's spots are not of the width of the model's."""
    misfit = _misfit(image, model, channel)
    if misfit is None:
        return None
    blobs, trained = misfit
    return (
        f"bright spots are {blobs.sigma:.1f} px wide (sigma of {blobs.n}, SNR "
        f"{blobs.snr:.0f}), the model {model.name} was trained on {trained[0]:g} to "
        f"{trained[1]:g} px; if they are what you look for, try --scale auto"
    )


def _misfit(
    image: Image, model: Model, channel: int | None
) -> tuple[Blobs, tuple[float, float]] | None:
    """Blobs of an image and the widths of a model, if they are known and differ."""
    trained = model.metadata.spot_sigma
    blobs = estimate(image.middle_plane(channel).data) if trained else None
    if blobs is None or trained is None or fits(blobs.sigma, trained):
        return None
    return blobs, trained


def _find_scaled(
    plane: NDArray[Any], model: Model, threshold: float, tile: int, factor: float
) -> NDArray[np.float64]:
    if factor == 1.0:
        return find_spots(plane, model, threshold=threshold, tile=tile)
    other = resampled(plane, factor)
    # Enlarged pixels are alike, and a fit would take them for as many that are not.
    fine = factor <= 1.0
    spots = find_spots(other, model, threshold=threshold, tile=tile, refine=fine)
    ratio = np.array(plane.shape) / np.array(other.shape)
    spots[:, :2] = (spots[:, :2] + 0.5) * ratio - 0.5
    _put_inside(spots, plane.shape)
    spots[:, 3:] *= ratio.mean()  # errors
    return spots


def _least_probability(
    threshold: float | None, fdr: float | None, model: Model
) -> float:
    if fdr is not None:
        check_fdr(fdr, threshold)
        return LEAST_PROBABILITY
    least = model.metadata.threshold if threshold is None else threshold
    grid.check_threshold(least)
    return least


def find_spots(
    plane: NDArray[Any],
    model: Model,
    *,
    threshold: float,
    tile: int = TILE,
    refine: bool = True,
) -> NDArray[np.float64]:
    """Find the spots in one plane.

    A tile is read with a margin of the model's receptive field and gives the spots of its
    core; cores partition the plane. So the spots do not depend on the tiles.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type; may be a view of a file. NaN and infinite pixels count as
        background.
    model : Model
        To run.
    threshold : float
        Probability above which a spot counts.
    tile : int
        Side of a core in px; rounded up to the model's stride.
    refine : bool
        Sharpen the positions of spots by a fit, see `blinkcore.detection.refine`; of models that
        predict the error.

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
    metadata = model.metadata
    if metadata.receptive_field is None and plane.size > _MAX_WHOLE:
        raise ValueError(
            f"a {metadata.architecture} model takes planes of up to {_MAX_WHOLE} px (its "
            "squeeze-and-excitation needs the plane in one piece), got "
            f"{plane.shape[0]} x {plane.shape[1]}; use a blink model or crop the image"
        )
    scaling = plane_scaling(plane, metadata.normalization)
    calibration = (metadata.calibration[0], metadata.calibration[1])
    least = grid.uncalibrated(threshold, calibration)
    found = [np.empty((0, 4 if model.has_error else 3))]
    for core, window in _tiles(plane.shape, model, tile):
        pixels = normalized(plane[window], scaling)
        cells = model(filled(pixels, metadata.stride)[None, None])[0]
        spots = grid.decode(
            cells,
            cell_size=metadata.cell_size,
            cell_map=metadata.cell_map,
            threshold=least,
            merge_distance=metadata.merge_distance,
        )
        spots[:, 2] = grid.calibrated(spots[:, 2], calibration)
        if refine and model.has_error:
            spots = refined(pixels, spots)
        spots[:, :2] += [window[0].start, window[1].start]
        found.append(spots[_inside(spots, core, plane.shape)])
    spots = np.concatenate(found)
    _put_inside(spots, plane.shape)
    return spots


def _put_inside(spots: NDArray[np.float64], shape: tuple[int, ...]) -> None:
    """Put centres a little outside the outermost pixels on their edge."""
    # The last place that is still inside with the four decimals of a CSV.
    most = np.array(shape) - 0.5001
    np.clip(spots[:, :2], -0.5, most, out=spots[:, :2])


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
    return in_order(pixels, axes, pixel_size)


Window = tuple[slice, slice]


def _tiles(
    shape: tuple[int, ...], model: Model, tile: int
) -> Iterator[tuple[Window, Window]]:
    """Cores that partition a plane, and the windows to read for them."""
    metadata = model.metadata
    height, width = shape
    if metadata.receptive_field is None:
        yield (slice(0, height), slice(0, width)), (slice(0, height), slice(0, width))
        return
    stride = metadata.stride
    side = max(1, math.ceil(tile / stride)) * stride
    # Four cells more, because claims of neighbouring cells are merged.
    reach = metadata.receptive_field + 4 * metadata.cell_size
    margin = math.ceil(reach / stride) * stride
    for top in range(0, height, side):
        for left in range(0, width, side):
            core = (
                slice(top, min(top + side, height)),
                slice(left, min(left + side, width)),
            )
            window = (
                slice(max(0, top - margin), min(core[0].stop + margin, height)),
                slice(max(0, left - margin), min(core[1].stop + margin, width)),
            )
            yield core, window


def _inside(
    spots: NDArray[np.float64], core: Window, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Whether each spot lies in the core; those at the plane's edges reach 0.5 px out."""
    kept = np.ones(len(spots), bool)
    for axis in (0, 1):
        first, last = core[axis].start, core[axis].stop
        low = first - (1.0 if first == 0 else 0.5)
        high = last - (0.0 if last == shape[axis] else 0.5)
        kept &= (spots[:, axis] >= low) & (spots[:, axis] < high)
    return kept
