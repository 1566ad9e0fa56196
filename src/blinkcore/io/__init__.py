"""Read and write files: images are recognized by content, spots by suffix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from blinkcore import limits
from blinkcore.io import (
    geojson,
    imagej,
    isbi,
    microscopes,
    ome_zarr,
    picture,
    spatialdata_points,
    tables,
    tiff,
    tiff_series,
    trackmate,
)
from blinkcore.io.provenance import description_of as description_of
from blinkcore.io.provenance import read_sidecar as read_sidecar
from blinkcore.io.scenes import file_and_scene
from blinkcore.io.suffixes import PLACE, WRITERS, format_of
from blinkcore.spots import check_spots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from blinkcore.image import Image, PixelSize

_IMAGE_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[..., Image]], ...] = (
    (tiff_series.recognizes, tiff.read),
    (picture.recognizes, picture.read),
)
IMAGE_SUFFIXES = (*tiff.SUFFIXES, *picture.SUFFIXES, *microscopes.SUFFIXES)


def read_image(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    rgb: bool = False,
    truncated: bool = False,
    level: int = 0,
) -> Image:
    """Read a TIFF (plain, ImageJ, OME), PNG, JPEG, OME-Zarr, ND2, CZI or LIF.

    Parameters
    ----------
    path : str or path
        The file; for OME-Zarr the folder, or a URL; `FILE#N` for image N (from 0) of a
        file that holds several. TIFF and OME-Zarr are read plane by plane, on demand.
    axes : str, optional
        One letter of `TCZYX` (or small ones) per dimension, in the file's order, instead
        of what its metadata say.
    pixel_size : PixelSize, optional
        In µm, instead of what the metadata say.
    rgb : bool
        Take red, green and blue as channels instead of refusing a colour picture.
    truncated : bool
        Read what is left of a TIFF or JPEG file that was cut off, with 0 or grey for
        the rest, instead of refusing it.
    level : int
        Resolution level of OME-Zarr, from 0, the finest. Positions are in its pixels.

    Returns
    -------
    Image

    Raises
    ------
    OSError, ImportError
        If the file cannot be opened, or the library for it is not installed.
    ValueError
        If it is none of these formats or damaged, if its axes are not clear, or if it is
        a colour picture; the message says what to do.
    """
    axes = axes.upper() if axes else None
    source = os.fspath(path) if ome_zarr.is_url(path) else Path(path)
    if isinstance(source, str) or (source.is_dir() and ome_zarr.recognizes(source)):
        return ome_zarr.read(source, axes=axes, pixel_size=pixel_size, level=level)
    path, scene = file_and_scene(source)
    head = _head(path)
    if level:
        raise ValueError(f"{path} has one resolution; levels are those of OME-Zarr")
    if microscopes.recognizes(path):
        return microscopes.read(path, axes=axes, pixel_size=pixel_size, scene=scene)
    for recognizes, read in _IMAGE_FORMATS:
        if recognizes(head):
            return read(
                path, axes=axes, pixel_size=pixel_size, rgb=rgb, truncated=truncated,
                scene=scene,
            )  # fmt: skip
    raise ValueError(f"{path} is not a TIFF, PNG or JPEG file, whatever its name says")


def n_scenes(path: Path) -> int:
    """Count the images of a microscope's file or an OME-TIFF; 1 for any other file.

    Raises
    ------
    OSError, ImportError, ValueError
        See `read_image`.
    """
    if microscopes.recognizes(path):
        return microscopes.n_scenes(path)
    return tiff.n_scenes(path) if tiff_series.recognizes(_head(path)) else 1


def _head(path: Path) -> bytes:
    """Read the first bytes of a file."""
    if path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise ValueError(f"{path} is not a file")
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise ValueError(f"{path} is empty")
    return head


def read_labels(
    path: str | os.PathLike[str],
    *,
    unit: str = "auto",
    pixel_size: PixelSize | None = None,
    sizes: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Read spots that any program wrote: labels, or detections of another method.

    blinkcore's CSV, Parquet and JSON; Fiji's Results table, ImageJ's `.roi` and `.zip`;
    TrackMate's tables and XML; points of SpatialData; the XML of the ISBI challenge; CSV of napari, U-FISH,
    Spotiflow, RS-FISH; GeoJSON of QuPath.

    Parameters
    ----------
    path : str or path
        The file.
    unit : {"auto", "px", "um"}
        Of the positions. "auto": what the file says, and px if it does not.
    pixel_size : PixelSize, optional
        In µm, for positions in µm.
    sizes : mapping, optional
        Length of each axis `C`, `Z`, `T` of the image, for selections in a stack.

    Returns
    -------
    DataFrame
        A spots table in px.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is none of these, or in µm and the size of a pixel is not known.
    """
    path = Path(path)
    kinds = {".xml": limits.XML, **dict.fromkeys(imagej.SUFFIXES, limits.SELECTIONS)}
    limits.check_file(path, kinds.get(path.suffix.lower(), limits.TABLE))
    try:
        spots, stated = _parsed(path, sizes)
    except (OSError, ImportError, MemoryError):
        raise
    except Exception as error:  # damaged files raise anything
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        # The content is not that of a file of this kind.
        raise ValueError(f"{path} cannot be read as spots: {error}") from error
    spots = _in_pixels(spots, stated if unit == "auto" else unit, pixel_size, path)
    return check_spots(spots, source=str(path))


def _parsed(path: Path, sizes: Mapping[str, int] | None) -> tuple[pd.DataFrame, str]:
    """Read spots and the unit that the file states."""
    suffix = path.suffix.lower()
    if path.name.lower().endswith(spatialdata_points.SUFFIX):
        return spatialdata_points.read(path), "px"
    if suffix in imagej.SUFFIXES:
        return imagej.read(path, sizes), "px"
    if suffix == ".xml":
        return _from_xml(path), "px"
    if suffix in (".json", ".geojson"):
        content = tables.parse_json(path)
        if geojson.recognizes(content):
            return geojson.from_json(content), "px"
        return tables.from_json(content, path), "px"
    if suffix == ".parquet":
        return tables.read(path), "px"
    return tables.read_foreign(path)


def one_image(spots: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table of one image; raise ValueError if it is of several."""
    n = spots["image"].nunique() if "image" in spots.columns else 1
    if n > 1:
        raise ValueError(
            f"{path} holds the spots of {n} images; make a table of each, by giving "
            "'blinkcore predict' a folder as --output"
        )
    return spots


def _from_xml(path: Path) -> pd.DataFrame:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, parse

    try:
        root = parse(path).getroot()
    except (ParseError, DefusedXmlException) as error:
        raise ValueError(f"{path} is not valid XML: {error}") from error
    if root is not None and trackmate.recognizes(root):
        return trackmate.from_xml(root, path)
    if root is not None and isbi.recognizes(root):
        return isbi.from_xml(root)
    raise ValueError(
        f"{path} is XML, but neither of TrackMate nor of the ISBI challenge"
    )


def _in_pixels(
    spots: pd.DataFrame, unit: str, pixel_size: PixelSize | None, path: Path
) -> pd.DataFrame:
    if unit not in ("um", "px", ""):
        raise ValueError(f"unit must be auto, px or um, got {unit!r}")
    if unit != "um":
        return spots
    if pixel_size is None:
        raise ValueError(
            f"{path} holds positions in µm, and the size of a pixel is not known; give it "
            "(--pixel-size, in Python pixel_size=)"
        )
    scaled: pd.DataFrame = spots.copy()
    for name, size in pixel_size._asdict().items():
        if name in spots.columns and size is None:
            raise ValueError(
                f"{path} holds {name} in µm, and the distance of planes is not known; "
                "give the size of a pixel as z,y,x"
            )
        if name in spots.columns:
            scaled[name] = spots[name] / size
    return scaled


def write_spots(
    spots: pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    image: str | os.PathLike[str] | None = None,
    sizes: Mapping[str, int] | None = None,
    pixel_size: PixelSize | None = None,
    interval: float | None = None,
    suffix: str | None = None,
) -> list[str]:
    """Write a spots table, whole or not at all.

    Parameters
    ----------
    spots : DataFrame
        The table; for all but `.csv`, `.parquet` and `.json` that of one image.
    path : str or path
        Its suffix chooses the format, see `WRITERS`: `.xml` is TrackMate's.
    image : str or path, optional
        The image that a TrackMate session links to.
    sizes : mapping, optional
        Length of each axis of the image, for `.roi`, `.zip` and `.xml`.
    pixel_size, interval : optional
        In µm, and in s between frames, for `.xml` and `.spots.zarr`.
    suffix : str, optional
        Format to write, whatever the path ends in: an image may be called `a.napari`.

    Returns
    -------
    list of str
        Columns that the format cannot hold.

    Raises
    ------
    ValueError
        If the suffix is none of these.
    ImportError
        If `.parquet` is asked for and pyarrow is not installed.
    """
    path = Path(path)
    kind = suffix or format_of(path)
    if kind not in WRITERS:
        known = ", ".join(WRITERS)
        raise ValueError(f"spots are written as {known}; got {path.name!r}")
    if WRITERS[kind] is not None:
        one_image(spots, path)
    if kind == ".xml":
        linked = None if image is None else Path(image)
        trackmate.write_xml(
            spots, path, image=linked, sizes=sizes, pixel_size=pixel_size,
            interval=interval,
        )  # fmt: skip
    elif kind == spatialdata_points.SUFFIX:
        spatialdata_points.write(spots, path, pixel_size)
    elif kind in imagej.SUFFIXES:
        imagej.write(spots, path, sizes)
    else:
        _SIMPLE.get(kind, tables.write)(spots, path)
    return _lost(spots, kind)


_SIMPLE: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".napari.csv": tables.write_napari,
    ".isbi.xml": isbi.write_xml,
    ".json": tables.write_json,
    ".geojson": geojson.write,
}


def _lost(spots: pd.DataFrame, kind: str) -> list[str]:
    """List the columns with information that a format cannot hold."""
    held = WRITERS[kind]
    extra = set() if held is None else set(spots.columns) - held - {"image"}
    # Positions in µm follow from those in px, and an axis that is all 0 says nothing.
    lost = [n for n in spots.columns if n in extra and not n.endswith("_um")]
    whole_planes = (*imagej.SUFFIXES, ".geojson")
    if kind in whole_planes and "z" in spots and (spots["z"] % 1 != 0).any():
        lost.append("z between planes")
    return [n for n in lost if n not in PLACE or (spots[n] != 0).any()]


def write_image(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], path: str | os.PathLike[str]
) -> None:
    """Write a grey picture (height, width) as TIFF, whole or not at all."""
    tiff.write(pixels, Path(path))
