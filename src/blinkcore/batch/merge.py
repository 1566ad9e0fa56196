"""Merge tables of several runs, such as the jobs of an array, as if of one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from blinkcore import io
from blinkcore.batch.collected import joined
from blinkcore.batch.counts import CELLS, IMAGES, write_counts
from blinkcore.files import check_readable, write_json
from blinkcore.io import tables
from blinkcore.io.provenance import check_own, made_now
from blinkcore.io.suffixes import sidecar_path

if TYPE_CHECKING:
    from collections.abc import Iterable

_OF_A_RUN = ("created", "command", "images", "failed", "formats", "complete")


class Merged(NamedTuple):
    """Result of `merge`."""

    n_images: int
    n_spots: int
    # Image and error of those that the runs could not search.
    failed: list[dict[str, str]]


def merge(sources: Iterable[Path], output: Path) -> Merged:
    """Join tables of spots, their descriptions and their counts.

    Parameters
    ----------
    sources : iterable of Path
        Tables that `blinkcore predict` wrote, and folders of them.
    output : Path
        The table of all, `.csv` or `.parquet`; `<name>.json` and `<name>.counts.csv` lie
        beside it.

    Returns
    -------
    Merged
        Images are in the order of their paths, as in one run over their folder.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If a table has no description of blinkcore beside it, if the tables were made with
        different models or options, or if an image is in two of them.
    """
    if not tables.is_table(output):
        raise ValueError(f"--output must end in .csv or .parquet, got {output}")
    check_own(output)
    paths = _tables_of(sources, output)
    if not paths:
        raise ValueError("there is no table of spots to merge")
    about = [_description(path) for path in paths]
    _check_alike(paths, about)
    records = sorted((r for one in about for r in one["images"]), key=_place)
    place = {record["image"]: number for number, record in enumerate(records)}
    table = joined([tables.read(path) for path in paths])
    table = table.sort_values(
        "image", key=lambda names: names.map(place), kind="stable", ignore_index=True
    )
    io.write_spots(table, output)
    errors = {f["image"]: f for one in about for f in one.get("failed", ())}
    failed = [error for name, error in errors.items() if name not in place]
    content = {**_how(about[0]), **made_now(), "images": records}
    write_json(content | ({"failed": failed} if failed else {}), sidecar_path(output))
    for name in (IMAGES, CELLS):
        write_counts(records, name, tables.counts_path(output, name))
    return Merged(len(records), len(table), failed)


def _place(record: dict[str, Any]) -> tuple[Path, int]:
    """Return what images are sorted by: their path, then their number in the file."""
    name = str(record.get("path") or record["image"])
    file, mark, scene = name.rpartition("#")
    if mark and scene.isdecimal():
        return Path(file), int(scene)
    return Path(name), 0


def _description(path: Path) -> dict[str, Any]:
    """Read the description beside a table."""
    about = io.description_of(path)
    if about is None:
        raise ValueError(
            f"{path} is not a result of blinkcore: it has no readable "
            f"{path.with_suffix('.json').name} beside it"
        )
    if not about.get("complete", True):
        raise ValueError(f"{path} is of a run that was interrupted; run it again")
    return about


def _how(about: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of a description that all runs must share."""
    return {key: value for key, value in about.items() if key not in _OF_A_RUN}


def _check_alike(paths: list[Path], descriptions: list[dict[str, Any]]) -> None:
    """Raise ValueError if tables were made in different ways, or share an image."""
    origin: dict[str, Path] = {}
    for path, about in zip(paths, descriptions, strict=True):
        one, first = _how(about), _how(descriptions[0])
        different = [key for key in {**first, **one} if one.get(key) != first.get(key)]
        if different:
            key = different[0]
            own, other = one.get(key), first.get(key)
            while isinstance(own, dict) and isinstance(other, dict):
                key = next(k for k in {**other, **own} if own.get(k) != other.get(k))
                own, other = own.get(key), other.get(key)
            hint = "; search all with --no-amp" if key == "precision" else ""
            raise ValueError(
                f"{path} was made with other options than {paths[0]}: {key} is {own} and "
                f"not {other}{hint}"
            )
        for record in about["images"]:
            name = str(record.get("path"))
            if name in origin:
                raise ValueError(f"{name} occurs twice: in {origin[name]} and {path}")
            origin[name] = path


def _tables_of(sources: Iterable[Path], output: Path) -> list[Path]:
    """List tables of spots, those of folders without the output of an earlier merge."""
    found: dict[Path, Path] = {}
    for source in sources:
        if source.is_dir():
            for path in tables.tables_in(source, recursive=True):
                if path != output:
                    found.setdefault(path.with_suffix(""), path)
            continue
        check_readable(source)
        if tables.is_counts(source):  # a pattern names those beside the tables, too
            continue
        if source.with_suffix("") in found:
            raise ValueError(f"{source} is given twice")
        found[source.with_suffix("")] = source
    return list(found.values())
