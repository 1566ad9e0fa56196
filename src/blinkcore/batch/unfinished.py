"""The candidates of an image that was interrupted, kept until its result is written."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from blinkcore import limits
from blinkcore.files import atomic_write, remove

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

EVERY = 60.0  # s between two writes: what a run that is killed loses at most


@dataclass
class Unfinished:
    """Candidates of an image whose planes are not all done.

    Attributes
    ----------
    path : Path or None
        The file that keeps it; None: it is not kept.
    resume : bool
        Continue from what an earlier run has kept there.
    candidates : list of ndarray
        Of the planes that are done, in the order of the planes.
    n_planes : int
        Of the image; 0 until it is read.
    """

    path: Path | None
    resume: bool = False
    candidates: list[NDArray[np.float64]] = field(default_factory=list)
    n_planes: int = 0
    _about: dict[str, Any] = field(default_factory=dict)
    _written: float = 0.0

    def begin(self, about: dict[str, Any], n_planes: int) -> None:
        """Take over the candidates of an earlier run, if it searched the same.

        Parameters
        ----------
        about : dict
            Everything that decides which candidates are found, as JSON can hold it;
            `file`: the state of the file, None where that is not known.
        n_planes : int
            How many planes the image has.
        """
        self._about, self.n_planes = about, n_planes
        self._written = time.monotonic()
        # Of OME-Zarr nothing tells whether it is as it was.
        if self.resume and self.path is not None and about["file"] is not None:
            self.candidates[:] = _read(self.path, about)[:n_planes]

    def on_plane(self) -> None:
        """Keep what is done, once a minute."""
        if time.monotonic() - self._written > EVERY:
            self._written = time.monotonic()
            with suppress(OSError):  # a full disk is reported with the result
                self.write()

    def write(self) -> None:
        """Write the candidates so far, unless there are none, or the image is a single plane."""
        if self.path is not None and self.candidates and self.n_planes > 1:
            about = json.dumps(self._about, sort_keys=True).encode()
            with atomic_write(self.path) as temporary, temporary.open("wb") as file:
                np.savez(
                    file,
                    about=np.frombuffer(about, np.uint8),
                    counts=np.array([len(found) for found in self.candidates]),
                    candidates=np.concatenate(self.candidates),
                )

    @property
    def is_complete(self) -> bool:
        """Whether all planes are done."""
        return 0 < self.n_planes == len(self.candidates)


def unfinished_path(folder: Path, name: str) -> Path:
    """Name the file that keeps the candidates of an interrupted image.

    Parameters
    ----------
    folder : Path
        Of the result.
    name : str
        Of the result, different from those of all others in the folder.

    Returns
    -------
    Path
        `.HASH.unfinished` in the folder.
    """
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()
    return folder / f".{digest[:20]}.unfinished"


@contextmanager
def kept(path: Path | None, *, resume: bool) -> Iterator[Unfinished]:
    """Keep the candidates of an image if the block is interrupted.

    After the block, which finds its spots and writes them, nothing is kept; nor if an
    error of the image ends it, which would come again. The time limit is no such error.

    Parameters
    ----------
    path : Path or None
        From `unfinished_path`. None: nothing is kept.
    resume : bool
        See `Unfinished`.
    """
    unfinished = Unfinished(path, resume)
    try:
        yield unfinished
    except BaseException as error:
        is_interruption = not isinstance(error, Exception)  # Ctrl-C, SIGTERM
        if (
            is_interruption
            or isinstance(error, TimeoutError)
            or unfinished.is_complete  # the result could not be written
        ):
            with suppress(OSError):
                unfinished.write()
        elif unfinished.n_planes:  # not if the image could not even be opened
            _remove(path)
        raise
    _remove(path)


def _remove(path: Path | None) -> None:
    """Remove a file; one that cannot be removed is of no use, but does no harm."""
    if path is not None:
        with suppress(OSError):
            remove(path)


def _read(path: Path, about: dict[str, Any]) -> list[NDArray[np.float64]]:
    """Read the candidates of the first planes; none if they are of something else."""
    counts, candidates = np.zeros(0, np.int64), np.zeros((0, 0))
    # If there is none, or it is damaged, the planes are searched again.
    with suppress(Exception):
        with zipfile.ZipFile(path) as archive:
            limits.check_unpacked(archive, limits.DATASET, str(path))
        with np.load(path, allow_pickle=False) as content:
            if json.loads(content["about"].tobytes()) == about:
                counts, candidates = content["counts"], content["candidates"]
    if len(counts) == 0 or counts.sum() != len(candidates) or (counts < 0).any():
        return []
    return np.split(candidates, np.cumsum(counts)[:-1])
