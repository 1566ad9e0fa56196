"""Read Parquet files, which may be damaged or made to fill memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blinkcore import limits

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file, or a folder of its parts, that unpacks to a sensible size.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If it is no Parquet file, or too large once it is unpacked.
    """
    import pandas as pd
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    parts = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    size = sum(part.stat().st_size for part in parts)
    try:
        about = [
            read_metadata(part) for part in parts if part.suffix.lower() == ".parquet"
        ]
        unpacked = sum(8 * one.num_rows * one.num_columns for one in about)
        limits.check_expansion(unpacked, size, str(path))
        return pd.read_parquet(path)
    except (ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of what it holds
        raise ValueError("it is no Parquet file, or damaged") from error
