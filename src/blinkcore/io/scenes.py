"""One of several images in a file: `FILE#N`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def file_and_scene(path: Path) -> tuple[Path, int | None]:
    """Split `FILE#N`, the image N (from 0) of a file that is there.

    Returns
    -------
    file : Path
        Without the number.
    scene : int or None
        None where there is no number, or where it is a part of the file's own name.
    """
    name, _, number = path.name.rpartition("#")
    if name and number.isdecimal() and not path.exists():
        file = path.with_name(name)
        if file.is_file():
            return file, int(number)
    return path, None
