"""End cleanly on Ctrl-C and SIGTERM: what is done is written, and the program ends."""

from __future__ import annotations

import _thread
import os
import signal
import socket
import sys
import threading
import time

GRACE = 10.0  # s, to write what is done; schedulers kill after 30 s
AGAIN = 0.05  # s, until an interruption that was swallowed is raised again


def end_politely() -> None:
    """Make SIGTERM end the program as Ctrl-C does, after `GRACE` seconds at the latest.

    Python runs a signal's handler between its own instructions. A library call that
    does not return would block it for ever, so a thread then ends the program. And
    where the handler happens to run inside a destructor or the callback of a weak
    reference, Python drops the exception: it is then raised once more.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = _unraisable
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, writer), daemon=True).start()


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
    """Wait for SIGTERM; holding `writer` prevents it from being closed."""
    while signal.SIGTERM not in reader.recv(64):
        pass
    time.sleep(GRACE)
    sys.stderr.write("Error: interrupted while a library did not answer\n")
    sys.stderr.flush()
    os._exit(130)
