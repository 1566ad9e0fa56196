"""TIFF: plain, ImageJ and OME, one file or several, read plane by plane.

Axes and pixel size come from the ImageJ or OME metadata. What these leave open is asked
for, never guessed. An integer coordinate is the centre of a pixel.
"""

from __future__ import annotations

import logging
import math
import weakref
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tifffile

from blinkcore import limits
from blinkcore.files import atomic_write
from blinkcore.image import (
    AXES,
    AxesError,
    Image,
    LazyPlanes,
    PixelSize,
    canonical_axes,
    check_axes,
    to_canonical_axes,
)
from blinkcore.io.color import color_refusal, from_samples
from blinkcore.io.tiff_bands import large_page, opened
from blinkcore.io.tiff_calibration import (
    MetadataError,
    frame_interval_of,
    pixel_size_of,
)
from blinkcore.io.tiff_cut_off import CUT, check_complete, filled
from blinkcore.io.tiff_series import files_of, own_series, series_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from blinkcore.large_plane import LargePlane

logger = logging.getLogger(__name__)

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk")


def read(
    path: Path,
    *,
    axes: str | None,
    pixel_size: PixelSize | None,
    rgb: bool,
    truncated: bool = False,
    scene: int | None = None,
) -> Image:
    """Read a TIFF, or one of its images; errors as of `blinkcore.io.read_image`."""
    with _readable(path):
        file = tifffile.TiffFile(path)
    image = None
    try:
        with _readable(path):
            series = own_series(path, file, scene)
            if series.dtype.kind not in "biuf":
                raise MetadataError(f"its pixels are {series.dtype}, not real numbers")
            size = pixel_size or pixel_size_of(file, series)
            shape, letters = _layout(path, series, axes, rgb=rgb)
            layout = Layout(shape, letters, size, rgb, truncated)
            image = _lazy(path, file, series, layout)
            image = replace(image, frame_interval=frame_interval_of(file, series))
        return image
    finally:
        if image is None or not isinstance(image.data, _Pages):
            file.close()


def write(pixels: NDArray[Any], path: Path) -> None:
    """Write a grey picture, pixels of shape (height, width), as `blinkcore.io.write_image`."""
    with atomic_write(path) as temporary:
        tifffile.imwrite(temporary, pixels, photometric="minisblack")


def n_scenes(path: Path) -> int:
    """Count the images of an OME-TIFF; 1 for others, whose second may be a preview."""
    with _readable(path), tifffile.TiffFile(path) as file:
        if not file.is_ome or (file.ome_metadata or "").count("<Image") < 2:
            return 1
        return len(series_in(file, file.filehandle.path))


class Layout(NamedTuple):
    """How to read a series: shape and axes in the file's order, size in µm, colours.

    `truncated`: read what is left of a file that was cut off.
    """

    shape: tuple[int, ...]
    axes: str
    pixel_size: PixelSize | None
    rgb: bool
    truncated: bool


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn errors that tifffile raises or logs for a damaged file into one sentence."""
    complaints = _Complaints()
    log = logging.getLogger("tifffile")
    log.addHandler(complaints)
    try:
        yield
    except (OSError, MemoryError):
        raise
    except MetadataError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise  # one of ours
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is damaged or not a TIFF file: {reason}") from error
    finally:
        log.removeHandler(complaints)
    if complaints.messages:
        reason = complaints.messages[0]
        raise ValueError(f"{path} is damaged or not a TIFF file: {reason}")


class _Complaints(logging.Handler):
    """Collects errors that tifffile only logs while it continues, losing planes."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _layout(
    path: Path, series: tifffile.TiffPageSeries, axes: str | None, *, rgb: bool
) -> tuple[tuple[int, ...], str]:
    """Find the shape and axes, in the file's order, of what is to be read."""
    if axes is not None:
        for shape in (series.get_shape(squeeze=True), series.get_shape(squeeze=False)):
            if len(shape) == len(axes):
                check_axes(axes, shape)
                return shape, axes
        raise AxesError(
            f"{path}: axes must have one letter per dimension, got {axes!r} for shape "
            f"{series.shape}"
        )
    kept = [
        (length, letter)
        for length, letter in zip(series.shape, series.axes, strict=True)
        if length > 1 or letter in "YX"
    ]
    shape = tuple(length for length, _ in kept)
    letters = "".join(letter for _, letter in kept)
    if "S" in letters and _is_color(series.keyframe):
        if set(letters) == set("YXS"):
            return shape, letters  # grey saved as colour is still grey
        if not rgb:
            raise ValueError(color_refusal(path))
    if "C" not in letters:
        letters = letters.replace("S", "C")
    unknown = [a for a in letters if a not in AXES]
    if unknown or len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters):
        raise AxesError(_ambiguous(path, shape, letters))
    tints = series.kind == "imagej" or _is_ramp(series.keyframe)
    if series.keyframe.photometric == _PALETTE and not tints:
        raise ValueError(color_refusal(path))
    return shape, letters


_WHITE_IS_ZERO, _PALETTE = 0, 3
_GREY = (_WHITE_IS_ZERO, 1, _PALETTE)
_ALPHA = (1, 2)


def _is_color(page: tifffile.TiffPage) -> bool:
    """Return whether a pixel's samples are colours, or grey and alpha, not channels."""
    extra = page.extrasamples
    return page.photometric not in _GREY or any(e in _ALPHA for e in extra)


def _is_ramp(page: tifffile.TiffPage) -> bool:
    """Return whether a colour map only tints grey values, as ImageJ's do: brighter is more."""
    colors = page.colormap
    if colors is None:
        return True
    luminance = np.array([0.299, 0.587, 0.114]) @ colors.astype(float)
    return bool((np.diff(luminance) >= -1.0).all())


def _ambiguous(path: Path, shape: tuple[int, ...], letters: str) -> str:
    sizes = " x ".join(map(str, shape))
    n_open = len(shape) - 2
    if n_open > 3 or letters[-2:] != "YX":
        hint = "at most five dimensions, TCZYX, can be read; save its parts as files"
    else:
        examples = {
            1: ("TYX", "ZYX", "CYX"),
            2: ("TZYX", "TCYX", "CZYX"),
            3: ("TCZYX",),
        }[n_open]
        hint = (
            "name them with "
            + " or ".join(f"--axes {e}" for e in examples)
            + f" (in Python axes='{examples[0]}')"
        )
    return f"{path} has shape {sizes} and does not say what each dimension is; {hint}"


def _lazy(
    path: Path,
    file: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    layout: Layout,
) -> Image:
    """Memory-map pixels that lie in one piece, else decode planes on demand."""
    shape, axes, pixel_size, *_ = layout
    if "S" in axes or series.keyframe.photometric == _WHITE_IS_ZERO:
        return _whole(path, series, layout)
    if series.dataoffset is not None and files_of(series) == {file.filehandle.path}:
        dtype = np.dtype(file.byteorder + series.dtype.char)
        with _readable(path):
            need = series.dataoffset + series.nbytes
            size = path.stat().st_size
            if size < need and layout.truncated:
                rest = filled(path, series.dataoffset, dtype, shape)
                return replace(to_canonical_axes(rest, axes, pixel_size), is_cut=True)
            if size < need:
                raise ValueError(f"it ends after {size} of {need} bytes {CUT}")
            mapped = np.memmap(path, dtype, "r", series.dataoffset, shape)
        return to_canonical_axes(mapped, axes, pixel_size)
    n_planes = math.prod(shape) // (shape[axes.index("Y")] * shape[axes.index("X")])
    if not axes.endswith("YX") or len(series.pages) != n_planes:
        return _whole(path, series, layout)
    pages = _Pages(path, series, layout)
    weakref.finalize(pages, file.close)
    return Image(pages, pages.axes, pixel_size)


def _whole(path: Path, series: tifffile.TiffPageSeries, layout: Layout) -> Image:
    """Read all pixels at once."""
    limits.check_memory(series.nbytes, str(path))
    with _readable(path):
        is_cut = any(_is_cut(page, layout.truncated) for page in series.pages)
        pixels = series.asarray().reshape(layout.shape)
    if series.keyframe.photometric == _WHITE_IS_ZERO:
        pixels = pixels.max() - pixels if pixels.dtype.kind == "f" else ~pixels
    if "S" not in layout.axes:
        image = to_canonical_axes(pixels, layout.axes, layout.pixel_size)
        return replace(image, is_cut=is_cut)
    samples_last = np.moveaxis(pixels, layout.axes.index("S"), -1)
    image = from_samples(
        path, samples_last, pixel_size=layout.pixel_size, rgb=layout.rgb
    )
    return replace(image, is_cut=is_cut)


def _is_cut(page: Any, allowed: bool) -> bool:
    """Return whether a plane is cut off; raise ValueError if that is not allowed."""
    try:
        check_complete(page)
    except ValueError:
        if not allowed:
            raise
        return True
    return False


class _Pages(LazyPlanes):
    """Planes that are decoded on demand."""

    def __init__(
        self, path: Path, series: tifffile.TiffPageSeries, layout: Layout
    ) -> None:
        shape, file_axes, *_ = layout
        self.axes = axes = canonical_axes(file_axes)
        self.shape = tuple(shape[file_axes.index(a)] for a in axes)
        self.dtype = np.dtype(series.dtype)
        self._path, self._may_be_cut = path, layout.truncated
        self.is_cut = False  # of the planes that were read
        self._pages = [page for page in series.pages if page is not None]
        self._leading = [axes.index(a) for a in file_axes[:-2]]
        self._file_shape = shape[:-2]

    def __getitem__(self, index: tuple[int, ...]) -> NDArray[Any] | LargePlane:
        at = tuple(index[i] for i in self._leading)
        number = int(np.ravel_multi_index(at, self._file_shape)) if at else 0
        with _readable(self._path):
            page = self._pages[number]
            with opened(page.parent.filehandle):
                self.is_cut |= _is_cut(page, self._may_be_cut)
                if not self._may_be_cut:
                    large = large_page(page, self._path, _readable)
                    if large is not None:
                        return large
                limits.check_memory(page.nbytes, str(self._path))
                return page.asarray().reshape(self.shape[-2:])
