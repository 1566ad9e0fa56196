"""Say how results were made: when, by which command, with which options."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import blinkcore
from blinkcore.files import writable, write_json
from blinkcore.io.tables import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIX = ".provenance.json"


def made_now() -> dict[str, Any]:
    """Return the time, and the command of the run that is under way."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": [writable(word) for word in sys.argv],
    }


def write_provenance(folder: Path, step: str, about: Mapping[str, Any]) -> None:
    """Write how the results in a folder were made, as `STEP.provenance.json`.

    Parameters
    ----------
    folder : Path
        Of the results.
    step : str
        Name of the command, such as `link`.
    about : mapping
        Its inputs and options, of types that JSON has.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    content = {"blinkcore": blinkcore.__version__, **made_now(), "step": step, **about}
    write_json(content, folder / f"{step}{SUFFIX}")


def read_provenance(folder: Path, step: str) -> dict[str, Any] | None:
    """Read what `write_provenance` wrote; None if it is missing or another file."""
    try:
        content = parse_json(folder / f"{step}{SUFFIX}")
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "blinkcore" in content else None
