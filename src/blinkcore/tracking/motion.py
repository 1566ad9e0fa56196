"""How tracks move: durations, speeds, mean squared displacement, diffusion.

Diffusion coefficients are covariance-based estimates (Vestergaard, Blainey & Flyvbjerg,
Physical Review E 2014, doi:10.1103/PhysRevE.89.022726): the covariance of successive steps
removes the effect of the localization uncertainty, whatever its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_DRAWS = 1000  # of the bootstrap over tracks
_MIN_STEPS = 4  # that a track needs for an estimate of its diffusion


def track_table(
    spots: pd.DataFrame, *, scale: Mapping[str, float], interval: float
) -> pd.DataFrame:
    """Describe each track.

    Parameters
    ----------
    spots : DataFrame
        Spots with `track` and `frame`.
    scale : mapping of str to float
        Size of a pixel in µm along each axis in which tracks move (`y`, `x` and, if tracks
        move in three dimensions, `z`), or 1 for px.
    interval : float
        Time between frames in s, or 1 for frames.

    Returns
    -------
    DataFrame
        `image`, `channel` (where the table has them), `track`, `n_spots`, `first_frame`,
        `duration`, `length` (of the path), `displacement` (from first to last),
        `mean_speed`, `diffusion`: in the units of scale and interval.
    """
    keys = [name for name in ("image", "channel", "track") if name in spots.columns]
    rows = []
    for key, group in spots.sort_values("frame").groupby(keys, sort=True):
        frames = group["frame"].to_numpy(float)
        places = _places(group, scale)
        steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
        duration = float(frames[-1] - frames[0]) * interval
        values = key if isinstance(key, tuple) else (key,)
        rows.append(
            dict(zip(keys, values, strict=True))
            | {
                "n_spots": len(group),
                "first_frame": int(frames[0]),
                "duration": duration,
                "length": float(steps.sum()),
                "displacement": float(np.linalg.norm(places[-1] - places[0])),
                "mean_speed": float(steps.sum()) / duration if duration else np.nan,
                "diffusion": diffusion_of_track(frames, places, interval),
            }
        )
    columns = [*keys, "n_spots", "first_frame", "duration", "length", "displacement",
               "mean_speed", "diffusion"]  # fmt: skip
    table: pd.DataFrame = pd.DataFrame(rows, columns=columns)
    return table


def diffusion_of_track(
    frames: NDArray[np.float64], places: NDArray[np.float64], interval: float
) -> float:
    """Estimate the diffusion coefficient of a track from its steps without gaps.

    Parameters
    ----------
    frames : ndarray of float64, shape (n,)
        Ascending.
    places : ndarray of float64, shape (n, 2 or 3)
        In px or µm.
    interval : float
        Between frames.

    Returns
    -------
    float
        mean(step²) / 2 dt + mean(step * next step) / dt, averaged over the axes; NaN of a
        track with fewer than 4 steps.
    """
    steps = np.diff(places, axis=0)
    is_single = np.diff(frames) == 1
    if is_single.sum() < _MIN_STEPS:
        return float("nan")
    pairs = is_single[:-1] & is_single[1:]
    square = float((steps[is_single] ** 2).mean())
    product = float((steps[:-1][pairs] * steps[1:][pairs]).mean()) if pairs.any() else 0
    return square / (2 * interval) + product / interval


def diffusion(
    spots: pd.DataFrame, *, scale: Mapping[str, float], interval: float, seed: int = 0
) -> tuple[float, float, float]:
    """Estimate the diffusion coefficient of all tracks with an interval of 95 %.

    Parameters
    ----------
    spots, scale, interval
        See `track_table`.
    seed : int
        Of the bootstrap over tracks.

    Returns
    -------
    tuple of float
        Mean, weighted by the steps of each track, and the ends of the interval.
    """
    table = track_table(spots, scale=scale, interval=interval)
    known = table[np.isfinite(table["diffusion"])]
    if len(known) == 0:
        return (np.nan, np.nan, np.nan)
    values = known["diffusion"].to_numpy(float)
    weights = known["n_spots"].to_numpy(float) - 1
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(values), size=(_DRAWS, len(values)))
    draws = (values * weights)[chosen].sum(axis=1) / weights[chosen].sum(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(np.average(values, weights=weights)), float(low), float(high)


def mean_squared_displacement(
    spots: pd.DataFrame,
    *,
    scale: Mapping[str, float],
    interval: float,
    n_lags: int = 10,
) -> pd.DataFrame:
    """Average the squared displacement over tracks, times and lags.

    Parameters
    ----------
    spots, scale, interval
        See `track_table`.
    n_lags : int
        Largest lag in frames.

    Returns
    -------
    DataFrame
        `lag` (in units of interval), `msd` (all axes together), `n` displacements,
        `standard_error` over tracks, and `msd_corrected`: less twice the variance of the
        localization along each axis, where the table has `localization_uncertainty` and,
        if tracks move in z, `z_uncertainty`.
    """
    tracks = [
        (group["frame"].to_numpy(int), _places(group, scale))
        for _, group in _by_track(spots)
    ]
    offset = 2 * sum(_variance(spots, name) * size**2 for name, size in scale.items())
    rows = []
    for lag in range(1, n_lags + 1):
        per_track = [d for f, p in tracks if len(d := _squared(f, p, lag))]
        if not per_track:
            break
        n = sum(map(len, per_track))
        means = np.array([d.mean() for d in per_track])
        value = float(np.concatenate(per_track).mean())
        error = (
            float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else np.nan
        )
        rows.append(
            {"lag": lag * interval, "msd": value, "n": n, "standard_error": error,
             "msd_corrected": value - offset}
        )  # fmt: skip
    columns = ["lag", "msd", "n", "standard_error", "msd_corrected"]
    table: pd.DataFrame = pd.DataFrame(rows, columns=columns)
    return table


def _places(spots: pd.DataFrame, scale: Mapping[str, float]) -> NDArray[np.float64]:
    sizes = np.array(list(scale.values()))
    places: NDArray[np.float64] = spots[list(scale)].to_numpy(float) * sizes
    return places


def _variance(spots: pd.DataFrame, axis: str) -> float:
    """Compute the mean variance of the localization along an axis, px²; NaN if it is not known."""
    name = "z_uncertainty" if axis == "z" else "localization_uncertainty"
    if name not in spots.columns or spots[name].isna().all():
        return float("nan")
    return float(np.nanmean(spots[name].to_numpy(float) ** 2))


def _by_track(spots: pd.DataFrame) -> Sequence[tuple[object, pd.DataFrame]]:
    keys = [name for name in ("image", "channel", "track") if name in spots.columns]
    return list(spots.sort_values("frame").groupby(keys))


def _squared(
    frames: NDArray[np.int64], places: NDArray[np.float64], lag: int
) -> NDArray[np.float64]:
    """Compute the squared displacements of a track over a lag in frames."""
    at = {int(frame): row for row, frame in enumerate(frames)}
    pairs = [(row, at[f + lag]) for f, row in at.items() if f + lag in at]
    if not pairs:
        return np.empty(0)
    first, last = np.array(pairs).T
    squares: NDArray[np.float64] = ((places[last] - places[first]) ** 2).sum(axis=1)
    return squares
