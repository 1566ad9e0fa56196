"""The command line: one thin function a command.

torch and pandas take seconds to import, so commands import what they need themselves.
"""

from __future__ import annotations

import io
import signal
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from blinkcore.cli import data, models, predict, score, train
from blinkcore.cli.app import app

__all__ = ["app", "data", "main", "models", "predict", "score", "train"]


def main() -> None:
    """Run the command line."""
    # A host that cancels sends SIGTERM; finished results are kept as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):  # consoles that cannot show µ
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] = _from_file(sys.argv[1:])
    _forget_old_status(arguments)
    app(arguments)


def _from_file(words: list[str]) -> list[str]:
    """Replace ``@FILE`` by the arguments in it, one a line: hosts need not quote."""
    if len(words) != 1 or not words[0].startswith("@"):
        return words
    path = Path(words[0][1:])
    try:
        return path.read_text("utf-8").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"Error: {path}: the arguments cannot be read: {error}\n")
        raise SystemExit(2) from error


def _forget_old_status(words: list[str]) -> None:
    """Remove an older run's status: wrong usage may end this one before it writes its."""
    for word, following in pairwise([*words, ""]):
        name, _, value = word.partition("=")
        if name == "--status":
            with suppress(OSError):
                Path(value or following).unlink()
