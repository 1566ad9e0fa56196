"""Score methods on labelled images and compare them, with intervals.

Intervals are percentiles of a bootstrap over images (tiles of one image are drawn
together), for differences over the same draws.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from blinkcore.datasets.check import check_plane
from blinkcore.evaluation.scores import DEFAULT_CUTOFF, SCORES, evaluate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from blinkcore.evaluation.methods import Case, Method

_DRAWS, _LEVEL = 2000, 0.95
_SNR_EDGES = (2.0, 4.0, 7.0)


def score(
    cases: Sequence[Case], methods: Sequence[Method], *, cutoff: float = DEFAULT_CUTOFF
) -> pd.DataFrame:
    """Score each method on each case.

    Parameters
    ----------
    cases, methods
        Planes with their true spots, and the spots that each method found.
    cutoff : float
        See `blinkcore.evaluation.scores.evaluate`.

    Returns
    -------
    DataFrame
        `method`, `case`, `source`, the scores of `evaluate`, `snr` (median of the labels)
        and `density` (spots per 1000 px²) where there is an image.
    """
    about = [_about(case) for case in cases]
    rows = []
    for method in methods:
        for index, case in enumerate(cases):
            scores = asdict(evaluate(case.points, method.kept(index), cutoff=cutoff))
            rows.append(
                {"method": method.name, "case": case.name, "source": case.source}
                | scores
                | about[index]
            )
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def _about(case: Case) -> dict[str, float]:
    if case.plane is None:
        return {}
    return {
        "snr": check_plane(case.plane).snr,
        "density": 1000 * len(case.points) / case.plane.image.size,
    }


def summarize(table: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Average scores, overall and by group, and compare methods, all with intervals.

    Parameters
    ----------
    table : DataFrame
        What `score` returned.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `methods`: each method's scores as (mean, low, high); low and high are None if
        there is only one image; `groups`: the same by SNR, density and image;
        `differences`: the difference in F1 integral of each pair of methods.
    """
    names = list(dict.fromkeys(table["method"]))
    draws = _draws(table, seed)
    differences = [
        {
            "methods": [a, b],
            "f1_integral": _interval(
                _column(table, a, "f1_integral") - _column(table, b, "f1_integral"),
                draws,
            ),
        }
        for a, b in combinations(names, 2)
    ]
    return {
        "methods": _scores(table, names, draws),
        "differences": differences,
        "groups": _groups(table, names, seed),
        "cases": int(table["case"].nunique()),
        "images": int(table["source"].nunique()),
        "true_spots": int(table.loc[table["method"] == names[0], "n_truth"].sum()),
    }


def _scores(
    table: pd.DataFrame, names: Sequence[str], draws: NDArray[np.intp]
) -> dict[str, dict[str, list[float | None]]]:
    return {
        name: {s: _interval(_column(table, name, s), draws) for s in SCORES}
        for name in names
    }


def _column(table: pd.DataFrame, method: str, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = table.loc[table["method"] == method, name].to_numpy(
        float
    )
    return values


def _draws(table: pd.DataFrame, seed: int) -> NDArray[np.intp]:
    """Count how often each case is in each bootstrap draw, shape (draws, cases).

    Images are drawn with replacement, with all their cases. One image gives no draws.
    """
    first = table["method"].iloc[0]
    image_of, sources = pd.factorize(table.loc[table["method"] == first, "source"])
    n = len(sources)
    rng = np.random.default_rng(seed)
    times = [
        np.bincount(rng.integers(n, size=n), minlength=n)
        for _ in range(_DRAWS if n > 1 else 0)
    ]
    return np.array(times, np.intp).reshape(-1, n)[:, image_of]


def _interval(
    values: NDArray[np.float64], draws: NDArray[np.intp]
) -> list[float | None]:
    """Compute the mean and 95 % interval; None where nothing is known."""
    known = np.isfinite(values)
    if not known.any():
        return [None, None, None]
    if not len(draws):
        return [_mean(values), None, None]
    counts = draws @ known
    sums = draws @ np.where(known, values, 0.0)
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(sums[counts > 0] / counts[counts > 0], (tail, 1 - tail))
    return [_mean(values), float(low), float(high)]


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _groups(
    table: pd.DataFrame, names: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    parts: list[tuple[str, pd.DataFrame]] = []
    if "snr" in table.columns:
        for low, high in pairwise((-np.inf, *_SNR_EDGES, np.inf)):
            rows = table[(table["snr"] >= low) & (table["snr"] < high)]
            parts.append((f"SNR {low:g} to {high:g}", rows))
        thirds = table["density"].quantile([0, 1 / 3, 2 / 3, 1]).to_numpy()
        for i, title in enumerate(("low", "middle", "high")):
            above = table["density"] > thirds[i] if i else table["density"] >= thirds[0]
            rows = table[above & (table["density"] <= thirds[i + 1])]
            text = f"{title} density, {thirds[i]:.2g} to {thirds[i + 1]:.2g} / 1000 px²"
            parts.append((text, rows))
    parts += [
        (f"image {name}", rows) for name, rows in table.groupby("source", sort=False)
    ]
    return [
        {
            "group": title,
            "cases": int(rows["case"].nunique()),
            "images": int(rows["source"].nunique()),
            "methods": _scores(rows, names, _draws(rows, seed)),
        }
        for title, rows in parts
        if not rows.empty
    ]
