"""PNG and JPEG. An integer coordinate is the centre of a pixel, as everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from blinkcore.image import Image, PixelSize, in_order

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg")
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_SCAN, _END = b"\xff\xda", b"\xff\xd9"  # JPEG markers; pixel data cannot hold them


def recognizes(head: bytes) -> bool:
    """Tell by a file's first bytes whether it is a PNG or JPEG."""
    return head.startswith((_PNG, _JPEG))


def read(
    path: Path, *, axes: str | None, pixel_size: PixelSize | None, rgb: bool
) -> Image:
    """Read a picture; see `blinkcore.io.read_image`."""
    content = path.read_bytes()
    decode = (
        imagecodecs.png_decode if content.startswith(_PNG) else imagecodecs.jpeg8_decode
    )
    if content.startswith(_JPEG) and content.rfind(_END) < content.rfind(_SCAN):
        raise ValueError(f"{path} is damaged: it is cut off")  # decoders fill it up
    try:
        pixels: NDArray[Any] = decode(content)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if axes == "YXC":
        return in_order(np.atleast_3d(pixels), axes, pixel_size)
    if axes not in (None, "YX"):
        raise ValueError(f"{path} is a picture with axes YX or YXC, got {axes!r}")
    return from_samples(path, pixels, pixel_size=pixel_size, rgb=rgb)


def from_samples(
    path: Path, pixels: NDArray[Any], *, pixel_size: PixelSize | None, rgb: bool
) -> Image:
    """Make an image of pixels (Y, X) or (Y, X, samples) where only grey is meant.

    Grey saved as RGB and an alpha channel say nothing; colours are refused.
    """
    if pixels.ndim == 2:
        return Image(pixels, "YX", pixel_size)
    colors = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., :1]
    if (colors == colors[..., :1]).all():
        return Image(np.ascontiguousarray(colors[..., 0]), "YX", pixel_size)
    if rgb:
        return in_order(colors, "YXC", pixel_size)
    raise ValueError(color_refusal(path))


def color_refusal(path: Path) -> str:
    """Say why a colour picture is not taken, and the ways out."""
    return (
        f"{path} is a colour (RGB) picture, and spots are found in one channel; use "
        "--channel 0, 1 or 2 for red, green or blue, or save the channels as grey images"
    )
