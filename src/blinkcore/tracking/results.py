"""Link the results of `blinkcore predict`, and write tracks for other programs."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from blinkcore import io
from blinkcore.io import geff_format, tables, trackmate
from blinkcore.io.provenance import check_own, describe_table
from blinkcore.io.tables import columns_of
from blinkcore.tracking import motion
from blinkcore.tracking.link import LinkOptions, link
from blinkcore.tracking.plots import plot

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from blinkcore.image import PixelSize
    from blinkcore.io.results import ImageSpots

logger = logging.getLogger(__name__)

FORMATS = (".csv", ".xml", ".geff")


class Summary(NamedTuple):
    """The tracks of one movie and channel, and their motion."""

    name: str
    n_spots: int
    tracks: pd.DataFrame
    diffusion: tuple[float, float, float]
    units: tuple[str, str]


def link_movie(
    movie: ImageSpots,
    output: Path,
    options: LinkOptions,
    *,
    formats: tuple[str, ...] = (".csv",),
    min_spots: int = 1,
    recorded: Mapping[str, Any] | None = None,
) -> list[Summary]:
    """Link the spots of a movie and write its tracks.

    Parameters
    ----------
    movie : ImageSpots
        Spots with a column `frame`.
    output : Path
        Folder for the tracks.
    options : LinkOptions
        How spots are linked.
    formats : tuple of str
        Out of `FORMATS`. TrackMate and GEFF get a file for each channel.
    min_spots : int
        Shorter tracks are left out of everything.
    recorded : mapping, optional
        Options as the user gave them, for the description.

    Returns
    -------
    list of Summary

    Raises
    ------
    ValueError
        If the table has no frames, or would replace a file that is not of blinkcore.
    """
    linked = link(movie.spots, options, pixel_size=movie.pixel_size)
    spots, links = _without_short(linked.spots, linked.links, min_spots)
    channels = spots["channel"] if "channel" in spots else pd.Series(0, spots.index)
    mark = ".channel{}" if "channel" in spots else ""
    names = {channel: movie.name + mark.format(channel) for channel in channels}
    _check_free(output, names.values(), formats)
    if ".csv" in formats:
        _write_table(spots, output / f"{movie.name}.csv", movie, recorded or {})
    found = []
    for channel, own in spots.groupby(channels):
        name = names[channel]
        rows = np.full(len(spots), -1)
        rows[own.index] = np.arange(len(own))
        pairs = rows[links[np.isin(links[:, 0], own.index)]]
        own = own.reset_index(drop=True)
        found.append(_summary(name, own, movie, output))
        _write_graphs(own, pairs, output / name, movie, formats)
    return found


def _write_graphs(
    spots: pd.DataFrame,
    links: NDArray[np.int64],
    base: Path,
    movie: ImageSpots,
    formats: Collection[str],
) -> None:
    """Write the tracks of a channel for other programs."""
    size, interval = movie.pixel_size, movie.interval
    if ".xml" in formats:
        image = Path(movie.image) if movie.image else None
        trackmate.write_xml(
            spots, base.with_name(f"{base.name}.xml"), image=image, sizes=movie.sizes,
            pixel_size=size, interval=interval, links=links,
        )  # fmt: skip
    if ".geff" in formats:
        path = base.with_name(f"{base.name}{geff_format.SUFFIX}")
        geff_format.write(spots, links, path, pixel_size=size, interval=interval)


_ALWAYS = (".tracks.csv", ".msd.csv", ".motion.png")  # files of each channel


def _check_free(output: Path, names: Iterable[str], formats: Collection[str]) -> None:
    """Refuse to replace files of others; ours lie beside a table of tracks.

    That table is written first, so that also an interrupted run is known again.
    """
    for name in names:
        if {"track", "length_unit"} <= columns_of(output / f"{name}.tracks.csv"):
            continue
        for suffix in (*_ALWAYS, *(f for f in formats if f != ".csv")):
            path = output / f"{name}{suffix}"
            if path.exists() or path.is_symlink():
                raise ValueError(
                    f"{path} is there and not a result of blinkcore; choose another "
                    "output"
                )


def _write_table(
    spots: pd.DataFrame, table: Path, movie: ImageSpots, recorded: Mapping[str, Any]
) -> None:
    check_own(table)
    io.write_spots(spots, table)
    describe_table(table, "link", {"axes": movie.axes, **recorded}, [movie.described()])


def _summary(
    name: str, spots: pd.DataFrame, movie: ImageSpots, output: Path
) -> Summary:
    """Describe the tracks of a channel, in µm and s where these are known."""
    size, interval = movie.pixel_size, movie.interval
    scale, step = _scale(spots, size), interval or 1.0
    units = ("px" if size is None else "µm", "frame" if interval is None else "s")
    described = motion.track_table(spots, scale=scale, interval=step)
    msd = motion.mean_squared_displacement(spots, scale=scale, interval=step)
    for suffix, table in (
        ("tracks", described.assign(length_unit=units[0], time_unit=units[1])),
        ("msd", msd),
    ):
        tables.write_csv(table, output / f"{name}.{suffix}.csv")
    if find_spec("matplotlib") is not None and len(described):
        try:
            plot(described, msd, units, output / f"{name}.motion.png")
        except (ValueError, RuntimeError) as error:  # the tables are written
            logger.warning("%s: its motion could not be drawn: %s", name, error)
    return Summary(
        name,
        len(spots),
        described,
        motion.diffusion(spots, scale=scale, interval=step),
        units,
    )


def _scale(spots: pd.DataFrame, size: PixelSize | None) -> dict[str, float]:
    """Return the size of a pixel along each axis; z counts where its size is known."""
    if size is None:
        return {"y": 1.0, "x": 1.0}
    scale = {"y": size.y, "x": size.x}
    return scale if size.z is None or "z" not in spots else {"z": size.z} | scale


def _without_short(
    spots: pd.DataFrame, links: NDArray[np.int64], min_spots: int
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Leave out short tracks; gives the links by the rows of what is left."""
    long = (spots.groupby("track")["track"].transform("size") >= min_spots).to_numpy(
        bool
    )
    rows = np.cumsum(long) - 1
    kept = links[long[links].all(axis=1)] if len(links) else links
    return spots[long].reset_index(drop=True), rows[kept]
