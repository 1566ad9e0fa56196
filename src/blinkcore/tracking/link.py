"""Link the spots of a movie's frames into tracks with LapTrack.

Fukai & Kawaguchi, Bioinformatics 2023 (doi:10.1093/bioinformatics/btac799), after Jaqaman et
al., Nature Methods 2008 (doi:10.1038/nmeth.1237).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from blinkcore.files import missing
from blinkcore.spots import ordered, positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blinkcore.image import PixelSize


_ENDS = ("track_start_cost", "track_end_cost", "segment_start_cost", "segment_end_cost")


_FARTHEST = 1e6  # px, and frames


@dataclass(frozen=True)
class LinkOptions:
    """How spots are linked.

    Attributes
    ----------
    radius : float
        Largest distance between positions of a spot in successive frames, in px of x.
    gap : int
        Frames in which a spot may be missing.
    splitting, merging : bool
        Let a track split off from another one, or merge into it.

    Raises
    ------
    ValueError
        If an option makes no sense; the message begins with its name.
    """

    radius: float = 5.0
    gap: int = 2
    splitting: bool = False
    merging: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.radius <= _FARTHEST:
            raise ValueError(
                f"radius must be above 0 and at most 1e6, got {self.radius}"
            )
        if not 0 <= self.gap <= _FARTHEST:
            raise ValueError(f"gap must be 0 to 1e6 frames, got {self.gap}")


class Linked(NamedTuple):
    """Spots with their tracks.

    Attributes
    ----------
    spots : DataFrame
        The spots table with a column `track`, from 0, in the order of frames. Where tracks
        split or merge, each piece between two such places is a track of its own.
    links : ndarray of int64, shape (n, 2)
        Rows of the table that are linked, the earlier first.
    """

    spots: pd.DataFrame
    links: NDArray[np.int64]


def link(
    spots: pd.DataFrame,
    options: LinkOptions | None = None,
    *,
    pixel_size: PixelSize | None = None,
) -> Linked:
    """Link the spots of a movie into tracks.

    Parameters
    ----------
    spots : DataFrame
        A spots table with a column `frame`. Each image and channel is linked by itself.
    options : LinkOptions, optional
        How spots are linked.
    pixel_size : PixelSize, optional
        In µm; it converts distances in y and z to px of x.

    Returns
    -------
    Linked

    Raises
    ------
    ValueError
        If there are no frames.
    """
    options = options or LinkOptions()
    if "frame" not in spots.columns:
        raise ValueError("the table has no column 'frame': tracks need a movie")
    keys = [name for name in ("image", "channel") if name in spots.columns]
    table = ordered(spots).sort_values([*keys, "frame"], kind="stable")
    table = table.reset_index(drop=True)
    track = np.full(len(table), -1, np.int64)
    links: list[NDArray[np.int64]] = []
    groups = table.groupby(keys, sort=False).indices if keys else {"": table.index}
    for rows in groups.values():
        numbers = np.asarray(rows, np.int64)
        own, pairs = _linked(table.iloc[numbers], options, pixel_size)
        track[numbers] = own + track.max(initial=-1) + 1
        links.append(numbers[pairs])
    table["track"] = track
    joined = np.concatenate(links) if links else np.empty((0, 2), np.int64)
    return Linked(ordered(table), joined.reshape(-1, 2))


def _without_long_gaps(frames: NDArray[np.int64], gap: int) -> NDArray[np.int64]:
    """Shorten gaps that no link closes, because a link looks at every frame within."""
    numbers, place = np.unique(frames, return_inverse=True)
    steps = np.minimum(np.diff(numbers, prepend=numbers[:1]), gap + 2)
    return np.cumsum(steps)[place]


def _linked(
    spots: pd.DataFrame, options: LinkOptions, pixel_size: PixelSize | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the track of each row, and the pairs of rows that are linked."""
    try:
        from laptrack import LapTrack
    except ImportError as error:
        raise missing("linking", str(error.name), "tracks") from error

    if len(spots) == 0:
        return np.empty(0, np.int64), np.empty((0, 2), np.int64)
    places = positions(spots, pixel_size)
    names = [f"place{i}" for i in range(places.shape[1])]
    table = pd.DataFrame(places, columns=names)
    table["frame"] = _without_long_gaps(spots["frame"].to_numpy(), options.gap)
    table["row"] = np.arange(len(table))
    squared = options.radius**2
    tracker = LapTrack(
        cutoff=squared,
        gap_closing_cutoff=squared if options.gap else False,
        gap_closing_max_frame_count=options.gap + 1,  # from frame to frame
        splitting_cutoff=squared if options.splitting else False,
        merging_cutoff=squared if options.merging else False,
        # Ending a track costs more than any link; by default a tenth of gaps stay open.
        **dict.fromkeys(_ENDS, 1.05 * squared),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its libraries, about themselves
        found, splits, merges = tracker.predict_dataframe(
            table, names, frame_col="frame", only_coordinate_cols=False
        )
    found = found.sort_values("row")
    track = found["track_id"].to_numpy(np.int64)
    return track, _pairs(table.assign(track=track), splits, merges)


def _pairs(
    table: pd.DataFrame, splits: pd.DataFrame, merges: pd.DataFrame
) -> NDArray[np.int64]:
    """List the pairs of rows that are linked: along tracks, and where these split and merge."""
    pairs: list[tuple[int, int]] = []
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, group in table.sort_values("frame").groupby("track"):
        rows = group["row"].tolist()
        pairs += pairwise(rows)
        first[int(str(number))], last[int(str(number))] = rows[0], rows[-1]
    for changes in (splits, merges):
        if len(changes):
            parents = changes["parent_track_id"].tolist()
            children = changes["child_track_id"].tolist()
            pairs += [
                (last[int(p)], first[int(c)])
                for p, c in zip(parents, children, strict=True)
            ]
    return np.array(sorted(set(pairs)), np.int64).reshape(-1, 2)
