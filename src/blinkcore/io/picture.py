"""PNG and JPEG. An integer coordinate is the centre of a pixel, as everywhere."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import PIL.Image

from blinkcore import limits
from blinkcore.image import to_canonical_axes
from blinkcore.io.color import from_samples
from blinkcore.io.tiff_cut_off import CUT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from blinkcore.image import Image, PixelSize

SUFFIXES = (".png", ".jpg", ".jpeg")
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_SCAN, _END = b"\xff\xda", b"\xff\xd9"  # JPEG markers; pixel data cannot hold them


def recognizes(head: bytes) -> bool:
    """Tell by a file's first bytes whether it is a PNG or JPEG."""
    return head.startswith((_PNG, _JPEG))


def read(
    path: Path,
    *,
    axes: str | None,
    pixel_size: PixelSize | None,
    rgb: bool,
    truncated: bool = False,
    scene: int | None = None,
) -> Image:
    """Read a picture; parameters and errors as of `blinkcore.io.read_image`."""
    if scene:
        raise ValueError(f"{path} has no image {scene}, only 1 from 0 on")
    content = path.read_bytes()
    decode = (
        imagecodecs.png_decode if content.startswith(_PNG) else imagecodecs.jpeg8_decode
    )
    # Decoders fill up what is missing with grey.
    is_cut = content.startswith(_JPEG) and content.rfind(_END) < content.rfind(_SCAN)
    if is_cut and not truncated:
        raise ValueError(f"{path} is damaged: it is cut off {CUT}")
    try:
        limits.check_memory(_decoded_size(content), str(path))
        pixels: NDArray[Any] = decode(content)
    except MemoryError:
        raise
    except Exception as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is damaged: {error}") from error
    if axes == "YXC":
        image = to_canonical_axes(np.atleast_3d(pixels), axes, pixel_size)
        return replace(image, is_cut=is_cut)
    if axes not in (None, "YX"):
        raise ValueError(f"{path} is a picture with axes YX or YXC, got {axes!r}")
    image = from_samples(path, pixels, pixel_size=pixel_size, rgb=rgb)
    return replace(image, is_cut=is_cut)


def _decoded_size(content: bytes) -> int:
    """Count the bytes of the pixels, from the head of the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        largest, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            with PIL.Image.open(io.BytesIO(content)) as picture:
                width, height = picture.size
                n_bytes = 2 if picture.mode.startswith("I") else 1
                return int(width * height * n_bytes * len(picture.getbands()))
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = largest
