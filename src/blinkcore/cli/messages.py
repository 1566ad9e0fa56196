"""What commands say: sentences on stderr and in the log, results on stdout.

Every command takes --verbose, --quiet and --log-file. Names of files may hold line breaks
and what a terminal runs, so each sentence is escaped.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blinkcore.files import check_regular, error_sentence, escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNNING = "How it runs"  # a group of options


def check_log(path: Path | None) -> Path | None:
    """Refuse a --log-file that cannot be written, or that is something else than a log."""
    if path is None:
        return None
    try:
        if not path.exists():
            if not os.access(path.parent, os.W_OK):
                raise typer.BadParameter(f"{path} cannot be written")
            return path
        if path.is_char_device():  # such as /dev/stderr
            return path
        check_regular(path)
        with path.open("r+b") as file:
            start = file.read(11)
    except OSError as error:
        raise typer.BadParameter(error_sentence(error)) from error
    if start and not re.fullmatch(rb"\d{4}-\d\d-\d\d ", start):
        raise typer.BadParameter(f"{path} is not a log of blinkcore")
    return path


OPTIONS = {
    "log_file": (
        Annotated[
            Path | None,
            typer.Option(
                callback=check_log,
                help="File to which all messages are appended, with the time.",
                rich_help_panel=RUNNING,
            ),
        ],
        None,
    ),
    "verbose": (
        Annotated[
            bool,
            typer.Option(
                "--verbose",
                "-v",
                help="Say more about what is done.",
                rich_help_panel=RUNNING,
            ),
        ],
        False,
    ),
    "quiet": (
        Annotated[
            bool,
            typer.Option(
                "--quiet",
                "-q",
                help="Say nothing but errors; no progress.",
                rich_help_panel=RUNNING,
            ),
        ],
        False,
    ),
}


@dataclass
class Settings:
    """How much the command that runs says, and where."""

    log_file: Path | None = None
    verbose: bool = False
    quiet: bool = False
    above_bars: Callable[[str], bool] | None = None  # writes a line above progress bars

    def words(self) -> list[str]:
        """Return the options for another command that is to say as much."""
        words = ["--quiet"] * self.quiet + ["--verbose"] * self.verbose
        if self.log_file is not None:
            words += ["--log-file", str(self.log_file.absolute())]
        return words


settings = Settings()


@contextmanager
def _set(**chosen: Any) -> Iterator[None]:
    before = replace(settings)
    vars(settings).update(chosen)
    try:
        yield
    finally:
        vars(settings).update(vars(before))


def with_messages(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add to a command the options --log-file, --verbose and --quiet."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **values: Any) -> Any:
        chosen = {name: values.pop(name) for name in OPTIONS}
        if chosen["verbose"] and chosen["quiet"]:
            raise typer.BadParameter("--verbose and --quiet exclude each other")
        with _set(**chosen):
            return command(*arguments, **values)

    # Typer reads names, defaults and types from here, whatever its version.
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())
    added = [
        inspect.Parameter(name, own[0].kind, default=default, annotation=type_)
        for name, (type_, default) in OPTIONS.items()
    ]
    is_last = [one.name == "debug" for one in own]
    before = [one for one, last in zip(own, is_last, strict=True) if not last]
    after = [one for one, last in zip(own, is_last, strict=True) if last]
    signature = signature.replace(parameters=[*before, *added, *after])
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    wrapped.__annotations__ = {
        one.name: one.annotation for one in signature.parameters.values()
    }
    return wrapped


class App(typer.Typer):
    """Typer's program, each command of which takes the options of `with_messages`."""

    def command(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """Register a command."""
        register = super().command(*arguments, **options)
        return lambda command: register(with_messages(command))


def say(text: str, *, is_urgent: bool = False) -> None:
    """Write a sentence on stderr and in the log; with --quiet only if it is urgent."""
    line = escaped(text)
    log(line)
    if settings.quiet and not is_urgent:
        return
    if settings.above_bars is None or not settings.above_bars(line):
        typer.echo(line, err=True)


def warn(text: str) -> None:
    """Write a warning, as `say` does."""
    say(f"Warning: {text}")


def print_line(text: str = "") -> None:
    """Write a line of a result on stdout."""
    typer.echo(escaped(text))


def log(line: str) -> None:
    """Add a line to the log; report once if the log cannot be written."""
    if settings.log_file is None:
        return
    try:
        with settings.log_file.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
    except OSError as error:
        settings.log_file = None
        typer.echo(f"Error: --log-file {error_sentence(error)}", err=True)
