"""Score a network in training by the code that scores predictions, and calibrate it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from blinkcore.detection.candidates import HEIGHT, find_candidates
from blinkcore.detection.choose import judged, kept_above
from blinkcore.evaluation.scores import DEFAULT_CUTOFF, SCORES, evaluate, match
from blinkcore.network.calibration import (
    Calibration,
    fit_calibration,
    fit_interval_width,
)
from blinkcore.network.grid import PROBABILITY
from blinkcore.network.torchscript import whole_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from blinkcore.labelled import LabelledPlane
    from blinkcore.network.networks import AnyNetwork

# Validation chooses among these. They go below 0.5 because, where most spots are dim,
# dropping all that are more likely noise than spots costs more F1 than it gains.
CANDIDATE_THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


@dataclass(frozen=True)
class Validation:
    """How well a network does on scenes.

    Attributes
    ----------
    calibration : Calibration
        See `blinkcore.network.calibration`.
    threshold : float
        The one of `CANDIDATE_THRESHOLDS` with the largest F1 integral.
    count_spread : float or None
        See `blinkcore.network.calibration.fit_interval_width`; at this threshold.
    scores : dict
        At this threshold, means over the scenes of the fields in `SCORES`; RMSE over the
        scenes with a match.
    """

    calibration: Calibration
    threshold: float
    count_spread: float | None
    scores: dict[str, float]


def validate(
    network: AnyNetwork,
    scenes: Sequence[LabelledPlane],
    threshold: float | None = None,
) -> Validation:
    """Score a network on scenes by the code that scores predictions.

    Parameters
    ----------
    network : AnyNetwork
        It is put into evaluation mode.
    scenes : sequence of LabelledPlane
        Of any size.
    threshold : float, optional
        Probability above which a spot counts; if not given, the one of `CANDIDATE_THRESHOLDS` with
        the largest F1 integral.

    Returns
    -------
    Validation
    """
    network.eval()
    run = _runner(network)
    found = [find_candidates(scene.image, run, network) for scene in scenes]
    real = [_real(scene, spots) for scene, spots in zip(scenes, found, strict=True)]
    calibration = fit_calibration(
        [spots[:, PROBABILITY] for spots in found],
        [spots[:, HEIGHT] for spots in found],
        real,
    )
    found = [judged(spots, calibration) for spots in found]
    tried = CANDIDATE_THRESHOLDS if threshold is None else (threshold,)
    results = {t: _mean_scores(scenes, found, t) for t in tried}
    best = max(tried, key=lambda t: results[t]["f1_integral"])
    kept = [kept_above(spots, best) for spots in found]
    width = fit_interval_width(
        (spots[:, PROBABILITY], int(_real(scene, spots).sum()))
        for scene, spots in zip(scenes, kept, strict=True)
    )
    return Validation(calibration, best, width, results[best])


def _runner(
    network: AnyNetwork,
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Make a function from normalized tiles to grids, on the network's device."""
    device = next(network.parameters()).device
    grids = whole_grid(network)

    def run(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = (
                grids(torch.from_numpy(tiles).to(device)).cpu().numpy()
            )
        return result

    return run


def _real(scene: LabelledPlane, spots: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether each candidate is matched to a true spot."""
    is_real = np.zeros(len(spots), bool)
    if len(spots) and len(scene.points):
        is_real[match(scene.points, spots[:, :2], cutoff=DEFAULT_CUTOFF)[:, 1]] = True
    return is_real


def _mean_scores(
    scenes: Sequence[LabelledPlane],
    found: Sequence[NDArray[np.float64]],
    threshold: float,
) -> dict[str, float]:
    rows = []
    for scene, spots in zip(scenes, found, strict=True):
        kept = kept_above(spots, threshold)
        scores = asdict(evaluate(scene.points, kept[:, :2]))
        rows.append([scores[name] for name in SCORES])
    table = np.array(rows)
    has_match = np.isfinite(table).all(axis=1)
    means = table.mean(axis=0)
    means[-1] = table[has_match, -1].mean() if has_match.any() else 0.0
    return {name: float(mean) for name, mean in zip(SCORES, means, strict=True)}
