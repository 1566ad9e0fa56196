"""Runs the blinkcore program for a host: progress, cancel, one sentence when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_POLL, _GRACE = 0.1, 0.7  # seconds between two checks, and until it is killed


class ProgramError(RuntimeError):
    """The program failed; the message is its last error message."""


class Canceled(Exception):
    """The host does not want the result any more."""


def run(
    words: Sequence[str],
    status: Path | None = None,
    tell: Callable[[dict[str, Any]], None] | None = None,
    is_canceled: Callable[[], bool] = lambda: False,
) -> str:
    """Run the program and wait for it, or end it if the host cancels.

    Parameters
    ----------
    words : sequence of str
        Its arguments.
    status : Path, optional
        Status file, if one is among them; then it is no error here if some images fail.
    tell : callable, optional
        Called with each event of its progress, and with each warning.
    is_canceled : callable
        Called ten times a second; the program is ended if it returns True.

    Returns
    -------
    str
        Its standard output.
    """
    if status is not None:
        words = [*words, "--progress", "json"]
    # Run by this Python, since PATH may lack the program, without KNIME's PYTHONPATH.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    program = subprocess.Popen(
        [sys.executable, "-m", "blinkcore", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=env | {"PYTHONIOENCODING": "utf-8"},
    )
    output, said, canceled = _follow(program, tell, is_canceled)
    if canceled:
        raise Canceled
    some_failed = program.returncode == 1 and status is not None and status.exists()
    if program.returncode and not some_failed:
        raise ProgramError(
            said[-1] if said else "blinkcore failed without an error message"
        )
    return output


def _follow(
    program: subprocess.Popen[str],
    tell: Callable[[dict[str, Any]], None] | None,
    is_canceled: Callable[[], bool],
) -> tuple[str, list[str], bool]:
    """Read until it ends; give output, messages, and whether it had to be ended."""
    output: list[str] = []
    said: list[str] = []
    with program:
        readers = [
            threading.Thread(target=_read_output, args=(program, output)),
            threading.Thread(target=_read_events, args=(program, said, tell)),
        ]
        for reader in readers:
            reader.start()
        while program.poll() is None and not is_canceled():
            readers[1].join(_POLL)
        canceled = program.poll() is None
        if canceled:
            _end(program)
        for reader in readers:
            reader.join()
    return "".join(output), said, canceled


def _end(program: subprocess.Popen[str]) -> None:
    """Ask it to end, and kill it if it does not finish its files in time."""
    program.terminate()
    try:
        program.wait(_GRACE)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _read_output(program: subprocess.Popen[str], output: list[str]) -> None:
    assert program.stdout is not None
    output.extend(program.stdout)


def _read_events(
    program: subprocess.Popen[str],
    said: list[str],
    tell: Callable[[dict[str, Any]], None] | None,
) -> None:
    assert program.stderr is not None
    for line in program.stderr:
        try:
            event = json.loads(line)
            if not isinstance(event, dict):
                raise ValueError("not an event")  # noqa: TRY004
        except ValueError:
            text = line.strip()
            if not text.startswith("Warning: "):
                said.append(text.removeprefix("Error: "))
                continue
            event = {"event": "warning", "message": text.removeprefix("Warning: ")}
        if event.get("event") == "error":
            said.append(str(event["message"]))
        if tell is not None:
            tell(event)


def words(options: dict[str, Any]) -> list[str]:
    """Give the words of a command line for options; None and False are left out."""
    given: list[str] = []
    for name, value in options.items():
        if value is True:
            given.append(name)
        elif value is not None and value is not False:
            given += [name, str(value)]
    return given
