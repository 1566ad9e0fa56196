"""The images of a TIFF: which are in a file, and over which files one is spread."""

from __future__ import annotations

import logging
import re
import struct
import sys
from pathlib import Path

import tifffile
from defusedxml.ElementTree import fromstring

from blinkcore.files import check_regular
from blinkcore.io.tiff_calibration import MetadataError

logger = logging.getLogger(__name__)

_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def recognizes(head: bytes) -> bool:
    """Tell by a file's first bytes whether it is a TIFF."""
    return head.startswith(_MAGIC)


def files_of_set(path: Path, scene: int | None = None) -> list[str]:
    """List the files over which an OME-TIFF spreads an image; none for other files.

    Parameters
    ----------
    path : Path
        One of them.
    scene : int, optional
        The image, of several of which this file holds a part.

    Returns
    -------
    list of str
        `FILE`, or `FILE#N` where a file holds parts of several images.
    """
    if not path.is_file():  # a pipe would keep us waiting
        return []
    try:
        with path.open("rb") as file:
            if not recognizes(file.read(4)):
                return []
        with tifffile.TiffFile(path) as tif:
            # A cheap check first: most files are not OME-TIFF of several files.
            if not tif.is_ome or "FileName" not in (tif.ome_metadata or ""):
                return []
            series = own_series(path, tif, scene)
            names = []
            for name in sorted(files_of(series)):
                own = series_in(tif, name)
                number = [s is series for s in own].index(True)
                names.append(f"{name}#{number}" if len(own) > 1 else name)
            return names
    except Exception:  # noqa: BLE001 (reading it will say what is wrong)
        return []


def files_of(series: tifffile.TiffPageSeries) -> set[str]:
    """List the paths of the files that hold a series; tifffile may list a first page only."""
    return {p.parent.filehandle.path for p in series.pages if p is not None}


def _check_directories(file: tifffile.TiffFile) -> None:
    """Raise ValueError if a page's directory names an earlier one as the next.

    tifffile would go round for ever.
    """
    tiff, handle = file.tiff, file.filehandle
    seen: set[int] = set()
    try:
        offset = file.pages.first.offset
    except IndexError:  # there is none
        return
    while offset:
        if offset in seen:
            raise ValueError("one of its pages names an earlier page as the next one")
        seen.add(offset)
        handle.seek(offset)
        try:
            (n_tags,) = struct.unpack(tiff.tagnoformat, handle.read(tiff.tagnosize))
            handle.seek(offset + tiff.tagnosize + n_tags * tiff.tagsize)
            content = handle.read(tiff.offsetsize)
            (offset,) = struct.unpack(tiff.offsetformat, content)
        except struct.error:  # cut off: what is there is read
            return


_ELSEWHERE = re.compile(r"[/\\\0:]" if sys.platform == "win32" else r"[/\\\0]")


def _check_set(file: tifffile.TiffFile) -> None:
    """Raise ValueError if an OME-TIFF names files that are not plain files beside it.

    tifffile would read any file of the user's, or wait for a pipe.
    """
    text = file.ome_metadata if file.is_ome else None
    if not text or "FileName" not in text:
        return
    root = fromstring(text)
    folder = Path(file.filehandle.path).parent
    for element in root.iter():
        name = element.get("FileName")
        if name is None or element.tag.rpartition("}")[2] != "UUID":
            continue
        if element.text == root.get("UUID"):  # its own name may be an old one
            continue
        if name in ("", ".", "..") or _ELSEWHERE.search(name):
            raise MetadataError(
                "its OME metadata refer to a file that is not in its folder"
            )
        check_regular(folder / name)


def series_in(file: tifffile.TiffFile, path: str) -> list[tifffile.TiffPageSeries]:
    """Find the images of which a file of the set holds a part.

    Colour pictures beside grey images are previews and labels of slides.
    """
    _check_directories(file)
    _check_set(file)
    own = [s for s in file.series if path in files_of(s)]
    return [s for s in own if "S" not in s.axes] or own


def own_series(
    path: Path, file: tifffile.TiffFile, scene: int | None
) -> tifffile.TiffPageSeries:
    """Find an image of which this file holds a part; the first without a number.

    Raises
    ------
    ValueError
        If there is no such image, or files that hold some of its planes are missing.
    """
    own = series_in(file, file.filehandle.path)
    if not own:
        raise ValueError("it has no image in it")
    if scene is not None and scene >= len(own):
        raise MetadataError(f"it has no image {scene}, only {len(own)} from 0 on")
    series = own[scene or 0]
    missing = sum(page is None for page in series.pages)
    if missing:
        raise MetadataError(
            f"{missing} of its {len(series.pages)} planes lie in files that are not "
            f"beside {path.name}"
        )
    if scene is None and len(own) > 1:
        logger.warning(
            "%s holds %d images; only the first is used, the others are %s#1 and so on",
            path, len(own), path.name,
        )  # fmt: skip
    return series
