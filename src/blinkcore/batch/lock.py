"""One writer at a time for a result: a lock file that names its owner."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from itertools import count
from typing import TYPE_CHECKING, Any

import psutil

from blinkcore.files import temporary_beside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_numbers = count()
_POLL, _TRIES = 0.05, 20  # seconds between two looks at a lock; tries to remove it


def lock_of(path: Path) -> Path:
    """Name the lock of a result: `.NAME.lock` beside it."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def locked(path: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of a result.

    Parameters
    ----------
    path : Path
        Of the result; the lock is beside it (see `lock_of`). Its folder is created.
    patience : float
        Seconds to wait for a run that holds it.

    Raises
    ------
    ValueError
        If another run holds it; the message names that run. A lock of a process of this
        computer that has ended is taken over.
    """
    lock, owner = lock_of(path), _owner()
    end = time.monotonic() + patience
    try:
        while not _took(lock, owner):
            if time.monotonic() >= end:
                raise ValueError(
                    f"another run is writing {path} ({_named(_read(lock))}); if it is "
                    f"not, remove {lock}"
                )
            time.sleep(_POLL)
        yield
    finally:  # also if the program was interrupted while it took the lock
        if _read(lock) == owner:
            _remove(lock)


def _remove(lock: Path) -> None:
    """Remove a lock; on Windows, again and again while another run looks at it."""
    for _ in range(_TRIES):
        with suppress(PermissionError):
            lock.unlink(missing_ok=True)
            return
        time.sleep(_POLL)


def _took(lock: Path, owner: dict[str, Any]) -> bool:
    """Take a lock that is free, or whose process has ended; tell whether it was."""
    if _create(lock, owner):
        return True
    if not _is_gone(_read(lock)):
        return False
    # Of several runs that see this, one gets the file.
    with temporary_beside(lock) as mine:
        try:
            lock.rename(mine)
        except OSError:
            return False
        is_gone = _is_gone(_read(mine))
        if not is_gone:  # another run has taken it in between: give it back
            with suppress(OSError):
                os.link(mine, lock)
    return is_gone and _create(lock, owner)


def _create(lock: Path, owner: dict[str, Any]) -> bool:
    """Create the lock, with its content or not at all; tell whether it was free."""
    content = json.dumps(owner)
    with temporary_beside(lock) as temporary:
        temporary.write_text(content, "utf-8")
        try:
            os.link(temporary, lock)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            try:
                with lock.open("x", encoding="utf-8") as file:
                    file.write(content)
            except (FileExistsError, PermissionError):  # Windows: it is being removed
                return False
    return True


def _owner() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "user": _user(),
        "number": next(_numbers),  # of a lock in this process
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run without a name
        return "someone"


def _read(lock: Path) -> dict[str, Any]:
    try:
        content = json.loads(lock.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_gone(owner: dict[str, Any]) -> bool:
    """Return whether a lock's process has ended; False if it is of another computer."""
    if not owner or owner.get("host") != socket.gethostname():
        return False
    try:
        started = psutil.Process(owner["pid"]).create_time()
        recorded = float(owner.get("started", started))
    except (psutil.Error, KeyError, TypeError, ValueError):
        return True
    return abs(started - recorded) > 1.0  # a reused number


def _named(owner: dict[str, Any]) -> str:
    if not owner:
        return "its owner is not known"
    return (
        f"{owner.get('user')} on {owner.get('host')}, process {owner.get('pid')}, since "
        f"{owner.get('since')}"
    )
