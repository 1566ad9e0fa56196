"""Messages of a command to the user and to the program that called it.

Results go to files, messages go to stderr: as sentences, or with ``--progress json``
as one object per line; ``--status`` writes a summary to a file.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import typer

from blinkcore.cli.messages import log, say, settings, warn
from blinkcore.cli.progress import Bar
from blinkcore.files import error_sentence, escaped, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from blinkcore.batch.inputs import Event

_OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory")  # of PyTorch
_EVERY = 0.5  # s between events of planes and tiles
SOME_FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


class Report:
    """Reports to the user, and to `--status`, what became of each input.

    Parameters
    ----------
    progress : {"bar", "json", "none"} or None
        How to show progress; None: a bar if stderr is a terminal, unless --quiet.
    status : Path or None
        File for the summary at the end.
    """

    def __init__(self, progress: str | None, status: Path | None) -> None:
        wanted = "bar" if sys.stderr.isatty() and not settings.quiet else "none"
        self.progress = progress or wanted
        self.status = status
        self.total = 0
        self.events: list[Event] = []
        self.bar = Bar()
        settings.above_bars = self.bar.say
        self.last_event = 0.0

    def start(self, total: int) -> None:
        """Begin to report on this many inputs."""
        self.total = total
        if self.progress == "bar":
            self.bar.start(total)

    def advance(self, image: str, unit: str, done: int, total: int) -> None:
        """Say how many planes of an image are done, or how many tiles of a plane."""
        if total == 1:
            return
        if self.progress == "json":
            now = time.monotonic()
            if now - self.last_event > _EVERY or done == total:
                self.last_event = now
                what = {"image": image, "done": done, "total": total}
                self._print({"event": unit, **what})
        else:
            self.bar.advance(escaped(image), unit, done, total)

    def add(self, event: Event) -> None:
        """Say what became of one input."""
        self.events.append(event)
        if self.progress == "json":
            log(_event_sentence(event))
            self._print_json(event)
        elif event.kind == "error" or (event.kind == "result" and event.output != "-"):
            say(_event_sentence(event), is_urgent=event.kind == "error")
        self.bar.input_done()

    def tell(self, text: str, *, is_warning: bool) -> None:
        """Report a warning or a note."""
        text = escaped(text)
        if self.progress == "json":
            log(text)
            self._print({"event": "warning" if is_warning else "log", "message": text})
        elif is_warning:
            warn(text)
        else:
            say(text)

    def finish(self) -> NoReturn:
        """Report the totals, write the status and end with the exit code."""
        failed = self._of("error")
        self.bar.stop()
        if self.progress == "json":
            log(self._summary())
        else:
            say(self._summary())
        self.end(
            SOME_FAILED if failed else 0,
            _located(failed[0]) if failed else None,
        )

    def end(self, code: int, error: str | None) -> NoReturn:
        """Write the status and end with an exit code."""
        if self.status is not None and self.status.suffix.lower() != ".json":
            code = code or WRONG_USAGE  # as `predict` says before it begins
        elif self.status is not None and not is_status(self.status):
            _say_error(f"--status {self.status} is a file of another kind")
            code = code or WRONG_USAGE
        elif self.status is not None:
            try:
                self._write_status(code, error)
            except OSError as problem:
                _say_error(f"--status {self.status}: {problem.strerror}")
                code = code or SOME_FAILED
        raise typer.Exit(code)

    def fail(self, code: int, message: str) -> NoReturn:
        """End because of an error that concerns all inputs."""
        self.bar.stop()
        if self.progress == "json":
            log(f"Error: {message}")
            self._print({"event": "error", "image": None, "message": message})
        else:
            _say_error(message)
        self.end(code, message)

    def interrupted(self) -> NoReturn:
        """End because the user or the host program interrupted the run."""
        done = len(self.events) - len(self._of("error"))
        if not self.total:
            self.fail(INTERRUPTED, "interrupted")
        self.fail(
            INTERRUPTED,
            f"interrupted after {done} of {self.total} images; what is done is kept, "
            "--skip-existing continues from there",
        )

    def _of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    def _summary(self) -> str:
        results = self._of("result")
        failed, skipped = len(self._of("error")), len(self._of("skipped"))
        spots = sum(e.spots for e in results)
        text = f"{count_of(spots, 'spot')} in {count_of(len(results), 'image')}"
        if skipped:
            text += f", {skipped} skipped"
        if failed:
            text += f", {failed} failed"
        outputs = {e.output for e in results if e.output != "-"}
        if len(outputs) == 1:
            text += f"; written to {outputs.pop()}"
        elif outputs:
            text += f"; written to {os.path.commonpath(outputs) or '.'}"
        return escaped(text)

    def _print_json(self, event: Event) -> None:
        if event.kind == "result":
            what: dict[str, object] = {"output": event.output, "spots": event.spots}
            what["dim_specks"] = event.dim_specks
            self._print({"event": "result", "image": event.image, **what})
        elif event.kind == "error":
            what = {"image": event.image, "message": event.message}
            self._print({"event": "error", **what})
        done = len(self.events)
        self._print(
            {
                "event": "progress",
                "done": done,
                "total": self.total,
                "item": event.image,
            }
        )

    def _write_status(self, code: int, error: str | None) -> None:
        results, failed = self._of("result"), self._of("error")
        content = {
            "ok": code == 0,
            "exit_code": code,
            "error": error,
            "outputs": sorted({e.output for e in results}),
            "images": {
                "total": self.total,
                "done": len(results),
                "skipped": len(self._of("skipped")),
                "failed": len(failed),
            },
            "spots": sum(e.spots for e in results),
            "failed": [
                {"image": e.image, "message": e.message}
                | ({"details": e.details} if e.details else {})
                for e in failed
            ],
        }
        if self.status is not None:
            write_json(content, self.status)

    def _print(self, event: dict[str, object]) -> None:
        sys.stderr.write(json.dumps(event) + "\n")
        sys.stderr.flush()


def _say_error(message: str) -> None:
    say(f"Error: {message}", is_urgent=True)


def is_status(path: Path) -> bool:
    """Return whether a status may be written: the file is missing, or an earlier status."""
    if path.suffix.lower() != ".json":
        return False
    if not path.is_file():
        return not path.exists()
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "ok" in content


class _ToReport(logging.Handler):
    """Passes log records on to a `Report`."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report

    def emit(self, record: logging.LogRecord) -> None:
        is_warning = record.levelno >= logging.WARNING
        lines = record.getMessage().splitlines() if record.exc_info else []
        if record.exc_info:  # of --debug
            lines += logging.Formatter().formatException(record.exc_info).splitlines()
        for line in lines or [record.getMessage()]:
            self.report.tell(line, is_warning=is_warning and not record.exc_info)


class ErrorReporter:
    """Turn errors into one sentence and an exit code."""

    def __init__(
        self, debug: bool, report: Report | None = None, *, verbose: bool = False
    ) -> None:
        self.debug, self.verbose = debug, verbose or settings.verbose
        self.report = report or Report("none", None)

    def __enter__(self) -> None:
        logging.basicConfig(
            level=logging.DEBUG if self.debug else logging.WARNING,
            handlers=[_ToReport(self.report)],
            format="%(message)s",
        )
        if self.verbose:
            logging.getLogger("blinkcore").setLevel(logging.INFO)
        # tifffile's complaints become our sentences.
        logging.getLogger("tifffile").propagate = self.debug
        logging.getLogger("tifffile").addHandler(logging.NullHandler())

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        if error is not None:
            self.report.bar.stop()
        if isinstance(error, KeyboardInterrupt):
            self.report.interrupted()
        if isinstance(error, BrokenPipeError):  # the reader of our output has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.report.end(SOME_FAILED, "standard output was closed")
        if isinstance(error, RecursionError):  # of a file made to do harm
            error = ValueError("a file that was read is nested too deeply")
        if isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)):
            error = MemoryError()
        if isinstance(error, (ValueError, OSError, ImportError, MemoryError)):
            logging.getLogger(__name__).debug("", exc_info=error)
            started = bool(self.report.events)
            self.report.fail(
                SOME_FAILED if started else WRONG_USAGE, error_sentence(error)
            )
        if isinstance(error, Exception) and not isinstance(error, typer.Exit):
            # Our own mistake: the traceback is shown, and the status tells the host.
            with suppress(typer.Exit):
                self.report.end(SOME_FAILED, f"internal error: {error_sentence(error)}")


def _event_sentence(event: Event) -> str:
    """Say what became of an input, in a line."""
    if event.kind == "error":
        return f"Error: {_located(event)}"
    if event.kind == "skipped":
        return f"{escaped(event.image)}: skipped, {event.message}"
    return f"{escaped(event.image)}: {count_of(event.spots, 'spot')}{_dim(event)}"


def _located(event: Event) -> str:
    """Return an error with the input's name, unless it contains that already."""
    name, message = escaped(event.image), event.message
    return message if name in message else f"{name}: {message}"


def _dim(event: Event) -> str:
    """Say how many dim specks were left out, if they are many enough to mention."""
    if event.dim_specks < 10 or event.dim_specks < 0.1 * event.spots:
        return ""
    return f" ({event.dim_specks} dim specks left out; --dim keeps them)"


def count_of(n: int, word: str) -> str:
    """Return a count with its noun, in the plural unless the count is 1."""
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
