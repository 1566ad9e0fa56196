"""Say how results were made: when, by which command, with which options."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import blinkcore
from blinkcore.files import utf8_safe, write_json
from blinkcore.io import tables
from blinkcore.io.description_types import is_description
from blinkcore.io.suffixes import format_of, sidecar_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_OWN_COLUMNS = ({"image", "probability"}, {"y", "x", "track"}, {"y", "x", "partner"})


def made_now() -> dict[str, Any]:
    """Return the time, and the command of the run that is under way."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": [utf8_safe(word) for word in sys.argv],
    }


def describe_table(
    table: Path,
    step: str,
    options: Mapping[str, Any],
    images: Sequence[Mapping[str, Any]],
) -> None:
    """Write how a table was made from results of `blinkcore predict`, beside it (`.json`).

    Parameters
    ----------
    table : Path
        The table.
    step : str
        Name of the command, such as `link`.
    options : mapping
        Its options, of types that JSON has.
    images : sequence of mapping
        What is known of the images, see `blinkcore.io.results.ImageSpots.record`.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    content = {
        "blinkcore": blinkcore.__version__,
        **made_now(),
        "step": step,
        "options": dict(options),
        "images": list(images),
    }
    write_json(content, sidecar_path(table))


def read_sidecar(path: Path) -> dict[str, Any] | None:
    """Read the description beside a result; None if it is missing or another file."""
    if path.suffix.lower() != ".json":
        return None
    try:
        content = tables.parse_json(path)
    except (OSError, ValueError):
        return None
    return content if is_description(content) else None


def is_table_of_spots(path: Path) -> bool:
    """Return whether a file is a table that a command of blinkcore wrote, by its columns."""
    if not (tables.is_table(path) and path.exists()):
        return False
    try:
        columns = set(tables.read(path).columns)
    except (ValueError, ImportError, OSError):
        return False
    return any(own <= columns for own in _OWN_COLUMNS)


def check_own(table: Path) -> None:
    """Refuse to replace a file that no command of blinkcore has written.

    Parameters
    ----------
    table : Path
        Where a table is to go; its description goes beside it.

    Raises
    ------
    ValueError
        If one of these two files is there, and neither a description beside the table nor
        the columns of the table show that it is of blinkcore.
    """
    about = sidecar_path(table)
    if read_sidecar(about) is not None or is_table_of_spots(table):
        return
    for path in (table, about):
        if path.exists() and path.stat().st_size:
            raise ValueError(
                f"{path} is there and not a result of blinkcore; choose another output"
            )


def description_of(table: Path) -> dict[str, Any] | None:
    """Read the description beside a table of spots in any format; None if there is none.

    That of `a.napari.csv` is `a.json`, unless an image called `a.napari` has its own.
    """
    suffix = format_of(table) or table.suffix
    beside = table.with_name(table.name[: len(table.name) - len(suffix)] + ".json")
    own = read_sidecar(sidecar_path(table))
    return own if own is not None else read_sidecar(beside)
