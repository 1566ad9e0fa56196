"""Try a model in a process of its own, with limits of time and memory.

What a network does with its first image is known only by running it, and native code
cannot be stopped from within the same process. How long a file takes to be checked and
loaded is known only by doing it, too.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from blinkcore.limits import GIB

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 15.0  # a small image takes milliseconds
_MEMORY = GIB  # bytes, besides what this process has and four times the file
IS_POSSIBLE = sys.platform == "linux"  # to copy this process, and to limit the copy
_PASSED = b"passed"


def try_in_sandbox(
    check: Callable[[], object], what: str = "its network", n_bytes: int = 0
) -> None:
    """Call a function in a copy of this process that ends after it.

    Where a process cannot be copied (Windows, macOS) the function is called here.

    Parameters
    ----------
    check : callable
        Raises ValueError with a sentence if the model is of no use.
    what : str
        What is tried, for the sentences.
    n_bytes : int
        Size of the file: it may be in memory some times.

    Raises
    ------
    ValueError
        Of the function; or if it takes more than 15 s or 1 GiB (and what the file itself
        takes), or ends its process.
    """
    if not IS_POSSIBLE:
        check()
        return
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads; see _in_child
        child = os.fork()
    if child == 0:
        _in_child(check, what, n_bytes, writing)
    os.close(writing)
    try:
        answer = _answer(reading, what)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if answer != _PASSED:
        message = answer.decode("utf-8", "replace")
        raise ValueError(message or f"{what} ends the process in which it runs")


def _in_child(
    check: Callable[[], object], what: str, n_bytes: int, writing: int
) -> None:
    """Call the function, write what came of it, and end without any cleaning up."""
    try:
        import resource

        if "torch" in sys.modules:
            # Threads do not survive the copy, so that waiting for them would never end.
            sys.modules["torch"].set_num_threads(1)
        limit = psutil.Process().memory_info().vms + _MEMORY + 4 * n_bytes
        _, most = resource.getrlimit(resource.RLIMIT_AS)  # as a cluster may have set it
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        check()
        answer = _PASSED
    except ValueError as error:
        answer = str(error).encode("utf-8", "replace")
    except MemoryError:
        answer = f"{what} needs too much memory".encode()
    except BaseException as error:  # noqa: BLE001, this process ends here
        answer = f"{what} fails: {type(error).__name__}".encode()
    finally:
        with suppress(OSError):
            os.write(writing, answer)
        os._exit(0)


def _answer(reading: int, what: str) -> bytes:
    """Read what the child writes; empty if it ended without output."""
    end = time.monotonic() + _SECONDS
    content = b""
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select([reading], [], [], left)
        if not ready:
            break
        part = os.read(reading, 65536)
        if not part:
            return content
        content += part
    return f"{what} does not come back within {_SECONDS:.0f} s".encode()
