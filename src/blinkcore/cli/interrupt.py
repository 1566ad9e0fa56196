"""End cleanly on SIGTERM: what is done is written, and the program surely ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

GRACE = 10.0  # s, to write what is done; schedulers kill after 30 s


def end_politely() -> None:
    """Make SIGTERM end the program as Ctrl-C does, after `GRACE` seconds at the latest.

    Python runs a signal's handler between its own instructions. A library call that
    does not return would block it for ever, so a thread then ends the program.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, writer), daemon=True).start()


def _watch(reader: socket.socket, writer: socket.socket) -> None:
    """Wait for SIGTERM; holding `writer` prevents it from being closed."""
    while signal.SIGTERM not in reader.recv(64):
        pass
    time.sleep(GRACE)
    sys.stderr.write("Error: interrupted while a library did not answer\n")
    sys.stderr.flush()
    os._exit(130)
