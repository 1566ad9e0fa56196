"""Files in and out: one module a format, chosen by content (in) or suffix (out)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from blinkcore.io import picture, tables, tiff

if TYPE_CHECKING:
    import os

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from blinkcore.image import Image, PixelSize

IMAGE_SUFFIXES = (*tiff.SUFFIXES, *picture.SUFFIXES)


def read_image(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    rgb: bool = False,
) -> Image:
    """Read a TIFF (plain, ImageJ, OME), PNG or JPEG file, whatever it is called.

    Parameters
    ----------
    path : str or path
        The file. A TIFF is read plane by plane, when a plane is asked for.
    axes : str, optional
        One letter a dimension out of `TCZYX`, in the file's order, instead of what its
        metadata say.
    pixel_size : PixelSize, optional
        In µm, instead of what the metadata say.
    rgb : bool
        Take red, green and blue as channels instead of refusing a colour picture.

    Returns
    -------
    Image

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is none of these formats or damaged, if its axes are not clear, or if it is
        a colour picture; the message says what to do.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise ValueError(f"{path} is not a file")
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise ValueError(f"{path} is empty")
    if tiff.recognizes(head):
        return tiff.read(path, axes=axes, pixel_size=pixel_size, rgb=rgb)
    if picture.recognizes(head):
        return picture.read(path, axes=axes, pixel_size=pixel_size, rgb=rgb)
    raise ValueError(f"{path} is not a TIFF, PNG or JPEG file, whatever its name says")


def write_spots(spots: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a spots table, whole or not at all.

    Parameters
    ----------
    spots : DataFrame
        The table.
    path : str or path
        Its suffix chooses the format: `.csv` or `.parquet`.

    Raises
    ------
    ValueError
        If the suffix is none of these.
    ImportError
        If `.parquet` is asked for and pyarrow is not installed.
    """
    tables.write(spots, Path(path))


def write_image(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], path: str | os.PathLike[str]
) -> None:
    """Write a grey picture (height, width) as TIFF, whole or not at all."""
    tiff.write(pixels, Path(path))
