"""Conditions of an experiment: which image belongs to which, from a sample sheet."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from blinkcore.files import check_readable
from blinkcore.io.scenes import with_scene_named, without_scene

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blinkcore.io.results import ImageSpots

logger = logging.getLogger(__name__)


def read_sample_sheet(path: Path) -> dict[str, str]:
    """Read the condition of each image.

    Parameters
    ----------
    path : Path
        CSV (with commas, semicolons or tabs) with columns `image` and `condition`. An image
        is its path, the end of it, or its name, with or without the suffix.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is not a CSV with these columns, or gives one name two conditions.
    """
    check_readable(path)
    try:
        text = path.read_bytes()
        encoding = "utf-8-sig" if _is_utf8(text) else "cp1252"  # as Excel writes it
        separator = max(",;\t", key=text.partition(b"\n")[0].decode(encoding).count)
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, sep=separator, encoding=encoding,
            skipinitialspace=True,
        )  # fmt: skip
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV table") from error
    table = table.rename(columns=str.strip)
    missing = {"image", "condition"} - set(table.columns)
    if missing:
        raise ValueError(f"{path} has no column '{min(missing)}'")
    conditions: dict[str, str] = {}
    columns = (table[name].str.strip() for name in ("image", "condition"))
    for image, condition in zip(*columns, strict=True):
        before = conditions.setdefault(image, condition)
        if before != condition:
            raise ValueError(
                f"{path} gives {image} two conditions, {before} and {condition}; write "
                "more of the path of each, such as folder/image.tif"
            )
    return conditions


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def names_of(spots: ImageSpots) -> list[str]:
    """List the names by which a sheet may call an image, the longest first."""
    names = []
    for text in (
        spots.image,
        with_scene_named(spots.image),
        without_scene(spots.image),
        spots.name,
    ):
        parts = Path(text).parts
        for start in range(len(parts)):
            end = Path(*parts[start:])
            names += [str(end), end.as_posix(), str(end.with_suffix("").as_posix())]
    return sorted(set(names), key=lambda name: (-len(Path(name).parts), name))


def condition_of(spots: ImageSpots, conditions: dict[str, str]) -> str:
    """Return the condition of an image; empty if the sheet does not name it."""
    return next((conditions[n] for n in names_of(spots) if n in conditions), "")


def warn_of_others(images: Iterable[ImageSpots], conditions: dict[str, str]) -> None:
    """Warn of images that the sheet does not name, and of names that are no image."""
    named = [(spots.image or spots.name, set(names_of(spots))) for spots in images]
    sheet = set(conditions)
    without = [name for name, names in named if not names & sheet]
    unknown = sorted(sheet.difference(*(names for _, names in named)))
    for what, names in (
        ("the sample sheet names no condition of", without),
        ("no image of the results is called, as in the sample sheet,", unknown),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            logger.warning("%s %s%s", what, ", ".join(names[:3]), more)
