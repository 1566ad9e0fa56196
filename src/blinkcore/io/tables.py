"""Spots tables as CSV or Parquet. Columns, units and coordinates as in the table."""

from __future__ import annotations

from importlib.util import find_spec
from typing import IO, TYPE_CHECKING

from blinkcore.files import whole_file
from blinkcore.spots import check_spots, ordered

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

SUFFIXES = (".csv", ".parquet")


def is_table(path: Path) -> bool:
    """Whether an output is meant to be a table and not a folder."""
    return path.suffix.lower() in SUFFIXES


def check_format(suffix: str) -> None:
    """Raise ValueError or ImportError if a table cannot be written as `suffix`."""
    if suffix not in SUFFIXES:
        raise ValueError(f"table must end in {' or '.join(SUFFIXES)}, got {suffix!r}")
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ImportError(
            "Parquet needs pyarrow; install it with: pip install 'blinkcore[parquet]'"
        )


def write(spots: pd.DataFrame, path: Path) -> None:
    """Write a table; see `blinkcore.io.write_spots`."""
    check_format(path.suffix)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        write_to(spots, file, path.suffix)


def write_to(spots: pd.DataFrame, file: IO[bytes], suffix: str) -> None:
    """Write a table to an open binary file.

    CSV has four decimals for px and probabilities (a spot is never known better) and six
    for µm; Parquet keeps every bit.
    """
    if suffix == ".parquet":
        spots.to_parquet(file, index=False)
        return
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
            pd.read_parquet(path)
            if path.suffix == ".parquet"
            else pd.read_csv(path, converters={"image": str})
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a spots table: {error}") from error
    return check_spots(ordered(spots), source=str(path))
