"""Many files through `predict`: what to read, where to write, what became of it.

A failing file never stops the others, what is done stays done, and every table has a
`.json` beside it that tells how it was made.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from blinkcore import io
from blinkcore.batch.inputs import Event, Input, find_inputs, identity, output_names
from blinkcore.batch.lock import locked
from blinkcore.batch.results import Options, Result, sidecar
from blinkcore.batch.timeout import time_limit
from blinkcore.detection.predict import predict_image
from blinkcore.detection.quality import (
    doubt_warning,
    image_warning,
    series_warning,
)
from blinkcore.detection.scale import choose_scale, scale_warning
from blinkcore.files import sentence, writable, write_json
from blinkcore.io import tables, tiff
from blinkcore.network.calibration import real_count
from blinkcore.spots import PLACES, ordered

if TYPE_CHECKING:
    from collections.abc import Generator

    from blinkcore.image import Image

__all__ = ["Event", "Input", "Options", "find_inputs", "output_names", "predict_files"]

logger = logging.getLogger(__name__)

# What files, memory and devices are known to cause; anything else is a mistake of ours.
_FAILURES = (OSError, ValueError, RuntimeError, MemoryError, ImportError)
_UNFORESEEN = (
    "blinkcore did not expect this; please report it with this file, --debug shows more"
)


def predict_files(inputs: list[Input], options: Options) -> Generator[Event]:
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
    if not options.one_table:
        yield from _each(inputs, options, None)
        return
    lock = nullcontext() if options.output is None else locked(options.output)
    with lock:
        collected = _Collected.start(options)
        try:
            yield from _each(inputs, options, collected)
        finally:
            collected.write(last=True)


def _each(
    inputs: list[Input], options: Options, collected: _Collected | None
) -> Generator[Event]:
    names = output_names(inputs)
    check_scale = options.scale == 1.0
    covered: set[str] = set()
    said: set[str] = set()
    for item in inputs:
        if identity(item.path) in covered:
            yield Event("skipped", item.name, message="part of an earlier image")
            continue
        covered.update(identity(path) for path in tiff.files_of_set(item.path))
        event = _one(item, names[item.path], options, collected, check_scale, said)
        # Once: it takes longer than a small image itself.
        check_scale = check_scale and event.kind != "result"
        yield event


def _one(
    item: Input,
    name: Path,
    options: Options,
    collected: _Collected | None,
    check_scale: bool,
    said: set[str],
) -> Event:
    """Find spots in one file and write them; errors become events."""
    result = Result.of(name, options)
    output = str(result.table if collected is None else options.output or "-")
    n_written = None
    try:
        done = result.is_done(item) if collected is None else collected.has(item)
        if done:
            return Event("skipped", item.name, output, message="its result is there")
        lock = locked(result.base) if collected is None else nullcontext()
        with lock:
            with time_limit(options.timeout):
                image, spots, record = _predict(item, options, check_scale, said)
            if collected is not None:
                collected.add(spots, record)
            else:
                _warn_lost_columns(result.write(spots, image, item.path, record), said)
            n_written = len(spots)
            result.write_pictures(image, spots)
    except Exception as error:
        logger.debug("%s", item.name, exc_info=True)
        message = sentence(error)
        if not isinstance(error, _FAILURES):
            message = f"{type(error).__name__}: {message} ({_UNFORESEEN})"
        if n_written is not None:
            message = (
                f"its {n_written} spots are written, but not the picture: {message}"
            )
        return Event("error", item.name, output, n_written or 0, message=message)
    n_dim = record["dim_specks_left_out"]
    return Event("result", item.name, output, len(spots), n_dim)


def _warn_lost_columns(lost: dict[str, list[str]], said: set[str]) -> None:
    """Say, once a run, what no file holds, and where spots of several places mix."""
    nowhere = set.intersection(*map(set, lost.values()))
    for suffix, columns in lost.items():
        missing = [c for c in columns if c in nowhere or c in PLACES.values()]
        if missing and suffix not in said:
            said.add(suffix)
            logger.warning("%s files cannot hold %s", suffix, ", ".join(missing))


def _predict(
    item: Input, options: Options, check_scale: bool, said: set[str]
) -> tuple[Image, pd.DataFrame, dict[str, Any]]:
    image = io.read_image(
        item.path,
        axes=options.axes,
        pixel_size=options.pixel_size,
        rgb=options.channel is not None,
        truncated=options.truncated,
    )
    if check_scale:
        warning = scale_warning(image, options.model, options.channel)
        if warning is not None:
            logger.warning("%s: %s", item.name, warning)
    _warn(item, image_warning(image.middle_plane(options.channel).data), said)
    scale = options.scale
    if scale == "auto":
        scale = choose_scale(image, options.model, options.channel)
    spots = predict_image(image, options.model, replace(options, scale=scale))
    if options.threshold is options.fdr is None:
        _warn(item, doubt_warning(spots), said)
    _warn(item, series_warning(spots, image.size("Z")), said)
    name = _safe_name(item.name)
    names = [name] * len(spots)
    spots.insert(0, "image", pd.Series(names, dtype=str))
    size = image.pixel_size
    record = {
        "image": name,
        "path": identity(item.path),
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


def _safe_name(name: str) -> str:
    """Name of an image for a table: spreadsheets run a cell that begins like a formula."""
    name = writable(name)
    return f"./{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


def _warn(item: Input, warning: str | None, said: set[str]) -> None:
    """Log a warning about an image, once a run for each kind of warning."""
    kind = " ".join(w for w in (warning or "").split() if w.isalpha())
    if warning is not None and kind not in said:
        said.add(kind)
        logger.warning("%s: %s", item.name, warning)


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
        about = table.with_suffix(".json")
        before = io.read_sidecar(about)
        if before is None:
            raise ValueError(
                f"{table} has no readable {table.with_suffix('.json').name} beside it; "
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
        path = identity(item.path)
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
            write_json(sidecar(self.options, self.records), path.with_suffix(".json"))
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
