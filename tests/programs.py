"""Running the command line as a user does."""

import io
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from blinkcore import cli

BLINKCORE = Path(sys.executable).with_name("blinkcore")


def run_blinkcore(*arguments, **options):
    """Run the installed program to its end; gives its exit status and what it printed."""
    return subprocess.run(
        [BLINKCORE, *map(str, arguments)],
        capture_output=True,
        check=False,
        encoding="utf-8",
        errors="replace",
        timeout=300,
        **options,
    )


def call_blinkcore(*arguments, cwd=None):
    """Run the command line in this process, which need not load PyTorch again.

    For options and what is said about them; gives what `run_blinkcore` gives. Streams,
    signals and exit statuses of the program itself need `run_blinkcore`.
    """
    words, before = ["blinkcore", *map(str, arguments)], Path.cwd()
    numbers = [getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)]
    handlers, status = [signal.getsignal(number) for number in numbers], 0
    os.chdir(cwd or before)
    try:
        with (
            mock.patch.object(sys, "argv", words),
            redirect_stdout(_stream()) as out,
            redirect_stderr(_stream()) as err,
        ):
            cli.main()
    except SystemExit as end:
        status = end.code or 0
    finally:
        os.chdir(before)
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
    return SimpleNamespace(returncode=status, stdout=_text(out), stderr=_text(err))


def _stream():
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text(stream):
    return stream.buffer.getvalue().decode("utf-8").replace("\r\n", "\n")
