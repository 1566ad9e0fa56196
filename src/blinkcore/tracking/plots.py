"""A picture of the motion of tracks: mean squared displacement, durations, speeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blinkcore.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def plot(
    tracks: pd.DataFrame, msd: pd.DataFrame, units: tuple[str, str], path: Path
) -> None:
    """Draw the motion of the tracks of a movie as PNG.

    Parameters
    ----------
    tracks : DataFrame
        Of `blinkcore.tracking.motion.track_table`.
    msd : DataFrame
        Of `blinkcore.tracking.motion.mean_squared_displacement`.
    units : tuple of str
        Of length and time.
    path : Path
        The picture.
    """
    from matplotlib.figure import Figure

    length, time = units
    figure = Figure(figsize=(13, 4), layout="constrained")
    displacement, durations, speeds = figure.subplots(1, 3)
    displacement.errorbar(
        msd["lag"], msd["msd"], msd["standard_error"], fmt="o-", label="as measured"
    )
    if msd["msd_corrected"].notna().any():
        displacement.plot(
            msd["lag"], msd["msd_corrected"], "o--",
            label="without the localization uncertainty",
        )  # fmt: skip
        displacement.legend()
    displacement.set(
        xlabel=f"lag, {time}", ylabel=f"mean squared displacement, {length}²"
    )
    for axes, column, unit in (
        (durations, "duration", time),
        (speeds, "mean_speed", f"{length}/{time}"),
    ):
        values = tracks[column].to_numpy(float)
        values = values[np.isfinite(values)]
        if len(values):
            low, high = float(values.min()), float(values.max())
            # Values that differ by rounding alone are one bar.
            axes.hist(values, 30, range=(low, max(high, low + 1e-3 * abs(low) + 1e-9)))
        axes.set(xlabel=f"{column.replace('_', ' ')}, {unit}", ylabel="tracks")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
