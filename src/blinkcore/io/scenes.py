"""One of several images in a file: `FILE#N`."""

from __future__ import annotations

import re
from pathlib import Path

_NUMBERED = re.compile(r"(.+)#(\d+)", re.DOTALL)


def file_and_scene(path: Path) -> tuple[Path, int | None]:
    """Split `FILE#N` (image N, from 0, of a file that exists) into FILE and N.

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


def without_scene(name: str) -> str:
    """Turn `a.tif#1` into `a.tif`; keep other names."""
    found = _NUMBERED.fullmatch(name)
    return name if found is None else found[1]


def with_scene_named(name: str) -> str:
    """Turn `a.tif#1` into `a.scene1.tif`, the name of its result; keep other names."""
    found = _NUMBERED.fullmatch(name)
    if found is None:
        return name
    file = Path(found[1])
    return str(file.with_name(f"{file.stem}.scene{int(found[2])}{file.suffix}"))
