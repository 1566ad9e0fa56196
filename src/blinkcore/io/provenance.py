"""Say how results were made: when, by which command, with which options."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import blinkcore
from blinkcore.files import writable, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def made_now() -> dict[str, Any]:
    """Return the time, and the command of the run that is under way."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": [writable(word) for word in sys.argv],
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
