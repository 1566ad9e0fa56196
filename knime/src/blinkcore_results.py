"""What comes after detection: counts of images, tracks of movies.

It does not depend on KNIME.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import blinkcore_program as program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd


def counts(spots: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """Count the spots of each image, frame and channel; images without spots have 0.

    Parameters
    ----------
    spots : DataFrame
        As `blinkcore_cli.predict` gives it.
    paths : sequence of str
        Images that were searched.

    Returns
    -------
    DataFrame
        image, frame, channel, n, and expected: the sum of the probabilities.
    """
    import pandas as pd

    place = ["image", "frame", "channel"]
    known = spots.assign(**{n: 0 for n in place[1:] if n not in spots.columns})
    grouped = known.groupby(place, sort=False)["probability"]
    found = grouped.agg(n="size", expected="sum").reset_index()
    with_spots = set(found["image"])
    # `a.czi#1` is one of several images in the file `a.czi`.
    with_spots |= {name.rpartition("#")[0] for name in with_spots}
    empty = [path for path in dict.fromkeys(paths) if path not in with_spots]
    none = pd.DataFrame(
        {"image": empty, "frame": 0, "channel": 0, "n": 0, "expected": 0.0}
    )
    table = pd.concat([found, none], ignore_index=True) if len(found) else none
    kinds = dict.fromkeys((*place[1:], "n"), "int64")
    return table.astype({"image": "string", **kinds, "expected": "float64"})


def link(
    spots: pd.DataFrame,
    *,
    radius: float,
    gap: int,
    is_canceled: Callable[[], bool] = lambda: False,
) -> pd.DataFrame:
    """Link the spots of each image and channel.

    Returns
    -------
    DataFrame
        The same rows in the same order with a column `track`, int64: tracks of different
        images have different numbers; -1 for a spot without a track.

    Raises
    ------
    ProgramError, Canceled
        If the program could do nothing, or the host canceled.
    """
    import pandas as pd

    track = pd.Series(-1, index=range(len(spots)), dtype="int64")
    rows = spots.reset_index(drop=True)
    used = 0
    for number, (_, own) in enumerate(rows.groupby("image", sort=False)):
        with tempfile.TemporaryDirectory(prefix="blinkcore-") as name:
            folder = Path(name)
            kept = [n for n in ("frame", "channel", "z", "y", "x") if n in own.columns]
            # The number of a row goes through the program as a column that it keeps.
            table = own[kept].assign(probability=1.0, row=own.index)
            source = folder / f"{number}.csv"
            table.to_csv(source, index=False)
            options = {"--output": folder / "out", "--radius": radius, "--gap": gap}
            words = ["link", str(source), "--format", "csv", *program.words(options)]
            program.run(words, None, lambda event: None, is_canceled)
            linked = pd.read_csv(folder / "out" / f"{number}.csv")
        numbers = linked["track"].where(linked["track"] < 0, linked["track"] + used)
        track[linked["row"].to_numpy()] = numbers.to_numpy()
        used = max(used, int(numbers.max()) + 1 if len(numbers) else 0)
    return spots.assign(track=track.to_numpy())
