"""Models that a lab hosts: a registry says where each is, and what its SHA-256 must be.

The registry is a text file in pooch's format, one model a line: its name, the SHA-256 of the
file and, unless it lies beside the registry, its URL. The environment variable
BLINKCORE_REGISTRY holds its path or URL, BLINKCORE_CACHE the folder for downloads.

    smfish-lab.pt  3f9c...  https://example.org/models/smfish-lab.pt
    beads.pt       81aa...
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from blinkcore import limits
from blinkcore.files import atomic_write, sha256_of

if TYPE_CHECKING:
    import pooch

REGISTRY, CACHE = "BLINKCORE_REGISTRY", "BLINKCORE_CACHE"
_SUFFIX = ".pt"
_TIMEOUT = 20  # s, without an answer


def registered_models() -> dict[str, Path | None]:
    """List the models of the registry: name to file, None if it is not downloaded yet.

    Raises
    ------
    OSError
        If the registry cannot be read or downloaded.
    ValueError
        If it is not a registry of models.
    """
    if not os.environ.get(REGISTRY):
        return {}
    source = _open()
    files = {name: _place(source, name) for name in source.registry}
    return {
        name.removesuffix(_SUFFIX): path if path.exists() else None
        for name, path in sorted(files.items())
        if name.endswith(_SUFFIX)
    }


def fetch(name: str) -> Path | None:
    """Return the file of a model of the registry, downloaded once and checked.

    Parameters
    ----------
    name : str
        As in `registered_models`.

    Returns
    -------
    Path or None
        None if there is no registry, or no such model in it.

    Raises
    ------
    OSError
        If the registry or the model cannot be read or downloaded.
    ValueError
        If the file is not the one that the registry describes.
    """
    if not os.environ.get(REGISTRY):
        return None
    source, file = _open(), name + _SUFFIX
    if file not in source.registry:
        return None
    path = _place(source, file)
    if _is_beside(source, file):
        if sha256_of(path) != source.registry[file].removeprefix("sha256:"):
            raise ValueError(f"{path} {_OTHER}")
        return path
    try:
        source.fetch(file, downloader=_downloader())
    except ValueError as error:  # pooch has removed it
        raise ValueError(f"{source.get_url(file)} {_OTHER}") from error
    except OSError as error:
        raise _unreachable(source.get_url(file), error) from error
    return path


_FILE = re.compile(r"\w[\w.-]*")  # of a model in the cache
_OTHER = (
    "is not the file that the registry describes (its SHA-256 differs): it is "
    "damaged, or was replaced; ask whoever keeps the registry"
)


def _open() -> pooch.Pooch:
    import pooch

    where = os.environ[REGISTRY]
    cache = Path(os.environ.get(CACHE) or pooch.os_cache("blinkcore"))
    if "://" in where:
        path, base = _downloaded(where, cache), where.rpartition("/")[0] + "/"
    else:
        path, base = Path(where), ""
    source = pooch.create(path=cache, base_url=base)
    try:
        limits.check_file(path, limits.REGISTRY)
        source.load_registry(path)
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"{where} is not a registry of models: each line must be 'NAME.pt SHA256' or "
            "'NAME.pt SHA256 URL'"
        ) from error
    for name in source.registry:
        if not _FILE.fullmatch(name):  # `../a.pt` would replace a file elsewhere
            raise ValueError(
                f"{where} names a model {name!r}; names have letters, digits, - _ . only"
            )
    return source


def _downloaded(url: str, cache: Path) -> Path:
    """Download the registry; if that fails, use the copy of the last download."""
    import hashlib

    copy = cache / f"registry-{hashlib.sha256(url.encode()).hexdigest()[:16]}.txt"
    try:
        with tempfile.TemporaryDirectory() as folder:
            new = Path(folder) / "registry.txt"
            _downloader()(url, str(new), None)
            content = new.read_bytes()
    except OSError as error:
        if copy.exists():
            return copy
        raise _unreachable(url, error) from error
    with atomic_write(copy) as temporary:
        temporary.write_bytes(content)
    return copy


def _downloader() -> pooch.HTTPDownloader:
    import logging

    import pooch

    pooch.get_logger().setLevel(logging.WARNING)  # or each download prints a line
    return pooch.HTTPDownloader(timeout=_TIMEOUT)


def _is_beside(source: pooch.Pooch, file: str) -> bool:
    """Return whether a model lies beside a registry that is a file."""
    return "://" not in os.environ[REGISTRY] and file not in source.urls


def _place(source: pooch.Pooch, file: str) -> Path:
    if _is_beside(source, file):
        return Path(os.environ[REGISTRY]).parent / file
    return Path(source.path) / file


def _unreachable(url: str, error: OSError) -> OSError:
    """Make a short error for a failed download; the web library's fills a screen."""
    answer = getattr(error, "response", None)
    why = f"HTTP {answer.status_code}" if answer is not None else type(error).__name__
    return OSError(f"{url} cannot be downloaded ({why}); is there a network?")
