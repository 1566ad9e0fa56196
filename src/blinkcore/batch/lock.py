"""One writer at a time for a result: a lock file that names its owner."""

from __future__ import annotations

import getpass
import json
import os
import socket
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a result.

    Parameters
    ----------
    path : Path
        Of the result; the lock lies beside it, as `.NAME.lock`. Its folder is made.

    Raises
    ------
    ValueError
        If another run holds it; the message names it. A lock whose process is gone, on
        this computer, is taken over.
    """
    lock = path.with_name(f".{path.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    _take(lock, path)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()


def _take(lock: Path, path: Path) -> None:
    if _create(lock):
        return
    owner = _read(lock)
    if _is_gone(owner):
        lock.unlink(missing_ok=True)
        if _create(lock):
            return
        owner = _read(lock)
    raise ValueError(
        f"another run is writing {path} ({_named(owner)}); if it is not, remove {lock}"
    )


def _create(lock: Path) -> bool:
    """Whether the lock was free, and is ours now."""
    try:
        with lock.open("x", encoding="utf-8") as file:
            json.dump(_owner(), file)
    except FileExistsError:
        return False
    return True


def _owner() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "user": getpass.getuser(),
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _read(lock: Path) -> dict[str, Any]:
    try:
        content = json.loads(lock.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_gone(owner: dict[str, Any]) -> bool:
    """Whether the process that took a lock runs no longer; not known of other computers."""
    if not owner or owner.get("host") != socket.gethostname():
        return False
    try:
        started = psutil.Process(owner["pid"]).create_time()
    except (psutil.Error, KeyError, TypeError, ValueError):
        return True
    return abs(started - float(owner.get("started", started))) > 1.0  # a reused number


def _named(owner: dict[str, Any]) -> str:
    if not owner:
        return "its owner is not known"
    return (
        f"{owner.get('user')} on {owner.get('host')}, process {owner.get('pid')}, since "
        f"{owner.get('since')}"
    )
