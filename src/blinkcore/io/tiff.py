"""TIFF: plain, ImageJ and OME, one file or several, read plane by plane.

Axes and pixel size come from the ImageJ or OME metadata. What these leave open is asked
for, never guessed. An integer coordinate is the centre of a pixel.
"""

from __future__ import annotations

import logging
import math
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from blinkcore.files import whole_file
from blinkcore.image import AXES, Image, PixelSize, check_axes
from blinkcore.io.picture import color_refusal, from_samples, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk")
_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_MICROMETERS = {
    "pm": 1e-6,
    "å": 1e-4,
    "nm": 1e-3,
    "µm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}


def recognizes(head: bytes) -> bool:
    """Tell by a file's first bytes whether it is a TIFF."""
    return head.startswith(_MAGIC)


def read(
    path: Path, *, axes: str | None, pixel_size: PixelSize | None, rgb: bool
) -> Image:
    """Read a TIFF; see `blinkcore.io.read_image`."""
    with _readable(path):
        file = tifffile.TiffFile(path)
    image = None
    try:
        image = _image(path, file, axes, pixel_size, rgb=rgb)
        return image
    finally:
        if image is None or not isinstance(image.data, _Pages):
            file.close()


def write(pixels: NDArray[Any], path: Path) -> None:
    """Write a grey picture; see `blinkcore.io.write_image`."""
    with whole_file(path) as temporary:
        tifffile.imwrite(temporary, pixels, photometric="minisblack")


def files_of_set(path: Path) -> list[str]:
    """Paths of the files that an OME-TIFF says its image is spread over, else none."""
    if not path.is_file():  # a pipe would keep us waiting
        return []
    try:
        with path.open("rb") as file:
            if not recognizes(file.read(4)):
                return []
        with tifffile.TiffFile(path) as tif:
            # Cheap to ask first: most files are no OME-TIFF of several files.
            if not tif.is_ome or "FileName" not in (tif.ome_metadata or ""):
                return []
            pages = tif.series[0].pages
            return sorted({p.parent.filehandle.path for p in pages if p is not None})
    except Exception:  # noqa: BLE001 (reading it will say what is wrong)
        return []


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file raises in tifffile and the codecs into one sentence."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is damaged or not a TIFF file: {reason}") from error


def _first_series(path: Path, file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    if not file.series:
        raise ValueError("it has no image in it")
    series = file.series[0]
    if len(file.series) > 1:
        logger.warning(
            "%s holds %d images of different shapes; the first is used",
            path,
            len(file.series),
        )
    missing = sum(page is None for page in series.pages)
    if missing:
        raise ValueError(
            f"{missing} of its {len(series.pages)} planes lie in files that are not "
            f"beside {path.name}"
        )
    return series


def _image(
    path: Path,
    file: tifffile.TiffFile,
    axes: str | None,
    pixel_size: PixelSize | None,
    *,
    rgb: bool,
) -> Image:
    with _readable(path):
        series = _first_series(path, file)
        size = pixel_size or _pixel_size(file)
    if axes is None and set(series.axes) <= set("YXS") and "S" in series.axes:
        with _readable(path):
            pixels = series.asarray()
        samples_last = np.moveaxis(pixels, series.axes.index("S"), -1)
        return from_samples(path, samples_last, pixel_size=size, rgb=rgb)
    shape, letters = _layout(path, series, axes, rgb=rgb)
    return _lazy(path, file, series, shape, letters, size)


def _layout(
    path: Path, series: tifffile.TiffPageSeries, axes: str | None, *, rgb: bool
) -> tuple[tuple[int, ...], str]:
    """Shape and axes, in the file's order, of what is to be read."""
    if axes is not None:
        for shape in (series.get_shape(squeeze=True), series.get_shape(squeeze=False)):
            if len(shape) == len(axes):
                check_axes(axes, shape)
                return shape, axes
        raise ValueError(
            f"{path}: --axes must have one letter per dimension, got {axes!r} for shape "
            f"{series.shape}"
        )
    kept = [
        (length, letter)
        for length, letter in zip(series.shape, series.axes, strict=True)
        if length > 1 or letter in "YX"
    ]
    shape = tuple(length for length, _ in kept)
    letters = "".join(letter for _, letter in kept)
    if "S" in letters and "C" not in letters:
        if not rgb:
            raise ValueError(color_refusal(path))
        letters = letters.replace("S", "C")
    unknown = [a for a in letters if a not in AXES]
    if unknown or len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters):
        raise ValueError(_ambiguous(path, shape, letters))
    return shape, letters


def _ambiguous(path: Path, shape: tuple[int, ...], letters: str) -> str:
    sizes = " x ".join(map(str, shape))
    n_open = len(shape) - 2
    if n_open > 3 or letters[-2:] != "YX":
        hint = "--axes takes one letter a dimension out of TCZYX; save it with fewer"
    else:
        examples = {1: ("TYX", "ZYX", "CYX"), 2: ("TZYX", "CZYX"), 3: ("TCZYX",)}[
            n_open
        ]
        hint = "tell with " + " or ".join(f"--axes {e}" for e in examples)
    return f"{path} has shape {sizes} and does not say what each dimension is; {hint}"


def _lazy(
    path: Path,
    file: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    shape: tuple[int, ...],
    axes: str,
    pixel_size: PixelSize | None,
) -> Image:
    if series.dataoffset is not None:  # uncompressed and in one piece: map it
        dtype = np.dtype(file.byteorder + series.dtype.char)
        with _readable(path):
            _check_length(path, series)
            mapped = np.memmap(path, dtype, "r", series.dataoffset, shape)
        return in_order(mapped, axes, pixel_size)
    n_planes = math.prod(shape) // (shape[axes.index("Y")] * shape[axes.index("X")])
    if not axes.endswith("YX") or len(series.pages) != n_planes:
        with _readable(path):
            pixels = series.asarray().reshape(shape)
        return in_order(pixels, axes, pixel_size)
    letters = "".join(a for a in AXES if a in axes)
    pages = _Pages(path, series, shape, axes, letters)
    weakref.finalize(pages, file.close)
    return Image(pages, letters, pixel_size)


def _check_length(path: Path, series: tifffile.TiffPageSeries) -> None:
    need = (series.dataoffset or 0) + series.nbytes
    if path.stat().st_size < need:
        raise ValueError(f"it ends after {path.stat().st_size} of {need} bytes")


class _Pages:
    """Planes that are decoded when they are asked for."""

    def __init__(
        self,
        path: Path,
        series: tifffile.TiffPageSeries,
        shape: tuple[int, ...],
        file_axes: str,
        axes: str,
    ) -> None:
        self.shape = tuple(shape[file_axes.index(a)] for a in axes)
        self.dtype = np.dtype(series.dtype)
        self._path = path
        self._pages = [page for page in series.pages if page is not None]
        self._leading = [axes.index(a) for a in file_axes[:-2]]
        self._file_shape = shape[:-2]

    def __getitem__(self, index: tuple[int, ...]) -> NDArray[Any]:
        at = tuple(index[i] for i in self._leading)
        number = int(np.ravel_multi_index(at, self._file_shape)) if at else 0
        with _readable(self._path):
            page = self._pages[number]
            with _opened(page.parent.filehandle):
                return page.asarray().reshape(self.shape[-2:])


@contextmanager
def _opened(handle: tifffile.FileHandle) -> Iterator[None]:
    """Open a file of a set for a moment; tifffile leaves all but the first closed."""
    was_closed = handle.closed
    if was_closed:
        handle.open()
    try:
        yield
    finally:
        if was_closed:
            handle.close()


# Pixel size.


def _pixel_size(file: tifffile.TiffFile) -> PixelSize | None:
    if file.is_ome:
        return _ome_pixel_size(file)
    if file.is_imagej:
        return _imagej_pixel_size(file)
    return None  # a plain TIFF's resolution is that of a printer


def _imagej_pixel_size(file: tifffile.TiffFile) -> PixelSize | None:
    metadata = file.imagej_metadata or {}
    unit = _micrometers(str(metadata.get("unit", "")))
    tags = file.pages.first.tags
    if unit is None or not {"XResolution", "YResolution"} <= {t.name for t in tags}:
        return None
    sizes = []
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value  # pixels per unit, as a fraction
        sizes.append(_positive(unit * units / pixels if pixels else 0.0))
    z = _positive(unit * float(metadata.get("spacing", 0.0)))
    y, x = sizes
    return None if y is None or x is None else PixelSize(z, y, x)


def _ome_pixel_size(file: tifffile.TiffFile) -> PixelSize | None:
    images = tifffile.xml2dict(file.ome_metadata or "").get("OME", {}).get("Image", {})
    first = images[0] if isinstance(images, (list, tuple)) else images
    pixels = first.get("Pixels", {})
    sizes = []
    for axis in "ZYX":
        unit = _micrometers(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
        sizes.append(
            _positive((unit or 0.0) * float(pixels.get(f"PhysicalSize{axis}", 0)))
        )
    z, y, x = sizes
    return None if y is None or x is None else PixelSize(z, y, x)


def _micrometers(unit: str) -> float | None:
    """Give a unit's length in µm; None for pixels, inches and what is no length."""
    name = unit.replace("\\u00B5", "µ").replace("μ", "µ").strip().lower()
    return _MICROMETERS.get(name)


def _positive(size: float) -> float | None:
    return size if math.isfinite(size) and size > 0 else None
