"""The figures of a report: counts of images and conditions, distributions, tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import stats

from blinkcore.report.collect import Panel, nearest_neighbours

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_BINS = 40
_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
_HISTOGRAMS = {
    "probability": "Probability",
    "intensity": "Intensity (counts)",
    "snr": "SNR",
    "sigma": "Width, sigma (px)",
}


def figures_of(
    panels: list[Panel],
    counts: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    is_photons: bool = False,
) -> list[dict[str, Any]]:
    """Make the figures of a report: counts, by condition, and distributions.

    Parameters
    ----------
    panels : list of Panel
        All of the report, also those without a picture.
    counts : DataFrame
        Of the run, see `blinkcore.report.collect.read_counts`; may be empty.
    pairs : DataFrame
        Of `blinkcore colocalize`, a row for each image; may be empty.
    is_photons : bool
        Intensities are photons, because the run knew its camera.

    Returns
    -------
    list of dict
        Each with `title`, `traces` of Plotly and the titles of its axes, `x` and `y`.
    """
    totals = _totals(panels, counts)
    are_several = len({panel.channel for panel in panels}) > 1
    condition = {panel.image: panel.condition for panel in panels}
    figures = [
        _counts_figure(totals, condition),
        _conditions_figure(totals, condition),
        _pairs_figure(pairs),
    ]
    for column, title in _HISTOGRAMS.items():
        if column == "intensity" and is_photons:
            title = "Intensity (photons)"
        values: dict[str, list[NDArray[np.float64]]] = {}
        for panel in panels:
            if column in panel.all_spots:
                own = panel.all_spots[column].to_numpy(float)
                values.setdefault(_channel(panel.channel, are_several), []).append(own)
        figures.append(_histogram(values, title))
    near = {}
    for channel in sorted({panel.channel for panel in panels}):
        own = nearest_neighbours(p for p in panels if p.channel == channel)
        near[_channel(channel, are_several)] = [own]
    figures.append(_histogram(near, "Nearest neighbour (px)"))
    lengths: dict[str, list[NDArray[np.float64]]] = {}
    for panel in panels:
        if "track" in panel.linked:
            n_spots = panel.linked.groupby("track").size().to_numpy(float)
            lengths.setdefault(_channel(panel.channel, are_several), []).append(n_spots)
    figures.append(_histogram(lengths, "Spots in a track", "Tracks"))
    return [figure for figure in figures if figure is not None]


def _channel(channel: int, are_several: bool) -> str:
    """Name a channel; empty if there is only one."""
    return f"channel {channel}" if are_several else ""


class Total(NamedTuple):
    """Spots of an image and channel, the mean of its frames, and how many are real."""

    n: float
    low: float = np.nan
    high: float = np.nan


Totals = dict[tuple[str, str], Total]  # by image and name of the channel


def _totals(panels: list[Panel], counts: pd.DataFrame) -> Totals:
    """Return the spots of each image and, if known, the interval of the real ones."""
    totals: Totals = {}
    if counts.empty:
        are_several = len({panel.channel for panel in panels}) > 1
        for panel in panels:
            name = _channel(panel.channel, are_several)
            totals[(panel.image, name)] = Total(len(panel.all_spots) / panel.n_frames)
        return totals
    keys = ["image", *(["channel"] if "channel" in counts else [])]
    n_channels = counts["channel"].nunique() if "channel" in counts else 1
    for (image, *channel), own in counts.groupby(keys, sort=False, dropna=False):
        # An image without channels has one, the first.
        number = np.nan_to_num(float(str(channel[0]))) if n_channels > 1 else 0.0
        name = f"channel {number:.0f}" if n_channels > 1 else ""
        totals[(str(image), name)] = _mean_of_frames(own)
    return totals


def _mean_of_frames(counts: pd.DataFrame) -> Total:
    n = float(counts["n"].mean())
    if not {"expected", "low", "high"} <= set(counts.columns):
        return Total(n)
    expected, low, high = (
        counts[c].to_numpy(float) for c in ("expected", "low", "high")
    )
    # Frames are independent: the halves of their intervals add up as errors do.
    middle, n_frames = expected.mean(), len(counts)
    below, above = (
        float(np.sqrt((half**2).sum())) / n_frames
        for half in (expected - low, high - expected)
    )
    return Total(n, float(middle - below), float(middle + above))


def _counts_figure(totals: Totals, condition: dict[str, str]) -> dict[str, Any]:
    """Draw the spots of each image, by condition, with the interval of the real ones."""
    traces = []
    for group, channel in sorted({(condition.get(i, ""), c) for i, c in totals}):
        own = {
            image: total
            for (image, c), total in totals.items()
            if c == channel and condition.get(image, "") == group
        }
        n, low, high = np.array(list(own.values())).T
        trace: dict[str, Any] = {
            "type": "bar", "name": ", ".join(filter(None, (group, channel))) or "images",
            "x": list(own), "y": n.tolist(),
        }  # fmt: skip
        if np.isfinite(low).all():
            trace["error_y"] = {
                "type": "data", "symmetric": False,
                "array": np.maximum(high - n, 0).tolist(),
                "arrayminus": np.maximum(n - low, 0).tolist(),
            }  # fmt: skip
        traces.append(trace)
    title = "Spots of each image; bars: interval of 95 % for the real ones"
    return {"title": title, "traces": traces, "x": "", "y": "Spots in a frame"}


def _conditions_figure(
    totals: Totals, condition: dict[str, str]
) -> dict[str, Any] | None:
    """Compute the mean number of spots of the images of each condition, with its interval."""
    groups: dict[str, dict[str, list[float]]] = {}
    for (image, channel), total in totals.items():
        own = groups.setdefault(channel, {})
        own.setdefault(condition.get(image, ""), []).append(total.n)
    if {name for own in groups.values() for name in own} <= {""}:
        return None
    traces = []
    for number, (channel, own) in enumerate(groups.items()):
        # A single image has no interval, and Plotly would draw one of no length.
        single = [name for name in sorted(own) if len(own[name]) == 1]
        several = [name for name in sorted(own) if len(own[name]) > 1]
        for names in filter(None, (several, single)):
            trace = _mean_bars(names, own) | {
                "name": channel or "all", "offsetgroup": channel, "legendgroup": channel,
                "marker": {"color": _COLORS[number % len(_COLORS)]},
                "showlegend": names is several or not several,
            }  # fmt: skip
            traces.append(trace)
    title = (
        "Mean of each condition (images); bars: interval of 95 %, from two images on"
    )
    return {"title": title, "traces": traces, "x": "", "y": "Spots in a frame"}


def _mean_bars(names: list[str], values: dict[str, list[float]]) -> dict[str, Any]:
    """Return bars of the means of some conditions, with intervals where there are any."""
    means = [float(np.mean(values[name])) for name in names]
    trace: dict[str, Any] = {
        "type": "bar", "y": means,
        "x": [f"{name or 'no condition'} ({len(values[name])})" for name in names],
    }  # fmt: skip
    if len(values[names[0]]) > 1:
        halves = [_half_interval(values[name]) for name in names]
        below = [min(half, mean) for half, mean in zip(halves, means, strict=True)]
        trace["error_y"] = {
            "type": "data", "symmetric": False, "array": halves, "arrayminus": below,
        }  # fmt: skip
    return trace


def _pairs_figure(pairs: pd.DataFrame) -> dict[str, Any] | None:
    """Draw the share of the first channel's spots that have a partner, beside that of chance."""
    pairs = pairs[pairs["n_first"] > 0] if len(pairs) else pairs
    if pairs.empty:
        return None
    n = pairs["n_first"]
    share, low, high = (
        pairs[name] / n for name in ("chance", "chance_low", "chance_high")
    )
    names = pairs["image"].tolist()
    traces = [
        {"type": "bar", "name": "found", "x": names, "y": pairs["fraction_first"].tolist()},
        {
            "type": "bar", "name": "by chance", "x": names, "y": share.tolist(),
            "error_y": {"type": "data", "symmetric": False,
                        "array": (high - share).clip(lower=0).tolist(),
                        "arrayminus": (share - low).clip(lower=0).tolist()},
        },
    ]  # fmt: skip
    title = "Spots with a partner in the other channel; bars: interval of 95 %"
    return {"title": title, "traces": traces, "x": "", "y": "Share of spots"}


def _half_interval(values: list[float]) -> float:
    """Compute half of Student's interval of 95 % for a mean of two or more values."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))


def _histogram(
    values: dict[str, list[NDArray[np.float64]]], title: str, of: str = "Spots"
) -> dict[str, Any] | None:
    """Count values, those of each channel by themselves, in common bins."""
    joined = {name: np.concatenate(own) for name, own in values.items()}
    finite = {name: v[np.isfinite(v)] for name, v in joined.items()}
    every = np.concatenate([np.empty(0), *finite.values()])
    if len(every) == 0:
        return None
    low, top = float(every.min()), float(np.quantile(every, 0.995))
    edges = np.linspace(low, max(top, low + 1e-9), _BINS)
    centres = (edges[1:] + edges[:-1]) / 2
    traces = []
    for name, own in finite.items():
        number, _ = np.histogram(np.minimum(own, edges[-1]), edges)  # the rest is last
        traces.append(
            {"type": "bar", "x": centres.tolist(), "y": number.tolist(),
             "name": name or title}
        )  # fmt: skip
    return {"title": title, "traces": traces, "x": title, "y": of}
