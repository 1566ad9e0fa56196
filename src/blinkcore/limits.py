"""Limits on what a file may hold: guards against files that are made to do harm.

The limits are far above what real files need. The environment variable
BLINKCORE_NO_LIMITS=1 lifts them all. BLINKCORE_MAX_MEMORY is the memory in bytes that the
pixels of an image may take; if it is not set, the free memory of the machine.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from blinkcore.files import check_regular

if TYPE_CHECKING:
    import zipfile

MIB, GIB = 1 << 20, 1 << 30

MODEL = GIB  # a model file, and all that is packed in it
EXPANDED_MODEL = 64 * MIB  # unpacked; below, the ratio does not matter
MODEL_EXPANSION = 4  # unpacked over packed: numbers are hardly smaller packed
MODEL_MEMBERS = 20_000  # files in it
MODEL_CODE = MIB  # text of its network
MODEL_METADATA = 16 * MIB
REGISTRY = 16 * MIB
LIST = 256 * MIB  # --list and @FILE
RECIPE = MIB  # YAML
TABLE = 4 * GIB  # of spots: CSV, Parquet, JSON
XML = GIB
SELECTIONS = 256 * MIB  # .roi and .zip, packed and unpacked
DATASET = 64 * GIB  # .npz, unpacked
EXPANDED_TABLE = 256 * MIB  # of a Parquet file; below, the ratio does not matter
PLANES = 10_000_000  # of an image
CHUNKS = 1_000_000  # of a plane
EXPANSION = 200  # unpacked over packed, of an archive of more than 1 GiB unpacked

_MEMORY = "BLINKCORE_MAX_MEMORY"
_SWITCH = "BLINKCORE_NO_LIMITS"


def check(value: float, limit: int, what: str) -> None:
    """Raise ValueError if a value exceeds its limit.

    Parameters
    ----------
    value : float
        Bytes, or a number of something.
    limit : int
        One of this module.
    what : str
        The value in words with its unit, for the message; `{}` stands for the number.
    """
    if value > limit and not _are_lifted():
        raise ValueError(
            f"{what.format(f'{value:,.0f}')}, more than the {limit:,} that are allowed; "
            f"if you trust it, set the environment variable {_SWITCH}=1"
        )


def check_file(path: Path, limit: int) -> None:
    """Raise ValueError if a file is larger than its limit; ignore a missing file.

    A device or a pipe has no size, and is refused with an OSError.
    """
    check_regular(path)
    with suppress(OSError):
        check(path.stat().st_size, limit, f"{path} has {{}} bytes")


def check_unpacked(archive: zipfile.ZipFile, limit: int, name: str) -> None:
    """Raise ValueError if the members of an archive are larger than allowed, unpacked."""
    total = sum(member.file_size for member in archive.infolist())
    check(total, limit, f"{name} has {{}} bytes in it")
    packed = sum(member.compress_size for member in archive.infolist())
    if total > GIB:
        what = f"{name} is unpacked to {{}} times its size"
        check(total / max(packed, 1), EXPANSION, what)


def check_expansion(unpacked: int, packed: int, name: str) -> None:
    """Raise ValueError if a table would be far larger in memory than its file.

    Parameters
    ----------
    unpacked, packed : int
        Bytes of its columns in memory, and of the file.
    name : str
        Of the file, for the message.
    """
    check(unpacked, TABLE, f"{name} has {{}} bytes in it")
    if unpacked > EXPANDED_TABLE:
        ratio = unpacked / max(packed, 1)
        check(ratio, EXPANSION, f"{name} is unpacked to {{}} times its size")


def check_memory(n_bytes: int, name: str) -> None:
    """Raise ValueError if pixels do not fit into the memory that they may take.

    Parameters
    ----------
    n_bytes : int
        Size of the pixels.
    name : str
        Name of the file, for the message.
    """
    setting = os.environ.get(_MEMORY)
    if _are_lifted() or (setting is None and n_bytes < 64 * MIB):  # not worth a check
        return
    allowed = _free_memory() if setting is None else int(setting)
    if n_bytes > allowed:
        raise ValueError(
            f"{name} needs {_amount(n_bytes)} for its pixels, more than the "
            f"{_amount(allowed)} that it may take (--max-memory, or {_MEMORY})"
        )


def _amount(n_bytes: int) -> str:
    """Return a number of bytes in the largest unit of which there is at least one."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.1f} {name}"
    return f"{n_bytes:,} bytes"


def set_max_memory(n_bytes: int) -> None:
    """Set the memory that pixels may take, for this process and those that it starts."""
    os.environ[_MEMORY] = str(n_bytes)


def _are_lifted() -> bool:
    return os.environ.get(_SWITCH, "") not in ("", "0")


def _free_memory() -> int:
    """Count the bytes that are free, within the limit of a container on Linux."""
    free: int = psutil.virtual_memory().available
    try:
        group = Path("/sys/fs/cgroup")
        allowed = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit, or "max"
        return free
    return min(free, max(0, allowed - used))
