"""Find the input files, and name their results."""

from __future__ import annotations

import glob
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from blinkcore import io
from blinkcore.detection import overlay
from blinkcore.files import error_sentence, escaped, is_hidden, utf8_safe
from blinkcore.io import ome_zarr, spatialdata_points, tiff_series
from blinkcore.io.scenes import file_and_scene, with_scene_named, without_scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True)
class Input:
    """A file to read.

    Attributes
    ----------
    path : Path
        The file; of OME-Zarr the folder of the image; `FILE#N` for one of several images
        of a file.
    name : str
        The path as the user gave it, for tables and messages.
    relative : Path
        The part of the path that its outputs keep: from the given folder on, or the
        file's name.
    url : str
        URL of an OME-Zarr that is not a local folder; empty: `path` is read.
    """

    path: Path
    name: str
    relative: Path
    url: str = ""

    @property
    def source(self) -> Path | str:
        """What to read: the URL if there is one, else the path."""
        return self.url or self.path

    @property
    def file(self) -> Path:
        """The path without the number of an image."""
        return file_and_scene(self.path)[0]

    @cached_property
    def parts(self) -> list[str]:
        """The files, or images in files, that hold parts of the same OME-TIFF."""
        return tiff_series.files_of_set(*file_and_scene(self.path))

    def state(self) -> dict[str, int] | None:
        """Identify the content of a file or set by its size and when it was changed.

        None for OME-Zarr, a folder or URL, whose changes neither of them shows.
        """
        if self.url or not self.file.is_file():
            return None
        files = {self.file, *(file_and_scene(Path(name))[0] for name in self.parts)}
        about = [file.stat() for file in files if file.is_file()]
        return {
            "bytes": sum(one.st_size for one in about),
            "modified_ns": max(one.st_mtime_ns for one in about),
        }


def is_of(record: dict[str, Any], item: Input) -> bool:
    """Return whether a result's record of an image is of this file as it is now.

    Older records do not hold the state of the file.
    """
    state = record.get("file")
    return record.get("path") == identity(item.source) and (
        state is None or state == item.state()
    )


@dataclass(frozen=True)
class Event:
    """What became of one input.

    Attributes
    ----------
    kind : {"result", "error", "skipped"}
        What happened.
    image : str
        The input as the user gave it.
    output : str
        Where its spots are.
    spots : int
        How many.
    dim_specks : int
        How many specks of another class of brightness were left out.
    message : str
        Why it failed or was skipped, in one sentence.
    details : str
        Traceback of an error that nobody foresaw.
    """

    kind: str
    image: str
    output: str = ""
    spots: int = 0
    dim_specks: int = 0
    message: str = ""
    details: str = ""


def find_inputs(
    names: Iterable[str], *, recursive: bool = False
) -> tuple[list[Input], list[Event]]:
    """Find the files that given paths, folders and glob patterns refer to.

    Parameters
    ----------
    names : iterable of str
        As the user gave them.
    recursive : bool
        Search subfolders, too.

    Returns
    -------
    inputs : list of Input
        Each file once.
    errors : list of Event
        One for each name that gives no input.
    """
    inputs: dict[str, Input] = {}
    errors = []
    for name in names:
        try:
            found = list(_expand(name, recursive=recursive))
            problem = "" if found else _why_no_input(name)
        except (OSError, ValueError, ImportError) as error:
            found, problem = [], error_sentence(error)
        if problem:
            errors.append(Event("error", name, message=problem))
        for item in found:
            inputs.setdefault(identity(item.source), item)
    return list(inputs.values()), errors


def output_names(inputs: list[Input]) -> dict[Path, Path]:
    """Choose a relative output name for each input.

    That is the file's name without suffix. Where two would be the same, the suffix is
    kept; if they still are, the names of the files' folders are put in front.
    """
    chosen = {item.path: item.relative.with_suffix("") for item in inputs}
    for longer in (_with_suffix, _with_folders):
        taken: dict[str, list[Input]] = {}
        for item in inputs:
            taken.setdefault(str(chosen[item.path]).casefold(), []).append(item)
        for same in taken.values():
            if len(same) > 1:
                chosen.update({item.path: longer(item, same) for item in same})
    return chosen


def identity(path: Path | str) -> str:
    """Return a path without links, `..` or irrelevant case; a URL as it is.

    The number of one image in a file, `FILE#N`, stays.
    """
    if ome_zarr.is_url(path):
        return utf8_safe(str(path))
    file, scene = file_and_scene(Path(path))
    name = utf8_safe(os.path.normcase(os.path.realpath(file)))
    return name if scene is None else f"{name}#{scene}"


def _expand(name: str, *, recursive: bool) -> Iterator[Input]:
    if not name.strip():
        raise ValueError("an empty name is not an input")
    path = Path(name)
    if ome_zarr.is_url(name):
        yield from _in_zarr(name, name, PurePosixPath(urlsplit(name).path).name)
    elif path.is_dir() and ome_zarr.recognizes(path):
        yield from _in_zarr(path, name, path.resolve().name)
    elif path.is_dir():
        yield from _in_folder(path, recursive=recursive)
    elif path.exists() or file_and_scene(path)[0].exists():
        yield from _scenes(path, name, Path(path.name))
    elif glob.has_magic(name):
        for match in sorted(_matches(name)):
            if match.is_dir():
                yield from _expand(str(match), recursive=recursive)
            else:
                yield from _scenes(match, str(match), Path(match.name))


def _scenes(path: Path, name: str, relative: Path) -> Iterator[Input]:
    """Return a file as one input, or each of its images."""
    file, scene = file_and_scene(path)
    scenes = [] if scene is None else [scene]
    if scene is None:
        with suppress(Exception):  # reported when its turn comes
            n = io.n_scenes(path)
            scenes = list(range(n)) if n > 1 else []
    if not scenes:
        yield Input(path, name, relative)
    for number in scenes:
        within = f"{name if scene is None else without_scene(name)}#{number}"
        of_scene = relative.with_name(with_scene_named(f"{file.name}#{number}"))
        yield Input(file.with_name(f"{file.name}#{number}"), within, of_scene)


def _matches(pattern: str) -> list[Path]:
    """Find the files of a pattern; `**` does not follow links, which may form circles."""
    if "**" not in pattern:
        return [Path(name) for name in glob.glob(pattern)]  # noqa: PTH207 (absolute)
    path = Path(pattern)
    parts = path.parts[1:] if path.anchor else path.parts
    found = Path(path.anchor or ".").glob(str(Path(*parts)))
    # As without `**`: hidden files and folders must be asked for.
    return [p for p in found if is_hidden(path) or not is_hidden(p)]


def _in_zarr(source: Path | str, name: str, relative: str) -> Iterator[Input]:
    """Return the images of an OME-Zarr: one, the fields of a plate, or a few series."""
    url = source if isinstance(source, str) else ""
    for inner in ome_zarr.images_in(source):
        if not inner:
            yield Input(Path(source), name, Path(relative), url)
            continue
        place = Path(relative.removesuffix(ome_zarr.SUFFIX)) / inner
        within = f"{name.rstrip('/')}/{inner}"
        own = f"{url.rstrip('/')}/{inner}" if url else ""
        yield Input(Path(source) / inner, within, place, own)


def _in_folder(folder: Path, *, recursive: bool) -> Iterator[Input]:
    """Yield the images of a folder; an OME-Zarr folder counts as an image."""
    for path in _image_paths(folder, recursive=recursive):
        relative = path.relative_to(folder)
        within: list[Input] = []
        if path.is_dir():  # one that is not an image is reported in its turn
            with suppress(OSError, ValueError, ImportError):
                within = list(_in_zarr(path, str(path), str(relative)))
        yield from within or _scenes(path, str(path), relative)


def _image_paths(folder: Path, *, recursive: bool) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        names = [n for n in files if Path(n).suffix.lower() in io.IMAGE_SUFFIXES]
        zarrs = [n for n in folders if ome_zarr.recognizes(Path(place, n))]
        deeper = [
            n
            for n in folders
            if recursive and n not in zarrs and not is_hidden(Path(n))
        ]
        folders[:] = deeper
        found += [Path(place, name) for name in (*names, *zarrs)]
    return sorted(
        path
        for path in found
        if not path.name.startswith(".")
        and not path.name.endswith((overlay.SUFFIX, spatialdata_points.SUFFIX))
        and (path.is_file() or path.is_dir())
    )


def _why_no_input(name: str) -> str:
    if Path(name).is_dir():
        kinds = " ".join((*io.IMAGE_SUFFIXES, ome_zarr.SUFFIX))
        return escaped(f"{name} has no image in it ({kinds}); --recursive looks deeper")
    if glob.has_magic(name):
        return escaped(f"{name} matches no file")
    return escaped(f"{name}: there is no such file or folder")


def _with_suffix(item: Input, _: list[Input]) -> Path:
    return item.relative


def _with_folders(item: Input, same: list[Input]) -> Path:
    parents = [Path(os.path.abspath(other.path)).parent for other in same]  # noqa: PTH100
    own = Path(os.path.abspath(item.path)).parent  # noqa: PTH100 (no `..` left)
    if len({parent.anchor for parent in parents}) > 1:  # drives of Windows
        return Path(*own.parts[1:], item.relative.name)
    return own.relative_to(os.path.commonpath(parents)) / item.relative.name
