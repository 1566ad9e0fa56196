"""Many files through `predict`: what to read, where to write, what became of it.

A failing file never stops the others, what is done stays done, and every table has a
`.json` beside it that tells how it was made.
"""

from __future__ import annotations

import glob
import logging
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import blinkcore
from blinkcore import io
from blinkcore.detection import overlay
from blinkcore.detection.predict import choose_scale, predict, scale_warning
from blinkcore.detection.quality import doubt_warning, image_warning
from blinkcore.files import one_line, sentence, writable, write_json
from blinkcore.io import tables, tiff
from blinkcore.network.calibration import real_count
from blinkcore.spots import PLACES, ordered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blinkcore.image import Image, PixelSize
    from blinkcore.network.model import Model

logger = logging.getLogger(__name__)

COORDINATES = (
    "y down and x right in px; an integer is the centre of a pixel, the first pixel's "
    "centre is (0, 0); frame, channel and z count from 0"
)
_FAILURES = (OSError, ValueError, TypeError, RuntimeError, MemoryError, ImportError)


@dataclass(frozen=True)
class Input:
    """A file to read.

    Attributes
    ----------
    path : Path
        The file.
    name : str
        The path as the user gave it, for tables and messages.
    relative : Path
        The part of the path that its outputs keep: from the given folder on, or the
        file's name.
    """

    path: Path
    name: str
    relative: Path


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
        The sentence of an error.
    """

    kind: str
    image: str
    output: str = ""
    spots: int = 0
    dim_specks: int = 0
    message: str = ""


@dataclass(frozen=True)
class Options:
    """How to find spots and where to put them.

    Attributes
    ----------
    model : Model
        Loaded.
    output : Path or None
        A folder for one table an input; a `.csv` or `.parquet` file for one of all;
        None: standard output.
    formats : tuple of str
        Suffixes of the files for an input in a folder, see `blinkcore.io.WRITERS`; the
        first is its result, the others lie beside it. On standard output the first.
    threshold, fdr, radius, scale, dim, channel, axes, pixel_size
        See `blinkcore.detection.predict.predict`.
    overlay : Path or None
        Folder for pictures with the spots circled, `<name>.overlay.png`.
    skip_existing : bool
        Leave inputs alone whose result, found with the same options, is there.
    """

    model: Model
    output: Path | None
    formats: tuple[str, ...] = (".csv",)
    threshold: float | None = None
    fdr: float | None = None
    radius: float | None = None
    scale: float | str = 1.0
    dim: bool = False
    channel: int | None = None
    axes: str | None = None
    pixel_size: PixelSize | None = None
    overlay: Path | None = None
    skip_existing: bool = False

    @property
    def one_table(self) -> bool:
        """Whether all inputs share one table."""
        return self.output is None or tables.is_table(self.output)

    def _threshold(self) -> float | None:
        if self.fdr is not None:
            return None  # another one for each image
        own = self.model.metadata.threshold
        return own if self.threshold is None else self.threshold

    def recorded(self) -> dict[str, Any]:
        """Give what decides which spots are found, as a sidecar keeps it."""
        size = self.pixel_size
        return {
            "model": {
                "name": self.model.name,
                "sha256": self.model.sha256,
                "architecture": self.model.metadata.architecture,
                "precision": self.model.precision,
            },
            "threshold": self._threshold(),
            "options": {
                "fdr": self.fdr,
                "radius": self.radius,
                "scale": self.scale,
                "dim": self.dim,
                "channel": self.channel,
                "axes": self.axes,
                "pixel_size_um": None if size is None else size._asdict(),
            },
        }


def find_inputs(
    names: Iterable[str], *, recursive: bool = False
) -> tuple[list[Input], list[Event]]:
    """Find the files that are meant by files, folders and glob patterns.

    Parameters
    ----------
    names : iterable of str
        As the user gave them.
    recursive : bool
        Look into the folders of folders too.

    Returns
    -------
    inputs : list of Input
        Each file once.
    errors : list of Event
        Names that mean nothing.
    """
    inputs: dict[str, Input] = {}
    errors = []
    for name in names:
        try:
            found = list(_expand(name, recursive=recursive))
            problem = "" if found else _nothing(name)
        except (OSError, ValueError) as error:
            found, problem = [], sentence(error)
        if problem:
            errors.append(Event("error", name, message=problem))
        for item in found:
            inputs.setdefault(_identity(item.path), item)
    return list(inputs.values()), errors


def output_names(inputs: list[Input]) -> dict[Path, Path]:
    """Give each input a relative output name without suffix, no two the same.

    A name is the file's without suffix; with it where another file of the folder would
    have the same; and behind its folders' names where files come from several.
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


def predict_files(inputs: list[Input], options: Options) -> Iterator[Event]:
    """Find spots in many files; yields what became of each as soon as it is known.

    Parameters
    ----------
    inputs : list of Input
        Of `find_inputs`.
    options : Options
        See there.

    Yields
    ------
    Event
        One an input. Files of one OME-TIFF set count as one input.

    Raises
    ------
    ValueError
        If a table to go on with does not fit.
    OSError
        If the one table of all cannot be written; the message names where it was saved
        instead.
    """
    names = output_names(inputs)
    check_scale = options.scale == 1.0
    collected = _Collected.start(options) if options.one_table else None
    covered: set[str] = set()
    said: set[str] = set()
    try:
        for item in inputs:
            if _identity(item.path) in covered:
                yield Event("skipped", item.name, message="part of an earlier image")
                continue
            covered.update(_identity(path) for path in tiff.files_of_set(item.path))
            event = _one(item, names[item.path], options, collected, check_scale, said)
            # Once: it takes longer than a small image itself.
            check_scale = check_scale and event.kind != "result"
            yield event
    finally:
        if collected is not None:
            collected.write(last=True)


def sidecar(options: Options, images: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe how a table was made, so that it explains itself years later."""
    return {
        "blinkcore": blinkcore.__version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": [writable(word) for word in sys.argv],
        **options.recorded(),
        "coordinates": COORDINATES,
        "images": images,
    }


def _one(
    item: Input,
    name: Path,
    options: Options,
    collected: _Collected | None,
    check_scale: bool,
    said: set[str],
) -> Event:
    """Find spots in one file and write them; errors become events."""
    target = (
        None
        if collected
        else (options.output or Path()) / f"{name}{options.formats[0]}"
    )
    output = str(target or options.output or "-")
    n_written = None
    try:
        is_done = (
            collected.has(item) if collected else _is_done(item, target, options, name)
        )
        if is_done:
            return Event("skipped", item.name, output, message="its result is there")
        image, spots, record = _predict(item, options, check_scale, said)
        if collected is not None:
            collected.add(spots, record)
        elif target is not None:
            lost = {
                path: _write(spots, image, path, item.path)
                for path in _files(target, options)
            }
            _tell_lost(lost, said)
            before = io.read_sidecar(_beside(target))
            formats = _own_formats(before) | set(options.formats)
            content = sidecar(options, [record]) | {"formats": sorted(formats)}
            write_json(content, _beside(target))
        n_written = len(spots)
        if options.overlay is not None:
            _write_overlays(image, spots, options.overlay / name, options.channel)
    except _FAILURES as error:
        logger.debug("%s", item.name, exc_info=True)
        message = sentence(error)
        if n_written is not None:
            message = (
                f"its {n_written} spots are written, but not the picture: {message}"
            )
        return Event("error", item.name, output, n_written or 0, message=message)
    n_dim = record["dim_specks_left_out"]
    return Event("result", item.name, output, len(spots), n_dim)


def _write(spots: pd.DataFrame, image: Image, path: Path, source: Path) -> list[str]:
    return io.write_spots(
        spots, path, image=source, sizes=image.sizes, pixel_size=image.pixel_size
    )


def _tell_lost(lost: dict[Path, list[str]], said: set[str]) -> None:
    """Say, once a run, what no file holds, and where spots of several places mix."""
    nowhere = set.intersection(*map(set, lost.values()))
    for path, columns in lost.items():
        missing = [c for c in columns if c in nowhere or c in PLACES.values()]
        suffix = path.name[len(_base(path)) :]
        if missing and suffix not in said:
            said.add(suffix)
            logger.warning("%s files cannot hold %s", suffix, ", ".join(missing))


def _beside(table: Path) -> Path:
    """Where the description of a result is: `a.json` for `a.csv` and `a.isbi.xml`."""
    return table.with_name(_base(table) + ".json")


def _base(table: Path) -> str:
    """Name of a result without the suffix of its format."""
    suffix = next(w for w in io.WRITERS if table.name.lower().endswith(w))
    return table.name[: -len(suffix)]


def _files(table: Path, options: Options) -> list[Path]:
    """All files of a result, its table first."""
    return [table.with_name(_base(table) + suffix) for suffix in options.formats]


def _own_formats(before: dict[str, Any] | None) -> set[str]:
    """Give the formats that earlier runs wrote, as their sidecar says."""
    return set(before.get("formats", [".csv", ".parquet"])) if before else set()


def _is_done(item: Input, table: Path | None, options: Options, name: Path) -> bool:
    """Whether all files of the same image, model and options are there.

    Raises ValueError if what is there is another image's or not ours: labels perhaps.
    """
    if table is None:
        return False
    before, files = io.read_sidecar(_beside(table)), _files(table, options)
    own = _own_formats(before)
    foreign = [f for f, s in zip(files, options.formats, strict=True) if s not in own]
    for path in foreign if before else [*foreign, _beside(table)]:
        if path.exists() and not _is_ours(path):
            raise ValueError(
                f"{path} is there and not a result of blinkcore; choose another "
                "output folder"
            )
    if before is None:
        return False
    paths = [record.get("path") for record in before["images"]]
    if paths != [_identity(item.path)]:
        raise ValueError(
            f"{table} holds the spots of {paths[0] if paths else 'another image'}; "
            "choose another output folder"
        )
    same = all(before.get(k) == v for k, v in options.recorded().items())
    files_there = all(path.exists() for path in files)
    if options.overlay is not None:
        base = options.overlay / name
        files_there &= _picture(base).exists() or base.is_dir()
    return options.skip_existing and same and files_there


def _is_ours(path: Path) -> bool:
    """Whether a table without a sidecar is of a run that was cut."""
    try:
        return {"image", "probability"} <= set(tables.read(path).columns)
    except (ValueError, ImportError):
        return False


def _predict(
    item: Input, options: Options, check_scale: bool, said: set[str]
) -> tuple[Image, pd.DataFrame, dict[str, Any]]:
    image = io.read_image(
        item.path,
        axes=options.axes,
        pixel_size=options.pixel_size,
        rgb=options.channel is not None,
    )
    if check_scale:
        warning = scale_warning(image, options.model, options.channel)
        if warning is not None:
            logger.warning("%s: %s", item.name, warning)
    _warn(item, image_warning(image.middle_plane(options.channel).data), said)
    scale = options.scale
    if scale == "auto":
        scale = choose_scale(image, options.model, options.channel)
    spots = predict(
        image,
        options.model,
        scale=scale,
        threshold=options.threshold,
        fdr=options.fdr,
        dim=options.dim,
        radius=options.radius,
        channel=options.channel,
    )
    if options.threshold is options.fdr is None:
        _warn(item, doubt_warning(spots), said)
    names = [writable(item.name)] * len(spots)
    spots.insert(0, "image", pd.Series(names, dtype=str))
    size = image.pixel_size
    record = {
        "image": writable(item.name),
        "path": _identity(item.path),
        "axes": image.axes,
        "shape": list(image.data.shape),
        "pixel_size_um": None if size is None else size._asdict(),
        "scale": scale,
        "spots": len(spots),
        "dim_specks_left_out": spots.attrs["dim_specks"],
    }
    spread = options.model.metadata.count_spread
    if spread is not None and options.threshold is options.fdr is None:
        probability = spots["probability"].to_numpy()
        count = real_count(probability, spread)._asdict()
        record["real_spots"] = {name: round(n, 1) for name, n in count.items()}
    return image, spots, record


def _warn(item: Input, warning: str | None, said: set[str]) -> None:
    """Log a warning about an image, once a run for each kind of warning."""
    kind = " ".join(w for w in (warning or "").split() if w.isalpha())
    if warning is not None and kind not in said:
        said.add(kind)
        logger.warning("%s: %s", item.name, warning)


def _picture(base: Path) -> Path:
    return base.with_name(f"{base.name}{overlay.SUFFIX}")


def _write_overlays(
    image: Image, spots: pd.DataFrame, base: Path, channel: int | None
) -> None:
    """Write one picture a plane; planes of a stack go to a folder."""
    several = image.n_planes(channel) > 1
    for plane in image.planes(channel):
        at = {"frame": plane.frame, "channel": plane.channel, "z": plane.z}
        here = spots
        for column, value in at.items():
            if column in here.columns:
                here = here[here[column] == value]
        place = "_".join(
            f"{column}{value:04d}" for column, value in at.items() if column in spots
        )
        path = _picture(base / place if several else base)
        overlay.write_overlay(plane.data, here[["y", "x"]].to_numpy(), path)


@dataclass
class _Collected:
    """The one table of all inputs, and what it already holds."""

    options: Options
    parts: list[pd.DataFrame] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    written: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, options: Options) -> _Collected:
        """Go on with the table that is there, if asked for."""
        table = options.output
        collected = cls(options)
        if table is None or not options.skip_existing or not table.exists():
            return collected
        before = io.read_sidecar(_beside(table))
        if before is None:
            raise ValueError(
                f"{table} has no readable {_beside(table).name} beside it; "
                "without --skip-existing the table is made anew"
            )
        if any(before.get(k) != v for k, v in options.recorded().items()):
            raise ValueError(
                f"{table} was made with another model, threshold, channel, axes or pixel "
                "size; choose another output"
            )
        spots = tables.read(table)
        # Rows of an image that is not recorded are of a run that was cut: done again.
        known = [record["image"] for record in before["images"]]
        collected.parts = [spots[spots["image"].isin(known)]]
        collected.records = before["images"]
        return collected

    def has(self, item: Input) -> bool:
        path = _identity(item.path)
        return any(record.get("path") == path for record in self.records)

    def add(self, spots: pd.DataFrame, record: dict[str, Any]) -> None:
        """Take in an image's spots; every half minute write what is there."""
        self.parts.append(spots)
        self.records.append(record)
        if time.monotonic() - self.written > 30:
            self.write()

    def write(self, *, last: bool = False) -> None:
        path = self.options.output
        if not self.parts:
            return
        table = self._table()
        if path is None:
            if last:
                tables.write_to(table, sys.stdout.buffer, self.options.formats[0])
                sys.stdout.buffer.flush()
            return
        try:
            io.write_spots(table, path)
            write_json(sidecar(self.options, self.records), _beside(path))
        except _FAILURES as error:
            if last:
                raise OSError(_rescued(table, path, error)) from error
        self.written = time.monotonic()

    def _table(self) -> pd.DataFrame:
        """Join the parts; an image without an axis lies at 0 of it.

        µm of an image whose pixel size is unknown stay empty.
        """
        parts = [part for part in self.parts if len(part)] or self.parts[:1]
        columns = {name for part in self.parts for name in part.columns}
        table = pd.concat(parts, ignore_index=True)
        for name in columns - set(table.columns):
            table[name] = np.nan
        axes = [n for n in PLACES.values() if n in table.columns]
        return ordered(table.fillna(dict.fromkeys(axes, 0)))


def _rescued(table: pd.DataFrame, path: Path, error: Exception) -> str:
    """Save a table elsewhere that could not be written where it should be."""
    reason = getattr(error, "strerror", None) or str(error)
    try:
        folder = Path(tempfile.mkdtemp(prefix="blinkcore-"))
        io.write_spots(table, folder / path.name)
    except _FAILURES:
        return f"{path} could not be written ({reason}), nor a copy of it elsewhere"
    return (
        f"{path} could not be written ({reason}); it is saved as {folder / path.name}"
    )


# Inputs and their names.


def _identity(path: Path | str) -> str:
    """Path of a file without links, `..` and differences of case that do not count."""
    return writable(os.path.normcase(os.path.realpath(path)))


def _expand(name: str, *, recursive: bool) -> Iterator[Input]:
    if not name.strip():
        raise ValueError("an empty name is no input")
    path = Path(name)
    if path.is_dir():
        for file in _in_folder(path, recursive=recursive):
            yield Input(file, str(file), file.relative_to(path))
    elif path.exists():
        yield Input(path, name, Path(path.name))
    elif glob.has_magic(name):
        matches = glob.glob(name, recursive=True)  # noqa: PTH207 (also absolute ones)
        for match in map(Path, sorted(matches)):
            if match.is_dir():
                yield from _expand(str(match), recursive=recursive)
            else:
                yield Input(match, str(match), Path(match.name))


def _in_folder(folder: Path, *, recursive: bool) -> list[Path]:
    walk = folder.rglob("*") if recursive else folder.glob("*")
    return sorted(
        path
        for path in walk
        if path.suffix.lower() in io.IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and not path.name.endswith(overlay.SUFFIX)
        and path.is_file()
    )


def _nothing(name: str) -> str:
    if Path(name).is_dir():
        kinds = " ".join(io.IMAGE_SUFFIXES)
        return one_line(
            f"{name} has no image in it ({kinds}); --recursive looks deeper"
        )
    if glob.has_magic(name):
        return one_line(f"{name} matches no file")
    return one_line(f"{name}: there is no such file or folder")


def _with_suffix(item: Input, _: list[Input]) -> Path:
    return item.relative


def _with_folders(item: Input, same: list[Input]) -> Path:
    parents = [Path(os.path.abspath(other.path)).parent for other in same]  # noqa: PTH100
    own = Path(os.path.abspath(item.path)).parent  # noqa: PTH100 (no `..` left)
    if len({parent.anchor for parent in parents}) > 1:  # drives of Windows
        return Path(*own.parts[1:], item.relative.name)
    return own.relative_to(os.path.commonpath(parents)) / item.relative.name
