"""Pictures of a plane with its spots circled, fit for a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import PIL.ImageDraw

from blinkcore.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

SUFFIX = ".overlay.png"  # of pictures; such files are never taken for inputs
_COLOR = (255, 196, 0)
_TARGET = 1200  # px, least length of the longer side: small images are magnified
_LARGEST = 4096  # px, longer side: large ones are reduced


def draw_overlay(
    plane: NDArray[Any], points: ArrayLike, *, radius: float = 4.0
) -> PIL.Image.Image:
    """Draw a circle around each spot of a plane.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type. Shown in grey from its 0.5th to its 99.8th percentile.
    points : array-like, shape (n, 2)
        y, x in px.
    radius : float
        Of the circles, in px of the plane.

    Returns
    -------
    PIL.Image.Image
        RGB; small planes are magnified by a whole number, large ones reduced.
    """
    longest = max(plane.shape)
    step = -(-longest // _LARGEST)
    grey = PIL.Image.fromarray(_stretched(plane)).reduce(step)
    zoom = max(1, _TARGET // max(grey.size))
    size = (grey.width * zoom, grey.height * zoom)
    # Circles are drawn at twice the size and reduced: smooth edges. The image is not.
    mask = PIL.Image.new("L", (2 * size[0], 2 * size[1]))
    pen = PIL.ImageDraw.Draw(mask)
    scale = 2 * zoom / step
    r = max(radius * scale, 8.0)
    for y, x in np.asarray(points, float).reshape(-1, 2):
        cy, cx = (y + 0.5) * scale, (x + 0.5) * scale
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), outline=255, width=3)
    picture = grey.resize(size, PIL.Image.Resampling.NEAREST).convert("RGB")
    picture.paste(_COLOR, mask=mask.resize(size, PIL.Image.Resampling.BOX))
    return picture


def write_overlay(plane: NDArray[Any], points: ArrayLike, path: Path) -> None:
    """Draw spots and write the picture as PNG, whole or not at all."""
    picture = draw_overlay(plane, points)
    with whole_file(path) as temporary:
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
    with whole_file(path) as temporary:
        sheet.save(temporary, "PNG")


def _stretched(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """Turn pixels into grey values, row by row: a large plane is not copied as floats."""
    step = max(1, plane.size >> 22)
    sample = plane[::step].astype(np.float64)
    finite = sample[np.isfinite(sample)]
    grey = np.zeros(plane.shape, np.uint8)
    if finite.size == 0:
        return grey
    low, high = np.percentile(finite, [0.5, 99.8])
    if high <= low:
        high = finite.max()
    width = max(high - low, abs(low) * 1e-6, 1e-12)
    for row, pixels in enumerate(plane):
        known = np.clip(np.nan_to_num(pixels.astype(np.float64), nan=low), low, high)
        grey[row] = np.rint(np.clip((known - low) / width, 0.0, 1.0) * 255)
    return grey
