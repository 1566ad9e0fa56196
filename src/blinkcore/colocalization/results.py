"""Pair the spots of two channels of an image, and write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from blinkcore import io
from blinkcore.colocalization.colocalize import (
    Pairs,
    colocalize,
    shuffled_in_field,
    shuffled_in_regions,
)
from blinkcore.colocalization.shift import estimate_shift
from blinkcore.detection.cells import Regions
from blinkcore.io import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from blinkcore.colocalization.channels import Channels
    from blinkcore.colocalization.shift import Shift


def shift_between(
    images: list[Channels], model: str, *, largest: float, distance: float
) -> Shift:
    """Estimate the shift of the second channel from all images together."""
    sides: list[list[NDArray[np.float64]]] = [[], []]
    for both in images:
        for group in _frames(both):
            for side, spots in enumerate((both.first.spots, both.second.spots)):
                points = spots[["y", "x"]].to_numpy(float)
                if _has_z(both):
                    points = np.column_stack([spots["z"] * _ratio(both), points])
                sides[side].append(points[group.rows[side]])
    return estimate_shift(*sides, model=model, largest=largest, distance=distance)


class _Group(NamedTuple):
    """Rows of both tables in one frame, or in one cell of it."""

    frame: int
    cell: int | None
    rows: tuple[NDArray[np.int64], NDArray[np.int64]]


def _frames(both: Channels) -> Iterator[_Group]:
    frames = [
        t["frame"].to_numpy() if "frame" in t else np.zeros(len(t), np.int64)
        for t in (both.first.spots, both.second.spots)
    ]
    known = range((both.first.sizes or {}).get("T", 1))
    for frame in sorted({*known, *(int(f) for side in frames for f in side)}):
        first, second = (np.flatnonzero(side == frame) for side in frames)
        yield _Group(frame, None, (first, second))


def _groups(both: Channels, cells: list[NDArray[np.int64]] | None) -> Iterator[_Group]:
    """Walk through frames, and through the cells of each."""
    for group in _frames(both):
        yield group
        if cells is None:
            continue
        inside = [c[rows] for c, rows in zip(cells, group.rows, strict=True)]
        for cell in sorted({int(c) for side in inside for c in side} - {0}):
            first, second = (
                rows[own == cell] for rows, own in zip(group.rows, inside, strict=True)
            )
            yield _Group(group.frame, cell, (first, second))


def colocalize_image(
    both: Channels,
    output: Path,
    *,
    distance: float,
    shift: Shift | None = None,
    labels: Path | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Pair the spots of two channels of an image, and write them.

    Parameters
    ----------
    both : Channels
        Spots.
    output : Path
        Folder for `NAME.first.csv` and `NAME.second.csv`, with `partner` (row of the other
        table, from 0; -1: none) and `partner_distance` (px).
    distance : float
        Largest distance of a pair, in px of x.
    shift : Shift, optional
        Correction of the second channel.
    labels : Path, optional
        Label image of cells; random positions then stay within the cells.
    seed : int
        Seed of the random positions.

    Returns
    -------
    DataFrame
        Of each frame and cell: numbers of spots and pairs, fractions, and the number of
        pairs expected by chance with its interval.
    """
    spots = (both.first.spots, both.second.spots)
    corrected = (spots[0], _moved(spots[1], shift, _ratio(both)))
    regions = cells = None
    if labels is not None:
        regions = Regions.read(labels, both.first.sizes or _sizes_of(both))
        cells = [regions.of_spots(side)[0] for side in corrected]
    places = [_places(side, both) for side in corrected]
    partner = [np.full(len(side), -1, np.int64) for side in spots]
    apart = [np.full(len(side), np.nan) for side in spots]
    rows, pixels = [], None
    for group in _groups(both, cells):
        if regions and group.cell is None and (pixels is None or regions.changes):
            pixels = regions.pixels(group.frame)
        own = [p[r] for p, r in zip(places, group.rows, strict=True)]
        numbers = None if cells is None else cells[1][group.rows[1]]
        draw = _chance(both, own[1], pixels, numbers)
        found = colocalize(*own, distance=distance, shuffled=draw, seed=seed)
        rows.append(_row(both, group, found))
        if group.cell is None:
            first, second = (group.rows[n][found.rows[:, n]] for n in (0, 1))
            partner[0][first], partner[1][second] = second, first
            apart[0][first] = apart[1][second] = found.distance
    for n, name in enumerate(("first", "second")):
        table = spots[n].assign(partner=partner[n], partner_distance=apart[n])
        io.write_spots(table, output / f"{both.name}.{name}.csv")
    result: pd.DataFrame = pd.DataFrame(rows)
    return result


def _row(both: Channels, group: _Group, pairs: Pairs) -> dict[str, Any]:
    n, n_first, n_second = len(pairs.rows), *map(len, group.rows)
    row = {
        "image": both.first.image or both.name,
        "frame": group.frame,
        "n_first": n_first,
        "n_second": n_second,
        "n_pairs": n,
        "fraction_first": n / n_first if n_first else np.nan,
        "fraction_second": n / n_second if n_second else np.nan,
        "chance": round(pairs.chance, 3),
        "chance_low": pairs.low,
        "chance_high": pairs.high,
    }
    return row if group.cell is None else row | {"cell": group.cell}


def _places(spots: pd.DataFrame, both: Channels) -> NDArray[np.float64]:
    """Give positions in units of a pixel's width, z first if both channels have it."""
    scaled: NDArray[np.float64] = spots[["y", "x"]].to_numpy(float) * _scale(both)
    if not _has_z(both):
        return scaled
    return np.column_stack([spots["z"].to_numpy(float) * _ratio(both), scaled])


def _has_z(both: Channels) -> bool:
    return "z" in both.first.spots and "z" in both.second.spots


def _ratio(both: Channels) -> float:
    """Give the distance of planes in px of x; 1 if it is not known."""
    size = both.first.pixel_size
    return 1.0 if size is None or size.z is None else size.z / size.x


def _moved(spots: pd.DataFrame, shift: Shift | None, ratio: float) -> pd.DataFrame:
    if shift is None:
        return spots
    y, x = shift.apply(spots[["y", "x"]].to_numpy(float)).T
    moved: pd.DataFrame = spots.assign(y=y, x=x)
    if "z" in spots:
        moved["z"] = spots["z"] + shift.offset_z / ratio
    return moved


def _scale(both: Channels) -> NDArray[np.float64]:
    size = both.first.pixel_size
    return np.array([1.0 if size is None else size.y / size.x, 1.0])


def _chance(
    both: Channels,
    second: NDArray[np.float64],
    pixels: dict[int, NDArray[np.int64]] | None,
    cells: NDArray[np.int64] | None,
) -> Callable[[np.random.Generator], NDArray[np.float64]]:
    """Return what draws random positions of the second channel, within any cells."""
    scale = _scale(both)
    if pixels is None or cells is None:
        sizes = both.first.sizes or _sizes_of(both)
        return shuffled_in_field(second, (sizes["Y"], sizes["X"]), scale)
    return shuffled_in_regions(second, cells, pixels, scale)


def _sizes_of(both: Channels) -> dict[str, int]:
    """Give a height and width that hold all spots, if the image's are unknown."""
    both_spots = pd.concat([both.first.spots, both.second.spots])
    if both_spots.empty:
        return {"Y": 1, "X": 1}
    return {
        axis: int(np.ceil(both_spots[name].max())) + 1
        for axis, name in (("Y", "y"), ("X", "x"))
    }


def write_summary(rows: list[pd.DataFrame], output: Path) -> None:
    """Write the rows of all images."""
    tables.write_csv(pd.concat(rows, ignore_index=True), output / "colocalization.csv")
