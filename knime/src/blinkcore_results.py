"""What comes after detection: counts of images, tracks of movies.

It does not depend on KNIME.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import blinkcore_program as program

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd


def counts(spots: pd.DataFrame, searched: pd.DataFrame) -> pd.DataFrame:
    """Count the spots of each image, frame and channel, also where there are none.

    Parameters
    ----------
    spots : DataFrame
        As `blinkcore_cli.predict` gives it.
    searched : DataFrame
        What was searched: a column `image` and, where they are known, `frame` and
        `channel`.

    Returns
    -------
    DataFrame
        image, frame, channel, n, and expected: the sum of the probabilities.
    """
    import pandas as pd

    place = ["image", "frame", "channel"]
    known, empty = (
        table.assign(**{n: 0 for n in place[1:] if n not in table.columns})
        for table in (spots, searched)
    )
    found = known.groupby(place, sort=False)["probability"]
    table = found.agg(n="size", expected="sum").reset_index()
    if "frame" not in searched.columns:
        with_spots = set(table["image"])
        # `a.czi#1` is one of several images in the file `a.czi`.
        with_spots |= {name.rpartition("#")[0] for name in with_spots}
        empty = empty[~empty["image"].isin(with_spots)]
    empty = empty[place].drop_duplicates().assign(n=0, expected=0.0)
    kinds = {"image": "string", "frame": "int64", "channel": "int64"}
    table, empty = (t.astype({**kinds, "n": "int64"}) for t in (table, empty))
    both = pd.concat([table, empty], ignore_index=True)
    # The first row of a place is the one with its spots, if it has any.
    both = both.drop_duplicates(place).reset_index(drop=True)
    return both.astype({"expected": "float64"})


class Linked(NamedTuple):
    """Spots with their tracks, a table of the tracks, and what the program warned of."""

    spots: pd.DataFrame
    tracks: pd.DataFrame
    warnings: list[str]


# Columns of the table of tracks.
TRACKS = {
    "image": "string", "channel": "int64", "track": "int64", "n_spots": "int64",
    "first_frame": "int64", "duration": "float64", "length": "float64",
    "displacement": "float64", "mean_speed": "float64", "diffusion": "float64",
    "length_unit": "string", "time_unit": "string",
}  # fmt: skip


def link(
    spots: pd.DataFrame,
    options: dict[str, Any],
    *,
    is_canceled: Callable[[], bool] = lambda: False,
) -> Linked:
    """Link the spots of each image and channel.

    Parameters
    ----------
    spots : DataFrame
        As `blinkcore_cli.predict` gives it.
    options : dict
        Of `blinkcore link`, such as `--radius`.
    is_canceled : callable
        See `blinkcore_program.run`.

    Returns
    -------
    Linked
        The same rows in the same order with a column `track`, int64: tracks of different
        images have different numbers; -1 for a spot without a track. And `TRACKS`, of
        tracks with these numbers.

    Raises
    ------
    ProgramError, Canceled
        If the program could do nothing, or the host canceled.
    """
    import pandas as pd

    track = pd.Series(-1, index=range(len(spots)), dtype="int64")
    rows = spots.reset_index(drop=True)
    described = [pd.DataFrame(columns=list(TRACKS)).astype(TRACKS)]
    used, warnings = 0, []
    for image, own in rows.groupby("image", sort=False):
        linked, tracks, said = _linked(own, options, is_canceled)
        warnings += [f"{image}: {text}" for text in said]
        numbers = linked["track"].where(linked["track"] < 0, linked["track"] + used)
        track[linked["row"].to_numpy()] = numbers.to_numpy()
        tracks = tracks.assign(image=str(image), track=tracks["track"] + used)
        described.append(tracks.reindex(columns=list(TRACKS)).astype(TRACKS))
        used = max(used, int(numbers.max()) + 1 if len(numbers) else 0)
    spots = spots.assign(track=track.to_numpy())
    return Linked(spots, pd.concat(described, ignore_index=True), warnings)


def _linked(
    spots: pd.DataFrame, options: dict[str, Any], is_canceled: Callable[[], bool]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Link the spots of one image; give them, its tracks, and the program's warnings."""
    import pandas as pd

    with tempfile.TemporaryDirectory(prefix="blinkcore-") as name:
        folder = Path(name)
        kept = [n for n in ("frame", "channel", "z", "y", "x") if n in spots.columns]
        # z that is 0 everywhere is that of images without planes.
        kept = [n for n in kept if n != "z" or spots["z"].any()]
        # The number of a row goes through the program as a column that it keeps.
        table = spots[kept].assign(probability=1.0, row=spots.index)
        source, output = folder / "spots.csv", folder / "out"
        table.to_csv(source, index=False)
        given = {"--output": output, "--format": "csv"} | options
        words = ["link", str(source), *program.words(given)]
        events: list[dict[str, Any]] = []
        program.run(words, None, events.append, is_canceled)
        linked = pd.read_csv(output / "spots.csv")
        tracks = [pd.read_csv(path) for path in sorted(output.glob("*.tracks.csv"))]
    described = pd.concat(tracks, ignore_index=True)
    if "channel" not in described:
        described["channel"] = 0
    said = [str(e["message"]) for e in events if e.get("event") == "warning"]
    return linked, described, said
