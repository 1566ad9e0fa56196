"""Colocalization of the results of `blinkcore predict`: read tables, pair, write."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
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
from blinkcore.datasets.pairing import pair_by_name
from blinkcore.detection.cells import Regions
from blinkcore.files import files_in, whole_file
from blinkcore.io.results import ImageSpots, read_results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from blinkcore.colocalization.shift import Shift
    from blinkcore.image import PixelSize


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Channels:
    """Spots of two channels of one image."""

    first: ImageSpots
    second: ImageSpots

    @property
    def name(self) -> str:
        """Name of the first channel's results."""
        return self.first.name


def read_channels(
    first: Path,
    second: Path | None,
    channels: tuple[int, int],
    pixel_size: PixelSize | None = None,
) -> list[Channels]:
    """Read two channels, from two results or from one that has several channels.

    Parameters
    ----------
    first, second : Path
        Tables of spots, or folders; if `second` is None, with a column `channel`.
    channels : tuple of int
        The two channels to compare if `second` is None.
    pixel_size : PixelSize, optional
        In µm, in place of the one in the descriptions.

    Returns
    -------
    list of Channels
        One per image. Images that have only one of the channels are left out, each with a
        warning.

    Raises
    ------
    OSError, ValueError
        If a table cannot be read, or no image has both channels.
    """
    one = list(read_results(first, pixel_size=pixel_size))
    if second is None:
        return _two_of(one, channels)
    other = {s.name: s for s in read_results(second, pixel_size=pixel_size)}
    if len(one) == len(other) == 1:
        return [Channels(one[0], *other.values())]
    both = [Channels(spots, other[spots.name]) for spots in one if spots.name in other]
    if not both:
        raise ValueError(f"{first} and {second} have no image in common by name")
    alone = {spots.name for spots in one} ^ set(other)
    for name in sorted(alone):
        logger.warning("%s is left out: %s", name, "it is in one of the two only")
    return both


def _two_of(images: list[ImageSpots], channels: tuple[int, int]) -> list[Channels]:
    """Split images into two of their channels; warn of those that lack one."""
    both, problems = [], []
    for spots in images:
        table, n_channels = spots.spots, (spots.sizes or {}).get("C")
        if "channel" not in table.columns:
            problems.append(f"the table of {spots.name} has no column 'channel'")
        elif n_channels is not None and max(channels) >= n_channels:
            problems.append(f"{spots.name} has no channel {max(channels)}")
        else:
            own = (table[table["channel"] == c] for c in channels)
            sides = (replace(spots, spots=t.reset_index(drop=True)) for t in own)
            both.append(Channels(*sides))
    if not both:
        raise ValueError(f"{problems[0]}: give two tables, or other channels")
    for problem in problems:
        logger.warning("left out: %s", problem)
    return both


def shift_between(
    images: list[Channels], model: str, *, largest: float, distance: float
) -> Shift:
    """Estimate the shift of the second channel from all images together."""
    sides: list[list[NDArray[np.float64]]] = [[], []]
    for both in images:
        for group in _frames(both):
            for side, spots in enumerate((both.first.spots, both.second.spots)):
                points = spots[["y", "x"]].to_numpy(float)
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
        One row per frame and, with a label image, one per cell: numbers of spots and
        pairs, fractions, and the number of pairs expected by chance with its interval.
    """
    spots = (both.first.spots, both.second.spots)
    regions = cells = None
    if labels is not None:
        regions = Regions.read(labels, both.first.sizes or _sizes_of(both))
        # The shift moves the second channel's spots, and so into which cell each falls.
        moved = spots[1] if shift is None else _moved(spots[1], shift)
        cells = [regions.of_spots(side)[0] for side in (spots[0], moved)]
    places = [_places(side, both, shift if n else None) for n, side in enumerate(spots)]
    partner = [np.full(len(side), -1, np.int64) for side in spots]
    apart = [np.full(len(side), np.nan) for side in spots]
    rows = []
    pixels = None
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


def _places(
    spots: pd.DataFrame, both: Channels, shift: Shift | None
) -> NDArray[np.float64]:
    """Give positions in units of a pixel's width, z first if both channels have it."""
    points = spots[["y", "x"]].to_numpy(float)
    if shift is not None:
        points = shift.apply(points)
    scaled: NDArray[np.float64] = points * _scale(both)
    if "z" not in both.first.spots or "z" not in both.second.spots:
        return scaled
    size = both.first.pixel_size
    ratio = 1.0 if size is None or size.z is None else size.z / size.x
    return np.column_stack([spots["z"].to_numpy(float) * ratio, scaled])


def _moved(spots: pd.DataFrame, shift: Shift) -> pd.DataFrame:
    y, x = shift.apply(spots[["y", "x"]].to_numpy(float)).T
    return spots.assign(y=y, x=x)


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


def label_of(both: Channels, labels: Path) -> Path:
    """Find the label image of an image; ValueError if there is none."""
    if not labels.is_dir():
        return labels
    image = Path(both.first.image or both.name)
    pairs = pair_by_name([image], files_in(labels, io.IMAGE_SUFFIXES)).pairs
    if not pairs:
        raise ValueError(f"{image} has no label image in {labels}")
    return pairs[0][1]


def write_summary(tables: list[pd.DataFrame], output: Path) -> None:
    """Write the rows of all images."""
    with whole_file(output / "colocalization.csv") as temporary:
        pd.concat(tables, ignore_index=True).to_csv(
            temporary, index=False, lineterminator="\n"
        )
