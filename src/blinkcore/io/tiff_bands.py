"""Bands of rows of a compressed TIFF page that is too large to be decoded at once."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from blinkcore.large_plane import LARGE, MIN_BAND, LargePlane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    import tifffile
    from numpy.typing import NDArray

_JPEG = frozenset({6, 7, 33007, 34892})


def large_page(
    page: Any,
    path: Path,
    readable: Callable[[Path], AbstractContextManager[None]],
) -> LargePlane | None:
    """Wrap a page as a plane whose bands are decoded on demand.

    Parameters
    ----------
    page : TiffPage or TiffFrame
        To read.
    path : Path
        Of its file, for messages.
    readable : callable
        Given the path, a context that turns what damaged files raise into a sentence.

    Returns
    -------
    LargePlane or None
        None for a page that is small, or has more than one sample per pixel.
    """
    key = page.keyframe
    if page.size <= LARGE or key.samplesperpixel != 1 or key.imagedepth != 1:
        return None
    rows = key.tilelength if key.is_tiled else key.rowsperstrip
    band = rows * -(-MIN_BAND // rows)  # strips may have a single row
    read = partial(_rows, page, rows, path, readable)
    shape = (key.imagelength, key.imagewidth)
    return LargePlane(shape, np.dtype(key.dtype), read, band, str(path))


def _rows(
    page: Any,
    rows: int,
    path: Path,
    readable: Callable[[Path], AbstractContextManager[None]],
    first: int,
    last: int,
) -> NDArray[Any]:
    """Decode rows `first` to `last` - 1, which begin and end at borders of segments."""
    key = page.keyframe
    result = np.zeros((last - first, key.imagewidth), key.dtype)
    across = -(-key.imagewidth // key.tilewidth) if key.is_tiled else 1
    numbers = range(first // rows * across, -(-last // rows) * across)
    how: dict[str, Any] = {}
    if key.compression in _JPEG:
        how = {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader}
    file = page.parent.filehandle
    with readable(path), opened(file):
        for number in numbers:
            n_bytes = page.databytecounts[number]
            if n_bytes == 0:
                continue  # an empty tile is 0
            file.seek(page.dataoffsets[number])
            pixels, place, shape = key.decode(file.read(n_bytes), number, **how)
            top, left = place[2] - first, place[3]
            part = result[top : top + shape[1], left : left + shape[2]]
            if pixels is not None:  # tiles at the edges are larger than what is left
                part[:] = pixels[0, : part.shape[0], : part.shape[1], 0]
    return result


@contextmanager
def opened(handle: tifffile.FileHandle) -> Iterator[None]:
    """Open a file of a set for a moment; tifffile leaves all but the first closed."""
    was_closed = handle.closed
    if was_closed:
        handle.open()
    try:
        yield
    finally:
        if was_closed:
            handle.close()
