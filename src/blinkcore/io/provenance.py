"""Say how results were made: when, by which command, with which options."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import blinkcore
from blinkcore.files import utf8_safe, write_json
from blinkcore.io.suffixes import format_of
from blinkcore.io.tables import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


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
    write_json(content, table.with_suffix(".json"))


def read_sidecar(path: Path) -> dict[str, Any] | None:
    """Read the description beside a result; None if it is missing or another file."""
    if path.suffix.lower() != ".json":
        return None
    try:
        content = parse_json(path)
    except (OSError, ValueError):
        return None
    ours = isinstance(content, dict) and "blinkcore" in content
    return content if ours and isinstance(content.get("images"), list) else None


def description_of(table: Path) -> dict[str, Any] | None:
    """Read the description beside a table of spots in any format; None if there is none.

    That of `a.napari.csv` is `a.json`, unless an image called `a.napari` has its own.
    """
    suffix = format_of(table) or table.suffix
    beside = table.with_name(table.name[: len(table.name) - len(suffix)] + ".json")
    own = read_sidecar(table.with_suffix(".json"))
    return own if own is not None else read_sidecar(beside)
