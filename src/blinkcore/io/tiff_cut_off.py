"""Detect TIFF files that were cut off, and read what is left of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from blinkcore import limits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_JPEG = frozenset({6, 7, 33007, 34892, 34896})  # numbers of TIFF's compressions
_JPEG_END = b"\xff\xd9"
CUT = "(--allow-truncated, in Python truncated=True, takes what is there)"


def filled(
    path: Path, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Read the pixels that a cut-off file still holds, of a given shape; the others are 0."""
    limits.check_memory(math.prod(shape) * dtype.itemsize, str(path))
    pixels = np.zeros(math.prod(shape), dtype)
    n_bytes = max(0, path.stat().st_size - offset)
    found = np.fromfile(path, dtype, n_bytes // dtype.itemsize, offset=offset)
    pixels[: found.size] = found
    return pixels.reshape(shape)


def check_complete(page: Any) -> None:
    """Raise ValueError if a compressed part of a plane is cut off.

    JPEG decoders fill missing parts with grey, without an error.
    """
    if page is None or page.compression == 1:
        return
    file, size = page.parent.filehandle, page.parent.filehandle.size
    for offset, n in zip(page.dataoffsets, page.databytecounts, strict=True):
        if offset + n > size:
            raise ValueError(f"it ends after {size} of {offset + n} bytes {CUT}")
        if page.compression in _JPEG and n:
            file.seek(offset + max(0, n - 64))
            if _JPEG_END not in file.read(min(n, 64)):
                raise ValueError(f"a JPEG in it is cut off {CUT}")
