"""The one table of all inputs of a run."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from blinkcore import io
from blinkcore.batch.inputs import identity, is_of
from blinkcore.batch.results import sidecar
from blinkcore.files import write_json
from blinkcore.io import tables
from blinkcore.io.provenance import check_own
from blinkcore.io.suffixes import sidecar_path
from blinkcore.spots import MISSING_VALUES, ordered

if TYPE_CHECKING:
    from blinkcore.batch.inputs import Input
    from blinkcore.batch.options import Options

# Errors that files, memory and libraries are known to raise.
FAILURES = (OSError, ValueError, RuntimeError, MemoryError, ImportError)

# Of a run without images, such as one of more array jobs than there are images.
_NO_SPOTS = pd.DataFrame({n: [] for n in ("image", "y", "x", "probability")})


@dataclass
class Collected:
    """The one table of all inputs, and what it already holds."""

    options: Options
    parts: list[pd.DataFrame] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)  # image, error
    written: float = field(default_factory=time.monotonic)
    earlier: dict[str, dict[str, Any]] = field(default_factory=dict)  # records, by path

    @classmethod
    def start(cls, options: Options) -> Collected:
        """Begin a table, or continue the existing one if asked to.

        Raises
        ------
        OSError, ValueError
            If the existing table cannot be read, was made in another way, or is not ours.
        """
        table = options.output
        collected = cls(options)
        if table is not None:
            check_own(table)
        if table is None or not options.skip_existing or not table.exists():
            return collected
        about = sidecar_path(table)
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
        # Rows of an unrecorded image are from an interrupted run: it is done again.
        known = [record["image"] for record in before["images"]]
        collected.parts = [spots[spots["image"].isin(known)]]
        collected.records = before["images"]
        collected.earlier = {r["path"]: r for r in collected.records if "path" in r}
        return collected

    def record_of(self, item: Input) -> dict[str, Any] | None:
        """Return the record of an input that is in the table already."""
        record = self.earlier.get(identity(item.source), {})
        return record if is_of(record, item) else None

    def add(self, spots: pd.DataFrame, record: dict[str, Any]) -> None:
        """Add an image's spots; write the table every half minute.

        Rows of the same file before it was changed are dropped.

        Raises
        ------
        ValueError
            If rows of another file have the same name, so that they cannot be told apart.
        """
        before = self.earlier.get(record["path"])
        if before is not None:
            name = before["image"]
            if sum(other["image"] == name for other in self.records) > 1:
                raise ValueError(
                    f"{name} was changed, but {self.options.output} holds two images of "
                    "this name; make the table anew without --skip-existing"
                )
            del self.earlier[record["path"]]
            self.parts = [p[p["image"] != name] for p in self.parts]
            self.records = [r for r in self.records if r is not before]
        self.parts.append(spots)
        self.records.append(record)
        if time.monotonic() - self.written > 30:
            self.write()

    def write(self, *, last: bool = False) -> None:
        """Write the table so far.

        Raises
        ------
        OSError
            If the last write fails; a copy is saved elsewhere, which the message names.
        """
        path = self.options.output
        if not self.parts and (path is None or path.exists()):
            return  # what an earlier run has found is better than nothing
        table = joined(self.parts) if self.parts else _NO_SPOTS
        if path is None:
            if last:
                tables.write_to(table, sys.stdout.buffer, self.options.formats[0])
                sys.stdout.buffer.flush()
            return
        try:
            io.write_spots(table, path)
            about = sidecar(self.options, self.records)
            if self.failed:
                about["failed"] = self.failed
            write_json(about, sidecar_path(path))
        except FAILURES as error:
            if last:
                raise OSError(_rescued(table, path, error)) from error
        self.written = time.monotonic()


def joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Join spots tables; an image without frames, channels or z gets 0 for them.

    Positions in µm stay empty for an image whose pixel size is unknown. What else an image
    lacks: see `blinkcore.spots.MISSING_VALUES`.
    """
    filled = [part for part in parts if len(part)] or parts[:1]
    columns = {name for part in parts for name in part.columns}
    table = pd.concat(filled, ignore_index=True)
    for name in columns - set(table.columns):
        table[name] = np.nan
    known = {
        name: value for name, value in MISSING_VALUES.items() if name in table.columns
    }
    return ordered(table.fillna(known))


def _rescued(table: pd.DataFrame, path: Path, error: Exception) -> str:
    """Save a copy of an unwritable table elsewhere; return the error message."""
    reason = getattr(error, "strerror", None) or str(error)
    try:
        folder = Path(tempfile.mkdtemp(prefix="blinkcore-"))
        io.write_spots(table, folder / path.name)
    except FAILURES:
        return f"{path} could not be written ({reason}), nor a copy of it elsewhere"
    return (
        f"{path} could not be written ({reason}); it is saved as {folder / path.name}"
    )
