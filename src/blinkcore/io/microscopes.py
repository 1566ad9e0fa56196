"""ND2 (Nikon), CZI (Zeiss) and LIF (Leica) through bioio and its readers (extra `bioio`)."""

from __future__ import annotations

import logging
import warnings
from importlib.util import find_spec
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
from blinkcore.io import microscope_facts as facts
from blinkcore.io.units import positive

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

SUFFIXES = (".nd2", ".czi", ".lif")
# Their own loggers print pages about files that they cannot read.
_LOGGERS = (
    "bioio",
    "bioio_base",
    "bioio_czi",
    "bioio_lif",
    "bioio_nd2",
    "liffile",
    "nd2",
)


def recognizes(path: Path) -> bool:
    """Tell by its suffix whether a file is of one of these microscopes."""
    return path.suffix.lower() in SUFFIXES


def n_scenes(path: Path) -> int:
    """Count the scenes of a file; errors as of `read`."""
    file = _opened(path)
    try:
        return len(file.scenes)
    except Exception as error:  # readers raise anything
        raise _damaged(path, error) from error


def read(
    path: Path, *, axes: str | None, pixel_size: PixelSize | None, scene: int | None
) -> Image:
    """Read one scene of a file.

    Parameters
    ----------
    path : Path
        The file.
    axes, pixel_size
        See `blinkcore.io.read_image`.
    scene : int or None
        Its number, from 0; None: the first, with a warning if there are others.

    Returns
    -------
    Image
        Its planes are read when they are asked for.

    Raises
    ------
    ImportError
        If bioio, or its reader for this kind of file, is not installed.
    OSError, ValueError
        If the file is damaged, or has no such scene.
    """
    file = _opened(path)
    try:
        names = file.scenes
    except Exception as error:  # readers raise anything
        raise _damaged(path, error) from error
    if scene is not None and scene >= len(names):
        raise ValueError(f"{path} has no scene {scene}, only {len(names)} from 0 on")
    if scene is None and len(names) > 1:
        logger.warning(
            "%s holds %d scenes; only the first is used, the others are %s#1 and so on",
            path, len(names), path.name,
        )  # fmt: skip
    about = _facts(path, scene or 0)
    try:
        file.set_scene(scene or 0)
        found = file.physical_pixel_sizes
        interval = file.time_interval
    except Exception as error:  # readers raise anything
        raise _damaged(path, error) from error
    source = file
    if len(names) > 1 and _differ(path):
        source = _by_zeiss(path, file, scene or 0)
    planes = _Planes(path, file, source, _letters(path, file, axes))
    letters = planes.letters
    size = pixel_size
    z, y, x = about.is_calibrated
    if size is None and found.Y and found.X and y and x:
        # Stacks that go down have a negative step.
        depth = positive(abs(found.Z or 0.0)) if z else None
        size = PixelSize(depth, found.Y, found.X)
    seconds = None if interval is None else positive(interval.total_seconds())
    return Image(planes, letters, size, seconds or about.interval)


def _facts(path: Path, scene: int) -> facts.Facts:
    """Look at what the readers of bioio do not tell."""
    kind = path.suffix.lower()
    try:
        if kind == ".lif":
            return facts.facts_of_lif(path, scene)
        return facts.facts_of_nd2(path) if kind == ".nd2" else facts.Facts()
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise _damaged(path, error) from error
    except Exception as error:  # readers raise anything
        raise _damaged(path, error) from error


def _differ(path: Path) -> bool:
    """Return whether a CZI has scenes of different sizes."""
    if path.suffix.lower() != ".czi" or find_spec("aicspylibczi") is None:
        return False
    from aicspylibczi import CziFile

    try:
        with path.open("rb") as file:
            return not CziFile(file).shape_is_consistent
    except Exception as error:  # readers raise anything
        raise _damaged(path, error) from error


def _by_zeiss(path: Path, file: Any, scene: int) -> Any:
    """Open a CZI with the library of Zeiss, from which only pixels are taken.

    The one that bioio uses by default, aicspylibczi 4.0, crashes when it reads from
    scenes of different sizes; that of Zeiss gives them all the longest of their axes.
    """
    import bioio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            other = bioio.BioImage(path, use_aicspylibczi=False)
            other.set_scene(scene)
            sizes = [
                dict(zip(f.dims.order, f.shape, strict=True)) for f in (file, other)
            ]
        except Exception as error:  # also where bioio has given up this library
            raise _damaged(path, error) from error
    if any(sizes[0][axis] != sizes[1][axis] for axis in "YX"):
        raise ValueError(f"{path} has scenes of different sizes, which cannot be read")
    return other


def _letters(path: Path, file: Any, axes: str | None) -> dict[str, str]:
    """Map each axis to the letter that the file uses for it."""
    sizes = dict(zip(file.dims.order, file.shape, strict=True))
    own = "".join(a for a in file.dims.order if sizes[a] > 1 or a in "YX")
    if "S" in own:
        raise ValueError(
            f"{path} is a colour (RGB) picture, and spots are found in one channel"
        )
    shape = tuple(sizes[a] for a in own)
    letters = axes or own
    if len(letters) != len(own):
        raise AxesError(
            f"{path}: axes must have one letter per dimension, got {letters!r} for {own} of "
            f"shape {shape}"
        )
    check_axes(letters, shape)
    return dict(zip(letters, own, strict=True))


def _opened(path: Path) -> Any:
    try:
        import bioio
    except ImportError as error:
        raise missing(
            f"{path}, of a microscope's own format,", "bioio", "bioio"
        ) from error
    reader = f"bioio-{path.suffix[1:].lower()}"
    if find_spec(reader.replace("-", "_")) is None:
        raise missing(f"{path}, of a microscope's own format,", reader, "bioio")
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix.lower() == ".czi":
                facts.allow_missing_scale()
                _check_czi(path)
            return bioio.BioImage(path)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        if type(error).__name__ == "UnsupportedFileFormatError":  # a page of advice
            kind = path.suffix[1:].upper()
            raise ValueError(f"{path} is damaged or no {kind} file") from error
        raise _damaged(path, error) from error


def _check_czi(path: Path) -> None:
    """Check the header of a CZI, if it is one; what is not, bioio refuses."""
    with path.open("rb") as file:
        if file.read(10) != b"ZISRAWFILE":
            return
    facts.check_czi(path)


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = error_sentence(error).replace(f"{path}", "the file")
    if "\\x" in reason or not reason.isprintable():  # bytes of the file
        return ValueError(f"{path} is cut off or damaged")
    return ValueError(f"{path} cannot be read: {type(error).__name__}: {reason}")


class _Planes(LazyPlanes):
    """Planes that are read on demand."""

    def __init__(self, path: Path, file: Any, source: Any, own: dict[str, str]) -> None:
        """`source` gives the pixels, `file` their sizes; `own`: letters of the file."""
        self._path, self._source, self._own = path, source, own
        shape = dict(zip(file.dims.order, file.shape, strict=True))
        self.letters = canonical_axes("".join(own))
        self.shape = tuple(shape[own[a]] for a in self.letters)
        self.dtype = np.dtype(file.dtype)

    def __getitem__(self, index: tuple[int, ...]) -> NDArray[Any]:
        at = {self._own[a]: i for a, i in zip(self.letters, index, strict=False)}
        n_bytes = self.shape[-2] * self.shape[-1] * self.dtype.itemsize
        limits.check_memory(n_bytes, str(self._path))
        try:
            return np.asarray(self._source.get_image_dask_data("YX", **at).compute())
        except MemoryError:
            raise
        except Exception as error:  # an OSError of a reader names no file
            raise _damaged(self._path, error) from error
