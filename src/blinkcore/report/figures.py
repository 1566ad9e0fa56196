"""The figures of a report: counts of images and conditions, distributions, tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from blinkcore.report.collect import Panel, nearest_neighbours

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_BINS = 40
_HISTOGRAMS = {
    "probability": "Probability",
    "intensity": "Intensity (counts)",
    "snr": "SNR",
    "sigma": "Width, sigma (px)",
}


def figures_of(panels: list[Panel], counts: pd.DataFrame) -> list[dict[str, Any]]:
    """Make the figures of a report: counts, by condition, and distributions.

    Parameters
    ----------
    panels : list of Panel
        All of the report, also those without a picture.
    counts : DataFrame
        Of the run, see `blinkcore.report.collect.read_counts`; may be empty.

    Returns
    -------
    list of dict
        Each with `title`, `traces` of Plotly and the titles of its axes, `x` and `y`.
    """
    totals = _totals(panels, counts)
    condition = {panel.image: panel.condition for panel in panels}
    figures = [_counts_figure(totals, condition), _conditions_figure(totals, condition)]
    for column, title in _HISTOGRAMS.items():
        values = [
            panel.all_spots[column].to_numpy(float)
            for panel in panels
            if column in panel.all_spots
        ]
        if values:
            figures.append(_histogram(np.concatenate(values), title))
    figures.append(_histogram(nearest_neighbours(panels), "Nearest neighbour (px)"))
    lengths = [
        panel.linked.groupby("track").size().to_numpy(float)
        for panel in panels
        if "track" in panel.linked
    ]
    if lengths:
        figures.append(
            _histogram(np.concatenate(lengths), "Spots in a track", "Tracks")
        )
    return [figure for figure in figures if figure is not None]


def _totals(panels: list[Panel], counts: pd.DataFrame) -> dict[str, list[float]]:
    """Give the spots of each image and, if known, the real ones with their interval."""
    if counts.empty:
        totals: dict[str, list[float]] = {}
        for panel in panels:
            totals.setdefault(panel.image, [0.0])[0] += len(panel.all_spots)
        return totals
    known = [c for c in ("n", "expected", "low", "high") if c in counts]
    sums = counts.groupby("image", sort=False)[known].sum()
    return {str(name): list(row) for name, row in sums.iterrows()}


def _counts_figure(
    totals: dict[str, list[float]], condition: dict[str, str]
) -> dict[str, Any] | None:
    """Spots of each image, by condition, with the interval of the real ones."""
    traces = []
    for group in sorted({condition.get(name, "") for name in totals}):
        names = [name for name in totals if condition.get(name, "") == group]
        trace: dict[str, Any] = {
            "type": "bar", "name": group or "images", "x": names,
            "y": [totals[name][0] for name in names],
        }  # fmt: skip
        if names and len(totals[names[0]]) == 4:
            n, _, low, high = np.array([totals[name] for name in names]).T
            trace["error_y"] = {
                "type": "data", "symmetric": False,
                "array": np.maximum(high - n, 0).tolist(),
                "arrayminus": np.maximum(n - low, 0).tolist(),
            }  # fmt: skip
        traces.append(trace)
    title = "Spots of each image; bars: interval of 95 % for the real ones"
    return {"title": title, "traces": traces, "x": "", "y": "Spots"}


def _conditions_figure(
    totals: dict[str, list[float]], condition: dict[str, str]
) -> dict[str, Any] | None:
    """Mean number of spots of the images of each condition, with its interval."""
    groups: dict[str, list[float]] = {}
    for name, total in totals.items():
        groups.setdefault(condition.get(name, ""), []).append(total[0])
    if set(groups) == {""}:
        return None
    names = sorted(groups)
    half = []
    for name in names:
        n, spread = (
            len(groups[name]),
            float(np.std(groups[name], ddof=1)) if len(groups[name]) > 1 else 0.0,
        )
        half.append(
            float(stats.t.ppf(0.975, n - 1)) * spread / np.sqrt(n) if n > 1 else 0.0
        )
    trace = {
        "type": "bar", "x": [f"{name or 'no condition'} ({len(groups[name])})" for name in names],
        "y": [float(np.mean(groups[name])) for name in names],
        "error_y": {"type": "data", "array": half},
    }  # fmt: skip
    title = "Mean of each condition (images); bars: interval of 95 %"
    return {"title": title, "traces": [trace], "x": "", "y": "Spots"}


def _histogram(
    values: NDArray[np.float64], title: str, of: str = "Spots"
) -> dict[str, Any] | None:
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return None
    top = float(np.quantile(values, 0.995))
    edges = np.linspace(
        float(values.min()), max(top, float(values.min()) + 1e-9), _BINS
    )
    number, _ = np.histogram(np.minimum(values, edges[-1]), edges)  # the rest is last
    centres = (edges[1:] + edges[:-1]) / 2
    trace = {"type": "bar", "x": centres.tolist(), "y": number.tolist(), "name": title}
    return {"title": title, "traces": [trace], "x": title, "y": of}
