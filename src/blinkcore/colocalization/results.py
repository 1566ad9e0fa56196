"""Pair the spots of two channels of an image, and write them."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from blinkcore import io
from blinkcore.colocalization.colocalize import (
    N_SHUFFLES,
    Chance,
    colocalize,
    shuffled_in_field,
    shuffled_in_regions,
)
from blinkcore.colocalization.shift import estimate_shift
from blinkcore.detection.cells import Regions
from blinkcore.files import utf8_safe
from blinkcore.io import tables
from blinkcore.io.provenance import check_own, describe_table
from blinkcore.spots import positions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from blinkcore.colocalization.channels import Channels
    from blinkcore.colocalization.shift import Shift


def shift_between(
    images: list[Channels], model: str, *, largest: float, distance: float
) -> Shift:
    """Estimate the shift of the second channel from all images together."""
    sides: list[list[NDArray[np.float64]]] = [[], []]
    sizes = [both.first.pixel_size for both in images]
    has_z = all(map(_has_z, images))
    in_um = all(size is not None and size.z is not None for size in sizes)
    for both in images:
        for group in _frames(both):
            for side, spots in enumerate((both.first.spots, both.second.spots)):
                points = spots[["y", "x"]].to_numpy(float)
                size = both.first.pixel_size
                if has_z:
                    step = size.z if in_um and size is not None and size.z else 1.0
                    points = np.column_stack([spots["z"] * step, points])
                sides[side].append(points[group.rows[side]])
    found = estimate_shift(*sides, model=model, largest=largest, distance=distance)
    return replace(
        found,
        z_unit=("um" if in_um else "planes") if has_z else "",
        pixel_size=None if sizes[0] is None else sizes[0].x,
    )


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


def _groups(both: Channels, draws: _Draws) -> Iterator[_Group]:
    """Walk through frames, and through the cells of each, also those without spots."""
    for group in _frames(both):
        yield group
        if draws.cells is None:
            continue
        inside = [c[rows] for c, rows in zip(draws.cells, group.rows, strict=True)]
        for cell in sorted(draws.pixels(group.frame)):  # 0 is outside
            first, second = (
                rows[own == cell] for rows, own in zip(group.rows, inside, strict=True)
            )
            yield _Group(group.frame, cell, (first, second))


class ImagePairs(NamedTuple):
    """How often two channels of an image are found together.

    Attributes
    ----------
    name : str
        Of its results.
    table : DataFrame
        A row for each frame and cell: numbers of spots and pairs, fractions, and the number
        of pairs expected by chance with its interval of 95 %.
    total : dict
        The same of all frames together.
    by_chance : ndarray of int64, shape (n,)
        Number of pairs each time that positions were drawn at random.
    """

    name: str
    table: pd.DataFrame
    total: dict[str, Any]
    by_chance: NDArray[np.int64]


def colocalize_image(
    both: Channels,
    output: Path,
    *,
    distance: float,
    shift: Shift | None = None,
    labels: Path | None = None,
    seed: int = 0,
    recorded: Mapping[str, Any] | None = None,
) -> ImagePairs:
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
        Seed of the random positions, which differ from image to image.
    recorded : mapping, optional
        The options as the user gave them, for the descriptions (`NAME.first.json`).

    Returns
    -------
    ImagePairs

    Raises
    ------
    OSError, ValueError
        If the label image cannot be read or is not one of this image, or if a file that is
        not of blinkcore would be replaced.
    """
    for side in ("first", "second"):
        check_own(output / f"{both.name}.{side}.csv")
    spots = (both.first.spots, both.second.spots)
    corrected = (spots[0], _moved(spots[1], shift, both))
    regions = cells = None
    if labels is not None:
        regions = Regions.read(labels, both.first.sizes)
        cells = [regions.of_spots(side)[0] for side in corrected]
    rng = np.random.default_rng([seed, zlib.crc32(utf8_safe(both.name).encode())])
    found = _pair(both, corrected, _Draws(both, regions, cells), distance, rng)
    for n, side in enumerate(("first", "second")):
        table = output / f"{both.name}.{side}.csv"
        columns = {"partner": found.partner[n], "partner_distance": found.apart[n]}
        io.write_spots(spots[n].assign(**columns), table)
        image = (both.first, both.second)[n]
        options = {"axes": image.axes, **(recorded or {})}
        describe_table(table, "colocalize", options, [image.described()])
    sizes = (len(spots[0]), len(spots[1]), int((found.partner[0] >= 0).sum()))
    total = _row(both, {}, sizes, found.by_chance)
    return ImagePairs(both.name, pd.DataFrame(found.rows), total, found.by_chance)


class _Paired(NamedTuple):
    """Pairs of all frames: rows of the table, and for each spot its partner."""

    rows: list[dict[str, Any]]
    partner: list[NDArray[np.int64]]
    apart: list[NDArray[np.float64]]
    by_chance: NDArray[np.int64]


def _pair(
    both: Channels,
    corrected: tuple[pd.DataFrame, pd.DataFrame],
    draws: _Draws,
    distance: float,
    rng: np.random.Generator,
) -> _Paired:
    """Pair the spots of each frame and cell."""
    places = [_places(side, both) for side in corrected]
    partner = [np.full(len(side), -1, np.int64) for side in corrected]
    apart = [np.full(len(side), np.nan) for side in corrected]
    total = np.zeros(N_SHUFFLES, np.int64)
    rows = []
    for group in _groups(both, draws):
        own = [p[r] for p, r in zip(places, group.rows, strict=True)]
        shuffled = draws.of(group, own[1])
        found = colocalize(*own, distance=distance, shuffled=shuffled, rng=rng)
        about = {"frame": group.frame}
        about |= {} if group.cell is None else {"cell": group.cell}
        sizes = (len(own[0]), len(own[1]), len(found.rows))
        rows.append(_row(both, about, sizes, found.by_chance))
        if group.cell is None:
            total += found.by_chance
            first, second = (group.rows[n][found.rows[:, n]] for n in (0, 1))
            partner[0][first], partner[1][second] = second, first
            apart[0][first] = apart[1][second] = found.distance
    return _Paired(rows, partner, apart, total)


def _row(
    both: Channels,
    about: Mapping[str, Any],
    sizes: tuple[int, int, int],
    by_chance: NDArray[np.int64],
) -> dict[str, Any]:
    n_first, n_second, n = sizes
    chance = Chance.of(by_chance)
    return {
        "image": both.first.image or both.name,
        **about,
        "n_first": n_first,
        "n_second": n_second,
        "n_pairs": n,
        "fraction_first": n / n_first if n_first else np.nan,
        "fraction_second": n / n_second if n_second else np.nan,
        "chance": round(chance.mean, 3),
        "chance_low": chance.low,
        "chance_high": chance.high,
    }


class _Draws:
    """Draws random positions for the second channel: in the field, or within cells."""

    def __init__(
        self,
        both: Channels,
        regions: Regions | None,
        cells: list[NDArray[np.int64]] | None,
    ) -> None:
        self.both, self.regions, self.cells = both, regions, cells
        self._pixels: dict[int, NDArray[np.int64]] = {}
        self._frame: int | None = None

    def pixels(self, frame: int) -> dict[int, NDArray[np.int64]]:
        """List the pixels of each cell in a frame; cell 0 is what is outside."""
        if self.regions is None:
            return {}
        if self._frame is None or (self.regions.changes and self._frame != frame):
            self._pixels, self._frame = self.regions.pixels(frame), frame
        return self._pixels

    def of(
        self, group: _Group, second: NDArray[np.float64]
    ) -> Callable[[np.random.Generator], NDArray[np.float64]]:
        """Return what draws positions for the spots of a group."""
        scale = _scale(self.both)
        if self.cells is None:
            return shuffled_in_field(second, _shape(self.both), scale)
        if second.shape[1] == 3:
            scale = np.array([_ratio(self.both), *scale])
        own = self.cells[1][group.rows[1]]
        return shuffled_in_regions(second, own, self.pixels(group.frame), scale)


def _places(spots: pd.DataFrame, both: Channels) -> NDArray[np.float64]:
    """Return positions in units of a pixel's width, z first if both channels have it."""
    axes = ("z", "y", "x") if _has_z(both) else ("y", "x")
    return positions(spots, both.first.pixel_size, axes)


def _has_z(both: Channels) -> bool:
    return "z" in both.first.spots and "z" in both.second.spots


def _ratio(both: Channels) -> float:
    """Return the distance of planes in px of x; 1 if it is not known."""
    size = both.first.pixel_size
    return 1.0 if size is None or size.z is None else size.z / size.x


def _moved(spots: pd.DataFrame, shift: Shift | None, both: Channels) -> pd.DataFrame:
    if shift is None:
        return spots
    y, x = shift.apply(spots[["y", "x"]].to_numpy(float)).T
    moved: pd.DataFrame = spots.assign(y=y, x=x)
    shift.check_pixels(both.first.pixel_size, both.name)
    if _has_z(both):
        moved["z"] = spots["z"] + shift.planes(both.first.pixel_size, both.name)
    return moved


def _scale(both: Channels) -> NDArray[np.float64]:
    size = both.first.pixel_size
    return np.array([1.0 if size is None else size.y / size.x, 1.0])


def _shape(both: Channels) -> tuple[int, int]:
    """Return a height and width that hold the spots of both channels."""
    extents = [channel.extent for channel in (both.first, both.second)]
    return max(e["Y"] for e in extents), max(e["X"] for e in extents)


def write_summary(
    found: list[ImagePairs], output: Path, recorded: Mapping[str, Any]
) -> None:
    """Write the rows of all images, and one row for each image."""
    every = output / "colocalization.csv"
    rows = pd.concat([pairs.table for pairs in found], ignore_index=True)
    if "cell" in rows:
        rows["cell"] = rows["cell"].astype("Int64")
    tables.write_csv(rows, every)
    describe_table(every, "colocalize", recorded, [])
    totals = pd.DataFrame([pairs.total for pairs in found])
    tables.write_csv(totals, output / tables.PAIRS_OF_IMAGES)
