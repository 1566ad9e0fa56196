"""Samples of a pixel: grey, grey saved as colour, and colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from blinkcore.image import Image, PixelSize, to_canonical_axes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def from_samples(
    path: Path, pixels: NDArray[Any], *, pixel_size: PixelSize | None, rgb: bool
) -> Image:
    """Make an image from pixels of shape (Y, X) or (Y, X, samples).

    Grey saved as RGB becomes grey, alpha is ignored.

    Raises
    ------
    ValueError
        If it is a colour picture, and `rgb` does not allow that.
    """
    if pixels.ndim == 2:
        return Image(pixels, "YX", pixel_size)
    colors = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., :1]
    if (colors == colors[..., :1]).all():
        return Image(np.ascontiguousarray(colors[..., 0]), "YX", pixel_size)
    if rgb:
        return to_canonical_axes(colors, "YXC", pixel_size)
    raise ValueError(color_refusal(path))


def color_refusal(path: Path) -> str:
    """Explain why a colour picture is refused, and what to do instead."""
    return (
        f"{path} is a colour (RGB) picture, and spots are found in one channel; use "
        "--channel 0, 1 or 2 for red, green or blue, or save the channels as grey images"
    )
