"""Compare tracks with true ones by the measures of the particle tracking challenge.

Chenouard et al., Nature Methods 2014 (doi:10.1038/nmeth.2808), supplementary note 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

GATE = 5.0  # px


class TrackScores(NamedTuple):
    """Scores of one set of tracks.

    Attributes
    ----------
    alpha : float
        1 for perfect tracks, 0 for none: how near the paired tracks are.
    beta : float
        As alpha, but false tracks count against it.
    jsc : float
        Jaccard similarity of the points: pairs over pairs, missed and false ones.
    jsc_tracks : float
        The same of the tracks.
    rmse : float
        Root mean square distance of the paired points, px; NaN without any.
    """

    alpha: float
    beta: float
    jsc: float
    jsc_tracks: float
    rmse: float


def score_tracks(
    truth: pd.DataFrame, found: pd.DataFrame, *, gate: float = GATE
) -> TrackScores:
    """Score tracks against true ones.

    Parameters
    ----------
    truth, found : DataFrame
        `track`, `frame`, `y`, `x` (px) of one image and channel.
    gate : float
        Distance in px at which a point starts to count as missed.

    Returns
    -------
    TrackScores
    """
    true_tracks, other_tracks = _tracks(truth), _tracks(found)
    n_true = len(true_tracks)
    total = gate * sum(map(len, true_tracks))
    # Each true track may stay without a partner, at the cost of missing all its points.
    cost = np.full((n_true, len(other_tracks) + n_true), np.inf)
    for row, track in enumerate(true_tracks):
        cost[row, len(other_tracks) + row] = gate * len(track)
        for col, other in enumerate(other_tracks):
            cost[row, col] = _distance(track, other, gate)
    finite = np.where(np.isfinite(cost), cost, total + 1.0)
    rows, cols = linear_sum_assignment(finite)
    paired = [
        (true_tracks[r], other_tracks[c])
        for r, c in zip(rows, cols, strict=True)
        if c < len(other_tracks) and finite[r, c] < gate * len(true_tracks[r])
    ]
    best = float(finite[rows, cols].sum())
    used = {c for c in cols if c < len(other_tracks)}
    spurious = gate * sum(len(t) for i, t in enumerate(other_tracks) if i not in used)
    apart = [_matched(track, other, gate) for track, other in paired]
    distances = np.concatenate([*apart, np.empty(0)])
    n_points = sum(map(len, true_tracks)) + sum(map(len, other_tracks))
    n_tracks = n_true + len(other_tracks) - len(paired)
    return TrackScores(
        1 - best / total if total else float("nan"),
        (total - best) / (total + spurious) if total else float("nan"),
        len(distances) / max(1, n_points - len(distances)),
        len(paired) / max(1, n_tracks),
        float(np.sqrt((distances**2).mean())) if len(distances) else float("nan"),
    )


def _tracks(table: pd.DataFrame) -> list[dict[int, NDArray[np.float64]]]:
    """Return the places of each track by frame."""
    return [
        dict(
            zip(own["frame"].astype(int), own[["y", "x"]].to_numpy(float), strict=True)
        )
        for _, own in table.groupby("track")
    ]


def _distance(
    one: dict[int, NDArray[np.float64]],
    other: dict[int, NDArray[np.float64]],
    gate: float,
) -> float:
    """Sum over all frames of the gated distance; a frame that only one has costs the gate."""
    both = one.keys() & other.keys()
    total = gate * (len(one) + len(other) - 2 * len(both))
    return total + sum(min(gate, float(np.hypot(*(one[t] - other[t])))) for t in both)


def _matched(
    one: dict[int, NDArray[np.float64]],
    other: dict[int, NDArray[np.float64]],
    gate: float,
) -> NDArray[np.float64]:
    distances = np.array(
        [float(np.hypot(*(one[t] - other[t]))) for t in one.keys() & other.keys()]
    )
    kept: NDArray[np.float64] = distances[distances < gate]
    return kept
