"""Pictures of a plane with its spots circled, fit for a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from blinkcore.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

SUFFIX = ".overlay.png"  # of pictures; such files are never taken for inputs
PERCENTILES = (0.5, 99.8)  # of the pixels, shown as black and as white
_COLOR, _WHITE = (255, 196, 0), (255, 255, 255)
_TARGET = 1200  # px, minimum length of the longer side: small images are magnified
_LARGEST = 4096  # px, longer side: large ones are reduced
_AT_A_TIME = 1 << 22  # pixels that are turned into grey values


def draw_overlay(
    plane: NDArray[Any],
    points: ArrayLike,
    *,
    radius: float = 4.0,
    contrast: tuple[float, float] | None = None,
    pixel_size: float | None = None,
    count: bool = False,
) -> PIL.Image.Image:
    """Draw a circle around each spot of a plane.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type.
    points : array-like, shape (n, 2)
        y, x in px.
    radius : float
        Of the circles, in px of the plane.
    contrast : tuple of float, optional
        What is black and what is white; by default the 0.5th and the 99.8th percentile.
    pixel_size : float, optional
        In µm; the picture has a scale bar then.
    count : bool
        Write the number of spots into the upper left corner.

    Returns
    -------
    PIL.Image.Image
        RGB; small planes are magnified by a whole number, large ones reduced.
    """
    longest = max(plane.shape)
    step = -(-longest // _LARGEST)
    grey = _reduced(plane, contrast or percentiles([plane]), step)
    zoom = max(1, _TARGET // max(grey.size))
    size = (grey.width * zoom, grey.height * zoom)
    # Circles are drawn at twice the size and reduced, to be smooth; the image is not.
    mask = PIL.Image.new("L", (2 * size[0], 2 * size[1]))
    pen = PIL.ImageDraw.Draw(mask)
    scale = 2 * zoom / step
    r = max(radius * scale, 8.0)
    for y, x in np.asarray(points, float).reshape(-1, 2):
        cy, cx = (y + 0.5) * scale, (x + 0.5) * scale
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), outline=255, width=3)
    picture = grey.resize(size, PIL.Image.Resampling.NEAREST).convert("RGB")
    picture.paste(_COLOR, mask=mask.resize(size, PIL.Image.Resampling.BOX))
    if pixel_size is not None:
        _add_scale_bar(picture, pixel_size * step / zoom)
    if count:
        n, unit = len(np.asarray(points, float).reshape(-1, 2)), _unit(picture)
        _write(picture, (2 * unit, 2 * unit), f"{n:,} spot{'s' * (n != 1)}", "lt")
    return picture


def bar_length(width: float) -> float:
    """Choose a round length, 1, 2 or 5 times a power of ten, of about a fifth of a width."""
    wanted = width / 5
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(max(s * power for s in (1, 2, 5) if s * power <= wanted * 1.0001))


def _add_scale_bar(picture: PIL.Image.Image, pixel_size: float) -> None:
    """Draw a white bar with its length in the lower right corner."""
    length = bar_length(picture.width * pixel_size)
    n = length / pixel_size
    unit = _unit(picture)
    right, bottom = picture.width - 2 * unit, picture.height - 2 * unit
    pen = PIL.ImageDraw.Draw(picture)
    pen.rectangle((right - n, bottom - unit // 2, right, bottom), fill=_WHITE)
    _write(picture, (right - n / 2, bottom - unit), f"{length:g} µm", "ms")


def _unit(picture: PIL.Image.Image) -> int:
    """Return half of the height of letters, px."""
    return max(8, picture.height // 60)


def _write(
    picture: PIL.Image.Image, at: tuple[float, float], text: str, anchor: str
) -> None:
    """Write white letters with a black rim, which can be read on any ground."""
    font = PIL.ImageFont.load_default(2 * _unit(picture))
    PIL.ImageDraw.Draw(picture).text(
        at, text, _WHITE, font, anchor, stroke_width=2, stroke_fill=(0, 0, 0)
    )


def percentiles(planes: Sequence[NDArray[Any]]) -> tuple[float, float] | None:
    """Return the 0.5th and the 99.8th percentile of planes together.

    Parameters
    ----------
    planes : sequence of ndarray, shape (height, width)
        Of any real type; of large ones some rows count, and finite pixels only.

    Returns
    -------
    tuple of float, or None
        Low and high, in counts; None if no pixel is finite.
    """
    samples = [_sample(plane) for plane in planes]
    values = np.concatenate([*samples, np.empty(0)])
    if values.size == 0:
        return None
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high if high > low else values.max())


def _sample(plane: NDArray[Any]) -> NDArray[np.float64]:
    """Take finite pixels of some rows."""
    sample = plane[:: max(1, plane.size >> 22)].astype(np.float64)
    return sample[np.isfinite(sample)]


def write_overlay(
    plane: NDArray[Any],
    points: ArrayLike,
    path: Path,
    *,
    contrast: tuple[float, float] | None = None,
    pixel_size: float | None = None,
) -> None:
    """Draw and count spots, and write the picture as PNG, whole or not at all.

    See `draw_overlay`.
    """
    picture = draw_overlay(
        plane, points, contrast=contrast, pixel_size=pixel_size, count=True
    )
    with atomic_write(path) as temporary:
        picture.save(temporary, "PNG")


def write_sheet(
    samples: Sequence[tuple[NDArray[Any], ArrayLike, str]], path: Path
) -> None:
    """Write a contact sheet of planes with their spots circled, each with its name.

    Parameters
    ----------
    samples : sequence of (ndarray, array-like, str)
        Plane, points (n, 2) as y, x in px, name.
    path : Path
        PNG.
    """
    side, text = 400, 16
    n_cols = max(1, int(np.ceil(np.sqrt(len(samples)))))
    n_rows = -(-len(samples) // n_cols)
    size = (n_cols * (side + 4), n_rows * (side + text + 4))
    sheet = PIL.Image.new("RGB", size, (30, 30, 30))
    pen = PIL.ImageDraw.Draw(sheet)
    for i, (plane, points, name) in enumerate(samples):
        picture = draw_overlay(plane, points)
        picture.thumbnail((side, side))
        left, top = i % n_cols * (side + 4), i // n_cols * (side + text + 4)
        sheet.paste(picture, (left, top + text))
        pen.text((left + 2, top + 2), name[-60:], fill=(220, 220, 220))
    with atomic_write(path) as temporary:
        sheet.save(temporary, "PNG")


def _reduced(
    plane: NDArray[Any], contrast: tuple[float, float] | None, step: int
) -> PIL.Image.Image:
    """Turn pixels into grey values, means of step x step px, some rows at a time."""
    height, width = plane.shape
    size = (-(-width // step), -(-height // step))
    picture = PIL.Image.new("L", size)
    if contrast is None:
        return picture
    n_rows = step * max(1, _AT_A_TIME // width // step)
    for top in range(0, height, n_rows):
        grey = _stretched(np.asarray(plane[top : top + n_rows]), contrast)
        picture.paste(PIL.Image.fromarray(grey).reduce(step), (0, top // step))
    return picture


def _stretched(
    pixels: NDArray[Any], contrast: tuple[float, float]
) -> NDArray[np.uint8]:
    low, high = contrast
    width = max(high - low, abs(low) * 1e-6, 1e-12)
    known = np.clip(np.nan_to_num(pixels.astype(np.float64), nan=low), low, high)
    grey = np.rint(np.clip((known - low) / width, 0.0, 1.0) * 255)
    return grey.astype(np.uint8)
