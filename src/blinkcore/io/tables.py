"""Spots tables as CSV, Parquet and JSON, and the CSV that other programs write.

Columns, units and coordinates of our own are those of the spots table. Of the others:
napari, U-FISH, Spotiflow and RS-FISH put integers at pixel centres, as we do; RS-FISH
counts frames and channels from 1.
"""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any

from blinkcore import limits
from blinkcore.files import atomic_write, files_in, missing, utf8_safe
from blinkcore.io import imagej, trackmate
from blinkcore.io.parquet import read_parquet
from blinkcore.io.suffixes import format_of, sidecar_path
from blinkcore.spots import AXIS_COLUMNS, COLUMN_OF, COLUMNS, check_spots, ordered

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

SUFFIXES = (".csv", ".parquet")


def is_table(path: Path) -> bool:
    """Return whether an output is meant to be a table and not a folder."""
    return path.suffix.lower() in SUFFIXES


def is_counts(path: Path) -> bool:
    """Return whether a file is a table of counts of `blinkcore predict`, not of spots."""
    if not path.name.endswith(("counts.csv", "counts_by_cell.csv", "_of_all.csv")):
        return False
    columns = columns_of(path)
    return {"image", "n"} <= columns and "y" not in columns


COUNTS = "counts"  # name of the table of counts
PAIRS_OF_IMAGES = "colocalization_of_images.csv"  # one row for each image


def counts_path(output: Path, name: str = COUNTS, *, is_taken: bool = False) -> Path:
    """Name a table of counts of a run: in its folder, or beside one table of all.

    Parameters
    ----------
    output : Path
        Folder, or table.
    name : str
        Which table.
    is_taken : bool
        An image has this name, and the file holds its spots.
    """
    if is_table(output):
        return output.with_name(f"{output.stem}.{name}.csv")
    return output / f"{name}{'_of_all' if is_taken else ''}.csv"


def counts_beside(source: Path) -> list[Path]:
    """List the table of counts of results: a folder, one of its tables, or one of all."""
    folder = source if source.is_dir() else source.parent
    paths = [counts_path(source)] if not source.is_dir() else []
    paths += [counts_path(folder), counts_path(folder, is_taken=True)]
    return [path for path in paths if path.is_file() and is_counts(path)][:1]


def is_about_tracks(path: Path) -> bool:
    """Return whether a file is a table of `blinkcore link` that holds no spots."""
    if not path.name.endswith((".tracks.csv", ".msd.csv")):
        return False
    columns = columns_of(path)
    return bool(columns) and "y" not in columns


def columns_of(path: Path) -> set[str]:
    """Read the names of a CSV's columns; none if it cannot be read."""
    import pandas as pd

    try:
        return set(pd.read_csv(path, nrows=0).columns)
    except (OSError, ValueError):
        return set()


def tables_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """List the tables of spots in a folder, one for each result.

    Tables of counts and of the motion of tracks are left out, hidden files, and what lies
    beside a table: the same spots in another format, as `.napari.csv` beside `.csv`.
    """
    found: dict[Path, Path] = {}
    for path in files_in(folder, SUFFIXES, recursive=recursive):
        # An image may be called a.napari.tif: then the table has its own description.
        own = format_of(path) in SUFFIXES or sidecar_path(path).is_file()
        if own and not (is_counts(path) or is_about_tracks(path)):
            found.setdefault(path.with_suffix(""), path)
    return list(found.values())


def safe_name(name: str) -> str:
    """Make a name safe: spreadsheets run a cell that begins like a formula."""
    name = utf8_safe(name)
    return f"./{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


# Columns that hold names of files.
_NAMES = ("image", "case", "source", "group", "method", "name", "crop")


def _safe(value: Any) -> Any:
    return safe_name(value) if isinstance(value, str) else value


def write_csv(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """Write a table that holds no spots, whole or not at all, with safe names."""
    safe = {n: table[n].map(_safe) for n in _NAMES if n in table}
    with atomic_write(path) as temporary:
        table.assign(**safe).to_csv(
            temporary, index=False, lineterminator="\n", float_format=float_format
        )


def check_format(suffix: str) -> None:
    """Raise ValueError or ImportError if a table cannot be written as `suffix`."""
    suffix = suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"table must end in {' or '.join(SUFFIXES)}, got {suffix!r}")
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise missing("Parquet", "pyarrow", "parquet")


def write(spots: pd.DataFrame, path: Path) -> None:
    """Write a table; see `blinkcore.io.write_spots`."""
    check_format(path.suffix)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        write_to(spots, file, path.suffix)


def write_to(spots: pd.DataFrame, file: IO[bytes], suffix: str) -> None:
    """Write a table to an open binary file.

    CSV has four decimals for px and probabilities (no spot is known more precisely) and
    six for µm; Parquet keeps full precision.
    """
    if suffix.lower() == ".parquet":
        spots.to_parquet(file, index=False)
        return
    if "image" in spots:
        spots = spots.assign(image=spots["image"].map(_safe))
    floats = spots.select_dtypes("float").columns
    decimals = {name: 6 if name.endswith("_um") else 4 for name in floats}
    spots.round(decimals).to_csv(
        file, index=False, lineterminator="\n", encoding="utf-8"
    )


def read(path: Path) -> pd.DataFrame:
    """Read a table that `write` wrote.

    Raises
    ------
    ValueError
        If it is not a table of the kind that its suffix says.
    """
    import pandas as pd

    check_format(path.suffix)
    try:
        spots = (
            read_parquet(path)
            if path.suffix.lower() == ".parquet"
            else pd.read_csv(path, converters={"image": str})
        )
    except (ValueError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{path} is not a spots table: {text}") from error
    return check_spots(ordered(spots), source=str(path))


# Axes of a napari layer that does not name them, by their number.
NAPARI_AXES = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}
_OTHER_NAMES = {
    "t": "frame", "c": "channel", "p": "probability", "prob": "probability",
    "x [px]": "x", "y [px]": "y",
}  # fmt: skip
_RS_FISH = (["x", "y", "t", "c", "intensity"], ["x", "y", "z", "t", "c", "intensity"])


def read_foreign(path: Path) -> tuple[pd.DataFrame, str]:
    """Read a CSV of any known program.

    Returns
    -------
    spots : DataFrame
        `y`, `x` and the other columns that it has.
    unit : str
        Of the positions: "px", "um", or "" where the file does not state it.

    Raises
    ------
    ValueError
        If it is not a CSV, or has no positions.
    """
    import pandas as pd

    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError(f"{path} is empty")
    try:
        table = pd.read_csv(
            path, dtype=str, sep=None, engine="python", encoding="utf-8-sig"
        )
    except (ValueError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table of spots, or damaged") from error
    names = [str(name).strip() for name in table.columns]
    table.columns = pd.Index(names)
    lower = [name.lower() for name in names]
    if "position_x" in lower:
        spots, unit = trackmate.from_table(table)
        return ordered(spots.reset_index(drop=True)), unit
    spots, unit = _positions(table, names, lower, path)
    return _numbers(spots, path), unit


def _columns(axes: str) -> list[str]:
    return [COLUMN_OF[axis] for axis in axes]


def _positions(
    table: pd.DataFrame, names: list[str], lower: list[str], path: Path
) -> tuple[pd.DataFrame, str]:
    if "axis-0" in lower:  # napari, U-FISH
        axes = [name for name in names if name.lower().startswith("axis-")]
        if len(axes) not in NAPARI_AXES:
            raise ValueError(f"{path} has {len(axes)} axes, 2 to 5 can be read")
        ours = _columns(NAPARI_AXES[len(axes)])
        named = [n for n in AXIS_COLUMNS.values() if n in names]
        if len(named) + 2 == len(axes):
            ours = [*named, "y", "x"]
            table = table.drop(columns=named)
        table = table.drop(columns="index", errors="ignore")
        return table.rename(columns=dict(zip(axes, ours, strict=True))), "px"
    if {"X", "Y"} <= set(names):  # Fiji
        numbers = table.copy()
        for name in {"X", "Y", "Ch", "Slice", "Frame"} & set(names):
            numbers[name] = _column(table, name, path)
        return imagej.from_results(numbers), ""
    known = [_OTHER_NAMES.get(n, n) for n in lower]
    kept = [k if k in COLUMNS else n for n, k in zip(names, known, strict=True)]
    renamed = table.set_axis(kept, axis=1)
    if not {"y", "x"} <= set(renamed.columns):
        found = ", ".join(names) or "none"
        raise ValueError(
            f"{path} has no columns of positions, like y and x; it has {found}"
        )
    if lower in _RS_FISH:
        for name in ("frame", "channel"):
            renamed[name] = _column(renamed, name, path) - 1
    return renamed, "px"


def _numbers(spots: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Turn the columns of the spots table into numbers; others stay as they are."""
    import pandas as pd

    numbers = spots.copy()
    for name in spots.columns:
        if name not in COLUMNS:
            with suppress(ValueError):
                numbers[name] = pd.to_numeric(spots[name])
            continue
        if COLUMNS[name] == "str":
            continue
        # A measurement may be missing, a position may not.
        empty = spots[name].isna() & (COLUMNS[name] == "float64")
        if name in ("z", "y", "x"):
            empty &= False
        numbers[name] = _column(spots[~empty], name, path).reindex(spots.index)
    return ordered(numbers)


def _column(table: pd.DataFrame, name: str, path: Path) -> pd.Series[float]:
    import pandas as pd

    values = pd.to_numeric(table[name], errors="coerce")
    wrong = values.isna()
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise ValueError(
            f"{path}: column '{name}' must hold numbers, got {table[name].iloc[row]!r} "
            f"in row {row}"
        )
    return values.astype(float)


def write_napari(spots: pd.DataFrame, path: Path) -> None:
    """Write points as napari saves and opens them, one axis a dimension."""
    axes = [n for n in COLUMN_OF.values() if n in spots.columns]
    names = {name: f"axis-{i}" for i, name in enumerate(axes)}
    others = [
        n for n in ("probability", "localization_uncertainty") if n in spots.columns
    ]
    table = spots[axes + others].rename(columns=names)
    table.insert(0, "index", range(len(table)))
    # Three or four axes are ambiguous: feature columns say which they are.
    for name in axes[:-2] if axes != _columns(NAPARI_AXES[len(axes)]) else ():
        table[name] = spots[name].to_numpy()
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def write_json(spots: pd.DataFrame, path: Path) -> None:
    """Write a list of spots, each with its columns by name."""
    with atomic_write(path) as temporary:
        records = spots.to_json(orient="records", double_precision=6)
        temporary.write_text(f'{{"spots": {records}}}\n', encoding="utf-8")


def from_json(content: Any, path: Path) -> pd.DataFrame:
    """Turn parsed JSON of `write_json` into spots; ValueError if it is something else."""
    import pandas as pd

    spots = content.get("spots") if isinstance(content, dict) else None
    if not isinstance(spots, list):
        raise ValueError(  # noqa: TRY004 (what a file holds, not a wrong call)
            f"{path} is neither GeoJSON nor a list of spots of blinkcore"
        )
    table = pd.DataFrame(spots) if spots else pd.DataFrame({"y": [], "x": []})
    return check_spots(ordered(table), source=str(path))


def parse_json(path: Path) -> Any:
    """Parse a JSON file; ValueError with one sentence if it is not valid or too large."""
    limits.check_file(path, limits.TABLE)
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
