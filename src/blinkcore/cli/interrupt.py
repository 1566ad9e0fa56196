"""End cleanly on Ctrl-C, SIGTERM and a closed terminal: what is done is written first."""

from __future__ import annotations

import _thread
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

GRACE = 10.0  # s, to write what is done; schedulers kill after 30 s
AGAIN = 0.05  # s, until an interruption that was swallowed is raised again


def end_politely() -> None:
    """Make SIGTERM and SIGHUP end the program as Ctrl-C does, within `GRACE` seconds.

    SIGHUP comes when the terminal is closed or the connection to it is lost; under `nohup`
    it is ignored, and stays so.

    Python runs a signal's handler between its own instructions. A library call that
    does not return would block it for ever, so a thread then ends the program. And
    where the handler happens to run inside a destructor or the callback of a weak
    reference, Python drops the exception: it is then raised once more.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _HangUp())
    sys.unraisablehook = _unraisable
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, writer), daemon=True).start()


class _HangUp:
    """Handler of SIGHUP."""

    def __init__(self) -> None:
        self._terminals = [number for number in (1, 2) if os.isatty(number)]

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the program after its terminal was closed."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for terminal in self._terminals:  # writing to it would be an error
            os.dup2(nowhere, terminal)
        signal.default_int_handler(number, frame)


def _unraisable(dropped: sys.UnraisableHookArgs) -> None:
    """Raise an interruption again, later, and report other exceptions as always."""
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        threading.Timer(AGAIN, _interrupt).start()  # here it would be dropped again
    else:
        sys.__unraisablehook__(dropped)


def _interrupt() -> None:
    """Raise KeyboardInterrupt in the main thread; on POSIX also while it waits."""
    # SIGINT, unless a shell has it ignored; SIGTERM would start the time of `_watch`.
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    number = signal.SIGINT if is_ours else signal.SIGTERM
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, number)


def _watch(reader: socket.socket, writer: socket.socket) -> None:
    """Wait for one of these signals; holding `writer` prevents it from being closed."""
    ends = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    while not ends.intersection(reader.recv(64)):
        pass
    time.sleep(GRACE)
    with suppress(OSError):
        sys.stderr.write("Error: interrupted while a library did not answer\n")
        sys.stderr.flush()
    os._exit(130)
