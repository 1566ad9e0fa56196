"""Count spots: tables by image, and by cell where there are label images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from blinkcore.batch.lock import locked
from blinkcore.io.count_tables import read_counts
from blinkcore.io.tables import COUNTS, write_csv
from blinkcore.network.calibration import real_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from blinkcore.detection.cells import Regions
    from blinkcore.image import Image

IMAGES = COUNTS  # name of the table, and of its rows in a description
CELLS = "counts_by_cell"
_PATIENCE = 30.0  # seconds to wait for another run that writes the same table
_WHOLE = {"frame", "channel", "cell", "n", "area_px", "volume_px"}


def counts_of_image(
    name: str,
    image: Image,
    spots: pd.DataFrame,
    spread: float | None,
    channel: int | None,
) -> list[dict[str, Any]]:
    """Count the spots of each frame and channel, also where there are none.

    Parameters
    ----------
    name : str
        Of the image, as in the spots table.
    image : Image
        Gives the frames and channels.
    spots : DataFrame
        All its spots.
    spread : float or None
        Width of the interval, see `blinkcore.network.calibration.real_count`; None: the
        number of real spots is not known.
    channel : int or None
        The only channel that was searched; None: all.

    Returns
    -------
    list of dict
        `image`, `frame`, `channel` (where the image has them), `n`, and the expected number
        of real spots with its interval of 95 %.
    """
    rows = []
    for place, chosen in _groups(image, spots, channel):
        rows.append({"image": name, **place, **_count(chosen, spread)})
    return rows


def counts_of_cells(
    name: str,
    image: Image,
    spots: pd.DataFrame,
    regions: Mapping[str, Regions],
    spread: float | None,
    channel: int | None,
) -> list[dict[str, Any]]:
    """Count the spots of each cell, including empty ones; cell 0 is outside all cells.

    Parameters
    ----------
    name, image, spots, spread, channel
        See `counts_of_image`. The table has a column for each of the regions.
    regions : mapping of str to Regions
        Of the image; the first are the cells, the others parts of them, such as nuclei.

    Returns
    -------
    list of dict
        As `counts_of_image`, and `cell`, its area or volume, and spots for each µm² or µm³
        where the size of a pixel is known; the same of each of its parts.
    """
    main, *parts = regions.items()
    rows = []
    sizes: dict[int, list[dict[int, int]]] = {}
    for place, chosen in _groups(image, spots, channel):
        frame = place.get("frame", 0)
        if frame not in sizes:
            inside = [None, *(part for _, part in parts)]
            sizes[frame] = [main[1].sizes(frame, part) for part in inside]
        whole, *of_parts = sizes[frame]
        by_cell = dict(list(chosen.groupby(main[0])))
        for cell in [*sorted(set(whole) - {0}), 0]:
            own = by_cell.get(cell, chosen.iloc[:0])
            row = {"image": name, **place, "cell": cell, **_count(own, spread)}
            row |= _size(whole.get(cell, 0), len(own), image, main[1].is_3d)
            for (part, region), size in zip(parts, of_parts, strict=True):
                n = int((own[part] > 0).sum())
                is_3d = main[1].is_3d or region.is_3d
                about = _size(size.get(cell, 0), n, image, is_3d)
                row |= {f"{key}_in_{part}": v for key, v in ({"n": n} | about).items()}
            rows.append(row)
    return rows


def write_counts(records: Iterable[Mapping[str, Any]], name: str, path: Path) -> None:
    """Write a table of counts; keep the rows of other images in an existing one.

    Parameters
    ----------
    records : iterable of mapping
        Of images, as in the description of a result.
    name : str
        `IMAGES` or `CELLS`: the key under which the records hold their counts.
    path : Path
        The table.

    Raises
    ------
    ValueError
        If the file exists and is not such a table, or another run keeps writing it.
    """
    table = pd.DataFrame([row for record in records for row in record.get(name, ())])
    if table.empty:
        return
    with locked(path, patience=_PATIENCE):  # array jobs may write into one folder
        if path.exists():
            before = _read(path)
            table = pd.concat([before[~before["image"].isin(table["image"])], table])
        is_whole = [c for c in table.columns if c.split("_in_")[0] in _WHOLE]
        for column in is_whole:
            # Whole numbers, also where some are empty.
            table[column] = table[column].astype("Int64")
        write_csv(table, path)


def _read(path: Path) -> pd.DataFrame:
    try:
        return read_counts(path)
    except ValueError as error:
        raise ValueError(f"{error}; choose another output folder") from error


def _groups(
    image: Image, spots: pd.DataFrame, channel: int | None
) -> Iterable[tuple[dict[str, int], pd.DataFrame]]:
    """Walk through frames and channels with their spots."""
    for frame, c in dict.fromkeys((t, c) for t, c, _ in image.places(channel)):
        place = {}
        chosen = spots
        for axis, name, value in (("T", "frame", frame), ("C", "channel", c)):
            if axis in image.axes:
                place[name] = value
                chosen = chosen[chosen[name] == value]
        yield place, chosen


def _count(spots: pd.DataFrame, spread: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"n": len(spots)}
    if spread is None:
        return row
    probability = spots["probability"].to_numpy(np.float64)
    real = real_count(probability, spread)._asdict()
    return row | {name: round(value, 2) for name, value in real.items()}


def _size(n_pixels: int, n_spots: int, image: Image, is_3d: bool) -> dict[str, Any]:
    what, power = ("volume", 3) if is_3d else ("area", 2)
    row: dict[str, Any] = {f"{what}_px": n_pixels}
    size = image.pixel_size
    if size is not None and (not is_3d or size.z is not None):
        one = size.y * size.x * ((size.z or 1.0) if is_3d else 1.0)
        row[f"{what}_um{power}"] = round(n_pixels * one, 4)
        density = n_spots / (n_pixels * one) if n_pixels else np.nan
        row[f"density_um{power}"] = round(density, 6)
    return row
