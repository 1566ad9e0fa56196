"""The command line: one thin function per command.

torch and pandas take seconds to import, so commands import what they need themselves.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import typer

from blinkcore import limits
from blinkcore.cli import (
    colocalize,
    convert,
    dataset,
    dataset_images,
    detach,
    evaluate,
    export,
    hosts,
    link,
    merge,
    models,
    predict,
    report,
    run,
    simulate,
    train,
)
from blinkcore.cli.app import app
from blinkcore.cli.console import WRONG_USAGE, Report, is_status
from blinkcore.cli.interrupt import end_politely
from blinkcore.files import error_sentence, escaped

__all__ = [
    "app", "colocalize", "convert", "dataset", "dataset_images", "detach", "evaluate", "export", "hosts", "link", "main", "merge", "models", "predict", "report", "run", "simulate", "train",
]  # fmt: skip


# The commands that most people need come first in --help.
_FIRST = ("predict", "run", "report", "link", "colocalize", "merge")
app.registered_commands.sort(
    key=lambda command: (*_FIRST, command.callback.__name__).index(  # type: ignore[union-attr]
        command.callback.__name__  # type: ignore[union-attr]
    )
)


def main() -> None:
    """Run the command line."""
    end_politely()
    for stream in (sys.stdout, sys.stderr):  # consoles that cannot show µ
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] = _from_file(sys.argv[1:])
    status = _status_of(arguments)
    if status is not None and not is_status(status):
        status = None  # the user's own file, named by mistake: leave it alone
    if status is not None:
        # Of an older run: it must not be taken for this one's.
        with suppress(OSError):
            status.unlink()
    sys.exit(_run(arguments, status))


def _from_file(words: list[str]) -> list[str]:
    """Replace ``@FILE`` by the arguments in it, one a line: hosts need not quote."""
    if len(words) != 1 or not words[0].startswith("@"):
        return words
    path = Path(words[0][1:])
    try:
        limits.check_file(path, limits.LIST)
        content = path.read_bytes()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:  # Java 8 on Windows writes in the system's encoding
            text = content.decode("mbcs" if sys.platform == "win32" else "latin-1")
        return text.replace("\r\n", "\n").rstrip("\n").split("\n")
    except (OSError, ValueError) as error:
        what = (
            error_sentence(error) if isinstance(error, OSError) else f"{path}: {error}"
        )
        sys.stderr.write(f"Error: {what}; the arguments are read from it, one a line\n")
        raise SystemExit(2) from error


def _run(arguments: list[str], status: Path | None) -> int:
    """Run a command and give the exit code; wrong usage reaches the status too."""
    try:
        _check_not_empty(arguments)
        code = app(arguments, standalone_mode=False)
    except Exception as error:
        # A usage error of click, or of Typer's copy of click, depending on the version.
        if not hasattr(error, "format_message"):
            raise
        error.show()  # type: ignore[attr-defined]
        code = WRONG_USAGE
        if status is not None:
            with suppress(typer.Exit):
                Report("none", status).end(code, escaped(error.format_message()))
    return code if isinstance(code, int) else 0


def _check_not_empty(words: list[str]) -> None:
    """Refuse empty words: an empty path would be taken for the current folder."""
    for before, word in pairwise(["", *words]):
        name, mark, value = word.partition("=")
        if not word or (name.startswith("--") and mark and not value):
            option = name or (before if before.startswith("-") else "an argument")
            raise typer.BadParameter(f"{option} is empty: is a variable not set?")


def _status_of(words: list[str]) -> Path | None:
    """Return the file of --status, before Typer has parsed the words."""
    for word, following in pairwise([*words, ""]):
        name, _, value = word.partition("=")
        if name == "--status" and (value or following):
            return Path(value or following)
    return None
