"""Read tables of counts, which another program may have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blinkcore.files import check_readable

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_WHOLE = ("n", "frame", "channel", "cell")
_LARGEST = 2**53  # whole numbers that double precision holds


def read_counts(path: Path) -> pd.DataFrame:
    """Read a table of counts.

    Parameters
    ----------
    path : Path
        `counts.csv` or another table of counts.

    Returns
    -------
    DataFrame
        `image`, `n` and the other columns that it has.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If it is something else, or its counts and places are not whole numbers.
    """
    import pandas as pd

    check_readable(path)
    try:
        table = pd.read_csv(path, converters={"image": str})
    except ValueError as error:  # also of its text, and of its rows
        raise ValueError(f"{path} is not a table of counts") from error
    if not {"image", "n"} <= set(table.columns):
        raise ValueError(f"{path} is not a table of counts")
    for name in (name for name in _WHOLE if name in table):
        numbers = pd.to_numeric(table[name], errors="coerce")
        known = numbers if name == "n" else numbers[table[name].notna()]
        if not ((known % 1 == 0) & (known.abs() < _LARGEST)).all():
            raise ValueError(
                f"{path} has something else than whole numbers in {name!r}"
            )
    return table
