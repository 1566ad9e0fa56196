"""OME-Zarr (NGFF 0.4 and 0.5; Zarr 2 and 3), in a folder or at a URL, read chunk by chunk.

The attributes are read as the specification has them (https://ngff.openmicroscopy.org), with
the library `zarr` alone. A plate, and a folder of several series as bioformats2raw makes it,
is a collection of images, see `images_in`.
"""

from __future__ import annotations

import math
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from blinkcore import limits
from blinkcore.files import error_sentence, missing
from blinkcore.image import (
    AxesError,
    Image,
    LazyPlanes,
    PixelSize,
    canonical_axes,
    check_axes,
)
from blinkcore.io.units import micrometers, positive, seconds
from blinkcore.large_plane import LARGE, MIN_BAND, LargePlane

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIX = ".zarr"
_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_DEFAULT_AXES = {2: "YX", 5: "TCZYX"}  # of versions before 0.3, and of plain arrays


def is_url(name: str | os.PathLike[str]) -> bool:
    """Return whether a name is a URL, such as s3://bucket/image.zarr."""
    return isinstance(name, str) and "://" in name


def recognizes(path: Path) -> bool:
    """Return whether a folder is a Zarr group or array."""
    return any((path / mark).is_file() for mark in _MARKS)


def images_in(source: Path | str) -> list[str]:
    """List the images of a folder or URL.

    Parameters
    ----------
    source : Path or str
        Of an image, a plate, a well, or a collection of series.

    Returns
    -------
    list of str
        Their paths in it, such as ``A/1/0``; one empty string if it is an image itself.

    Raises
    ------
    OSError, ValueError, ImportError
        If it is not there, holds no image, or the library `zarr` is missing.
    """
    node = _opened(source)
    ome = _ome(node)
    if not hasattr(node, "groups") or "multiscales" in ome:
        return [""]
    try:
        found = _collected(node, ome)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{source}: its OME metadata are damaged: {error}") from error
    if not found:
        raise ValueError(f"{source} is Zarr, but no OME-Zarr image or plate")
    for place in found:  # results are named after it
        if not all(
            re.fullmatch(r"[^/\\:]*[^/\\:.][^/\\:]*", p) for p in place.split("/")
        ):
            raise ValueError(f"{source}: its OME metadata name a wrong path {place!r}")
    return found


def _collected(node: Any, ome: Mapping[str, Any]) -> list[str]:
    """List the images of a plate, a well or a collection of series."""
    if "plate" in ome:
        wells = [str(well["path"]) for well in ome["plate"]["wells"]]
        # A well that is missing, as in a plate that is still copied, fails alone.
        fields = {w: _fields(_ome(node[w])) if w in node else [""] for w in wells}
        return [f"{w}/{i}".rstrip("/") for w in wells for i in fields[w]]
    if "well" in ome:
        return _fields(ome)
    return _series(node) if "bioformats2raw.layout" in ome else []


def read(
    source: Path | str,
    *,
    axes: str | None,
    pixel_size: PixelSize | None,
    level: int = 0,
) -> Image:
    """Read an OME-Zarr image or a plain Zarr array.

    Parameters
    ----------
    source : Path or str
        Folder or URL of the image.
    axes, pixel_size
        See `blinkcore.io.read_image`.
    level : int
        Level of the resolution pyramid, from 0, the finest.

    Returns
    -------
    Image
        Its chunks are read when they are asked for.

    Raises
    ------
    OSError, ValueError, ImportError
        If it is not there, is no image, has no such level, or the library is missing.
    """
    node = _opened(source)
    ome = _ome(node)
    array, names = node, None
    scale: dict[str, float] = {}
    try:
        if hasattr(node, "groups"):
            array, names, scale = _level(source, node, ome, level)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{source}: its OME metadata are damaged: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(node, "groups") and level:
        raise ValueError(f"{source} has no level {level}: it has one resolution")
    letters = axes or names or _DEFAULT_AXES.get(array.ndim)
    if letters is None:
        raise AxesError(
            f"{source} has shape {array.shape} and does not say what each dimension is; "
            "name them, for example with --axes TYX (in Python axes='TYX')"
        )
    check_axes(letters, array.shape)
    _check_chunks(source, array)
    if not letters.endswith("YX"):
        raise ValueError(
            f"{source} has axes {letters}; only those that end in YX are read"
        )
    size = pixel_size or _pixel_size(scale)
    n_planes = math.prod(array.shape[:-2])
    limits.check(n_planes, limits.PLANES, f"{source} has {{}} planes")
    data = _Planes(source, array, letters)
    return Image(data, canonical_axes(letters), size, scale.get("T"))


def _check_chunks(source: Path | str, array: Any) -> None:
    """Raise ValueError if its pixels are no numbers, or its chunks too large or too many."""
    dtype = np.dtype(array.dtype)
    how = array.metadata
    codecs = [*(getattr(how, "filters", ()) or ()), getattr(how, "compressor", None)]
    if any(getattr(codec, "codec_id", "") == "pickle" for codec in codecs):
        raise ValueError(f"{source} is pickled, which can run code; it is not read")
    if dtype.kind not in "biuf":
        raise ValueError(f"{source} holds {dtype}, no numbers")
    n_bytes = math.prod(array.chunks) * dtype.itemsize  # of a shard, parts are read
    limits.check_memory(n_bytes, f"a chunk of {source}")
    sides = zip(array.shape[-2:], array.chunks[-2:], strict=True)
    n_chunks = math.prod(-(-side // part) for side, part in sides)
    limits.check(n_chunks, limits.CHUNKS, f"{source} has {{}} chunks in a plane")


def zarr_library(name: str, extra: str = "zarr") -> Any:
    """Import zarr for a file; ImportError if it is not installed, or too old."""
    try:
        import zarr
    except ImportError as error:
        if sys.version_info < (3, 11):  # the extra is empty there
            raise ImportError(
                f"{name} is Zarr, which needs Python 3.11 or newer"
            ) from None
        raise missing(f"{name}, which is Zarr,", "zarr", extra) from error
    # Older ones can run code that is pickled in a file.
    if int(zarr.__version__.partition(".")[0]) < 3:
        raise ImportError(f"{name} needs zarr 3 (Python 3.11 or later)")
    return zarr


def _opened(source: Path | str) -> Any:
    """Open a group or an array to read."""
    zarr = zarr_library(str(source))
    try:
        return zarr.open(os.fspath(source), mode="r")
    except ImportError as error:  # of the file system of a URL
        raise ImportError(f"{source}: {error}") from error
    except OSError as error:
        if "://" in str(source) and isinstance(error, FileNotFoundError):
            raise OSError(
                f"there is no OME-Zarr at {source} (at a URL nothing else is read)"
            ) from error
        if not str(error):
            raise
        raise OSError(f"{source} cannot be opened: {error}") from error
    except Exception as error:  # damaged metadata, or what a server answers
        if type(error).__name__ == "NoCredentialsError":  # of S3
            raise PermissionError(
                f"{source}: there are no credentials for it; if it is public, set "
                """FSSPEC_S3='{"anon": true}' in the environment"""
            ) from error
        if "://" in str(source) and not isinstance(error, ValueError):
            raise OSError(
                f"{source} cannot be opened: {type(error).__name__}: {error}"
            ) from error
        raise ValueError(
            f"{source} is damaged or not Zarr: {type(error).__name__}: {error}"
        ) from error


def _ome(node: Any) -> Mapping[str, Any]:
    """Return the OME attributes, which version 0.5 puts under a name of their own."""
    attributes = dict(node.attrs)
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _fields(well: Mapping[str, Any]) -> list[str]:
    return [str(image["path"]) for image in well["well"]["images"]]


def _series(node: Any) -> list[str]:
    """List the numbered images of a collection, and those in its group `OME`."""
    if "OME" in node:
        named = _ome(node["OME"]).get("series")
        if named:
            return [str(name) for name in named]
    names = [name for name, _ in node.groups() if name.isdigit()]
    return sorted(names, key=int)


def _level(
    source: Path | str, node: Any, ome: Mapping[str, Any], level: int
) -> tuple[Any, str | None, dict[str, float]]:
    """Find the array of a resolution, its axes, and the size of a step along each."""
    if "multiscales" not in ome:
        inside = images_in(source)[:1]
        raise ValueError(
            f"{source} is a collection of images; give one of them, such as "
            f"{os.fspath(source)}/{inside[0]}"
        )
    described = ome["multiscales"][0]
    datasets = described["datasets"]
    if not 0 <= level < len(datasets):
        raise ValueError(
            f"{source} has levels 0 to {len(datasets) - 1}, got level {level}"
        )
    array = node[datasets[level]["path"]]
    entries = described.get("axes")
    if entries is None:
        return array, _DEFAULT_AXES.get(array.ndim), {}
    entries = [{"name": e} if isinstance(e, str) else e for e in entries]
    letters = "".join(str(entry["name"]).upper() for entry in entries)
    steps = np.ones(len(letters))
    for transformed in (datasets[level], described):
        for transformation in transformed.get("coordinateTransformations", ()):
            if transformation.get("type") == "scale":
                steps = steps * np.asarray(transformation["scale"], float)
    scale = {}
    for entry, letter, step in zip(entries, letters, steps.tolist(), strict=True):
        unit = str(entry.get("unit", ""))
        length = seconds(unit) if letter == "T" else micrometers(unit)
        found = positive(step * length) if length is not None else None
        if found is not None:
            scale[letter] = found
    return array, letters, scale


def _pixel_size(scale: Mapping[str, float]) -> PixelSize | None:
    if not {"Y", "X"} <= scale.keys():
        return None
    return PixelSize(scale.get("Z"), scale["Y"], scale["X"])


class _Planes(LazyPlanes):
    """Planes of a Zarr array that are read when they are asked for."""

    def __init__(self, source: Path | str, array: Any, axes: str) -> None:
        self._source, self._array = source, array
        letters = canonical_axes(axes)
        self._leading = [letters.index(a) for a in axes[:-2]]
        self.shape = tuple(array.shape[axes.index(a)] for a in letters)
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, index: tuple[int, ...]) -> NDArray[Any] | LargePlane:
        at = tuple(index[i] for i in self._leading)
        height, width = self.shape[-2:]

        def rows(first: int, last: int) -> NDArray[Any]:
            return self._read((*at, slice(first, last)))

        if height * width > LARGE:
            shape, chunk = (height, width), self._array.chunks[-2]
            band = chunk * -(-MIN_BAND // chunk)
            return LargePlane(shape, self.dtype, rows, band, str(self._source))
        n_bytes = height * width * self.dtype.itemsize
        limits.check_memory(n_bytes, str(self._source))
        return rows(0, height)

    def _read(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        try:
            return np.asarray(self._array[index])
        except (OSError, MemoryError):
            raise
        except Exception as error:  # decoders raise anything
            raise ValueError(
                f"{self._source}: a chunk is damaged: {error_sentence(error)}"
            ) from error
