"""The spots table: its columns, their order, types and units.

One row per spot, in a pandas DataFrame. Only this module defines the columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from blinkcore.image import PixelSize

COLUMNS = {
    "image": "str",  # path as the user gave it
    "frame": "int64",  # counted from 0, like channel and z
    "channel": "int64",
    "z": "float64",  # px, as y and x: an integer is the centre of a pixel
    "y": "float64",
    "x": "float64",
    "probability": "float64",
    "fit_y": "float64",  # px, of the Gaussian fit
    "fit_x": "float64",
    "fit_uncertainty": "float64",  # px, standard error of each
    "sigma": "float64",  # px
    "sigma_uncertainty": "float64",  # px
    "amplitude": "float64",  # counts, or photons where the camera is known
    "amplitude_uncertainty": "float64",  # counts
    "background": "float64",  # counts
    "localization_uncertainty": "float64",  # px
    "z_uncertainty": "float64",  # planes
    "n_planes": "int64",  # number of planes in which an object was detected
    "intensity": "float64",  # counts
    "intensity_uncertainty": "float64",  # counts
    "molecules": "float64",  # intensity over the median of the channel
    "snr": "float64",
    "cramer_rao": "float64",  # px, of simulated truth: the smallest standard error of y and of x
    "cell": "int64",  # number in a label image, 0 outside
    "border_distance": "float64",  # px, to the border of the cell
    "track": "int64",
    "partner": "int64",
    "partner_distance": "float64",  # px
    "z_um": "float64",
    "y_um": "float64",
    "x_um": "float64",
}
# Values that fill a column of whole numbers for images that do not have it.
MISSING_VALUES = {
    "frame": 0, "channel": 0, "z": 0, "n_planes": 1, "cell": 0, "track": -1, "partner": -1,
}  # fmt: skip
# Names that columns had in files of version 0.1.
_FORMER_NAMES = {"localization_error": "localization_uncertainty"}
# Columns of an image's axes: which plane of a stack, and where in it.
AXIS_COLUMNS = {"T": "frame", "C": "channel", "Z": "z"}
COLUMN_OF = AXIS_COLUMNS | {"Y": "y", "X": "x"}


def ordered(spots: pd.DataFrame) -> pd.DataFrame:
    """Put known columns into order and convert their types; others follow unchanged.

    Parameters
    ----------
    spots : DataFrame
        A spots table. A column that still has its name of version 0.1 is given the
        present name.

    Returns
    -------
    DataFrame
        A copy.

    Raises
    ------
    ValueError
        If a column of whole numbers holds anything else.
    """
    spots = spots.rename(columns=_FORMER_NAMES)
    known = [name for name in COLUMNS if name in spots.columns]
    others = [name for name in spots.columns if name not in COLUMNS]
    types = {name: COLUMNS[name] for name in known if COLUMNS[name] != "str"}
    for name, kind in types.items():
        if kind == "int64" and not pd.api.types.is_integer_dtype(spots[name]):
            _check_whole(spots[name])
    table: pd.DataFrame = spots[known + others].astype(types)
    if "image" in known:
        names = ["" if pd.isna(name) else str(name) for name in table["image"]]
        table["image"] = pd.Series(names, dtype=str, index=table.index)
    return table


def _check_whole(values: pd.Series[Any]) -> None:
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = numbers.isna() | (numbers != numbers.round())
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise ValueError(
            f"column '{values.name}' must hold whole numbers, got {values.iloc[row]!r} in "
            f"row {row}"
        )


def check_spots(spots: pd.DataFrame, *, source: str = "spots") -> pd.DataFrame:
    """Check that a table has finite positions, and return it.

    Parameters
    ----------
    spots : DataFrame
        The table to check.
    source : str
        What to call it in an error, for example its file name.

    Returns
    -------
    DataFrame
        `spots` itself.

    Raises
    ------
    ValueError
        If `y` or `x` is missing, or a position is not a finite number.
    """
    for name in ("y", "x"):
        if name not in spots.columns:
            found = ", ".join(map(str, spots.columns)) or "none"
            raise ValueError(f"{source} has no column '{name}'; found {found}")
    for name in ("frame", "channel"):
        if name in spots.columns and (spots[name] < 0).any():
            raise ValueError(f"{source}: column '{name}' must not be negative")
    for name in {"z", "y", "x"} & set(spots.columns):
        values = pd.to_numeric(spots[name], errors="coerce")
        bad = values.isna() | values.abs().eq(float("inf"))
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise ValueError(
                f"{source}: column '{name}' must hold finite numbers, "
                f"got {spots[name].iloc[row]!r} in row {row}"
            )
    return spots


def positions(
    spots: pd.DataFrame,
    pixel_size: PixelSize | None,
    axes: Sequence[str] = ("z", "y", "x"),
) -> NDArray[np.float64]:
    """Return positions in units of the width of a pixel, whatever its height and depth.

    Parameters
    ----------
    spots : DataFrame
        Positions in px.
    pixel_size : PixelSize or None
        In µm. An axis whose pixel size is unknown is not scaled.
    axes : sequence of str
        Columns to use; those that the table lacks are left out.

    Returns
    -------
    ndarray of float64, shape (n, 2 or 3)
        In the order of `axes`.
    """
    columns = [name for name in axes if name in spots.columns]
    result: NDArray[np.float64] = spots[columns].to_numpy(float).copy()
    if pixel_size is not None:
        for number, name in enumerate(columns):
            size = getattr(pixel_size, name)
            if size is not None:
                result[:, number] *= size / pixel_size.x
    return result


def with_micrometers(spots: pd.DataFrame, pixel_size: PixelSize | None) -> pd.DataFrame:
    """Add positions in µm.

    Parameters
    ----------
    spots : DataFrame
        Uses `y`, `x` and, if present, `z` (px).
    pixel_size : PixelSize or None
        In µm. An axis whose pixel size is unknown gets no column.

    Returns
    -------
    DataFrame
        A copy with `z_um`, `y_um`, `x_um` (µm from the centre of the first pixel).
    """
    table: pd.DataFrame = spots.copy()
    sizes = {} if pixel_size is None else pixel_size._asdict()
    for name, size in sizes.items():
        if size is not None and name in spots.columns:
            table[f"{name}_um"] = spots[name] * size
    return ordered(table)
