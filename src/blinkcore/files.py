"""Atomic writes, checksums, and error messages of one line."""

from __future__ import annotations

import difflib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import stat
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import PurePath


_numbers = count()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write under a temporary name in the same folder, and rename at the end.

    Parameters
    ----------
    path : Path
        The final file; its folder is created if necessary.

    Yields
    ------
    Path
        Where to write. It is removed if the block fails.

    Raises
    ------
    OSError
        If the file cannot be written, or is a device or a pipe.
    """
    check_regular(path)  # renaming over a device would replace it
    with temporary_beside(path) as temporary:
        try:
            yield temporary
            temporary.replace(path)
        except OSError as error:
            if error.errno is None:  # some libraries give a message only
                raise
            # The user knows the file by its own name.
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from error


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield the name of a temporary file beside a file, and remove it at the end.

    The folder is created if necessary. Temporary files that killed processes of this
    computer have left in it are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent not in _cleared:
        _cleared.add(path.parent)
        _remove_stale(path.parent)
    name = f".blinkcore-{_HOST}-{os.getpid()}-{next(_numbers)}.part"
    temporary = path.with_name(name)
    try:
        yield temporary
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Remove a file or a folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_HOST = re.sub(r"\W", "", socket.gethostname())
_cleared: set[Path] = set()  # folders that this process has cleared of stale files


def _remove_stale(folder: Path) -> None:
    """Remove temporary files of processes of this computer that were killed."""
    for path in folder.glob(f".blinkcore-{_HOST}-*.part"):
        pid = path.name.split("-")[2]
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            with suppress(OSError):
                remove(path)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest one, or all."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else ", ".join(known)


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace") + b"\n")


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Compute the SHA-256 digest of a file's content."""
    digest = hashlib.sha256()  # file_digest needs Python 3.11
    with open(path, "rb") as file:  # noqa: PTH123
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_regular(path: Path) -> None:
    """Raise OSError if a path is a device or a pipe, whose content may never end."""
    try:
        mode = path.stat().st_mode
    except OSError:  # there is no such file
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))


def check_readable(path: Path) -> None:
    """Raise the OSError that names a file that cannot be opened."""
    check_regular(path)
    with path.open("rb"):
        pass


def missing(what: str, package: str, extra: str) -> ImportError:
    """Return the error that says which extra of blinkcore holds a package."""
    return ImportError(
        f"{what} needs {package}; install it with: pip install 'blinkcore[{extra}]'"
    )


def error_sentence(error: BaseException) -> str:
    """Describe an error in one line."""
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename:
        path = Path(os.fsdecode(error.filename))
        file = next((p for p in (path, *path.parents) if p.is_file()), None)
        text = f"{path}: {error.strerror}"
        if file is not None:
            text = f"{file} is a file, where a folder is needed"
    elif isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{os.fspath(error.filename)}: {error.strerror}"
    elif isinstance(error, MemoryError):
        text = "there is not enough memory for it"
    else:
        text = str(error) or type(error).__name__
    return escaped(text)


def utf8_safe(text: str) -> str:
    """Escape what UTF-8 cannot encode, such as the undecodable bytes of a file name."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_hidden(path: Path) -> bool:
    """Return whether a part of a path begins with a dot, as `._name` that macOS leaves."""
    return any(part.startswith(".") and part.strip(".") for part in path.parts)


def files_in(
    folder: Path, suffixes: Collection[str], *, recursive: bool = False
) -> list[Path]:
    """List the files of a folder that end in one of the given suffixes, sorted.

    A folder that ends in `.zarr` counts as a file: nothing within it is listed.

    Parameters
    ----------
    folder : Path
        The folder.
    suffixes : collection of str
        In lower case, with the dot; `.spots.zarr` has two parts.
    recursive : bool
        Search its subfolders, too.

    Returns
    -------
    list of Path
        Without hidden files, and without those in hidden folders within it.
    """
    return [
        path
        for path in sorted(folder.rglob("*") if recursive else folder.iterdir())
        if path.name.lower().endswith(tuple(suffixes))
        and not is_hidden(path.relative_to(folder))
        and not any(map(_is_zarr, path.relative_to(folder).parents))
        and (path.is_file() or (_is_zarr(path) and path.is_dir()))
    ]


def _is_zarr(path: PurePath) -> bool:
    return path.suffix.lower() == ".zarr"


def escaped(text: str) -> str:
    """Escape line breaks and what a terminal cannot show."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in utf8_safe(text))
