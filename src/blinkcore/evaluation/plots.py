"""Pictures of a comparison: F1 against cutoff, precision against recall, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blinkcore.evaluation.methods import PR_THRESHOLDS
from blinkcore.evaluation.scores import (
    DEFAULT_CUTOFF,
    INTEGRAL_CUTOFFS,
    evaluate,
    f1_curve,
    match,
)
from blinkcore.files import atomic_write, missing
from blinkcore.network.grid import PROBABILITY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from blinkcore.evaluation.methods import Case, Method

_ERROR_BINS = np.linspace(0, 3, 31)  # px


def plot(cases: Sequence[Case], methods: Sequence[Method], path: Path) -> None:
    """Draw F1 against cutoff, precision against recall, and the errors, as PNG.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing("a plot", "matplotlib", "plots") from error
    figure = Figure(figsize=(13, 4), layout="constrained")
    f1, precision_recall, errors = figure.subplots(1, 3)
    for method in methods:
        curves = [f1_curve(c.points, method.kept(i)) for i, c in enumerate(cases)]
        (line,) = f1.plot(INTEGRAL_CUTOFFS, np.mean(curves, axis=0), label=method.name)
        color = line.get_color()
        places = _precision_recall(cases, method)
        marker = "-" if len(places) > 1 else "o"
        precision_recall.plot(*np.transpose(places)[::-1], marker, color=color)
        distances = np.concatenate(
            [_distances(c.points, method.kept(i)) for i, c in enumerate(cases)]
        )
        errors.hist(distances, _ERROR_BINS, histtype="step", color=color)
    expected = _expected_errors(cases)
    if expected is not None:
        errors.stairs(
            expected, _ERROR_BINS, color="black", linestyle=":",
            label="Cramér-Rao bound, all spots",
        )  # fmt: skip
        errors.legend()
    f1.set(xlabel="cutoff, px", ylabel="F1", ylim=(0, 1))
    f1.legend()
    precision_recall.set(
        xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02)
    )
    precision_recall.set_title(f"over thresholds, at {DEFAULT_CUTOFF:g} px")
    errors.set(xlabel="distance to the true spot, px", ylabel="spots")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _expected_errors(cases: Sequence[Case]) -> NDArray[np.float64] | None:
    """Count the errors per bin at the Cramér-Rao bound: a Rayleigh curve per spot."""
    known = [c.cramer_rao for c in cases if c.cramer_rao is not None]
    if len(known) < len(cases) or not known:
        return None
    bound = np.concatenate(known)
    bound = bound[np.isfinite(bound) & (bound > 0), None]
    beyond = np.exp(-0.5 * (_ERROR_BINS / bound) ** 2).sum(axis=0)
    counts: NDArray[np.float64] = beyond[:-1] - beyond[1:]
    return counts


def _precision_recall(
    cases: Sequence[Case], method: Method
) -> list[tuple[float, float]]:
    if method.threshold is None:
        return [_counts(cases, [method.kept(i) for i in range(len(cases))])]
    return [
        _counts(cases, [s[s[:, PROBABILITY] > t, :2] for s in method.spots])
        for t in PR_THRESHOLDS
    ]


def _counts(
    cases: Sequence[Case], detected: Sequence[NDArray[np.float64]]
) -> tuple[float, float]:
    """Compute precision and recall over all spots of all cases."""
    results = [evaluate(c.points, d) for c, d in zip(cases, detected, strict=True)]
    matched = sum(r.n_matched for r in results)
    n_found = max(1, sum(r.n_detected for r in results))
    return matched / n_found, matched / max(1, sum(r.n_truth for r in results))


def _distances(
    truth: NDArray[np.float64], detected: NDArray[np.float64]
) -> NDArray[np.float64]:
    if len(truth) == 0 or len(detected) == 0:
        return np.empty(0)
    pairs = match(truth, detected, cutoff=float(INTEGRAL_CUTOFFS[-1]))
    y, x = (truth[pairs[:, 0]] - detected[pairs[:, 1]]).T
    distances: NDArray[np.float64] = np.hypot(y, x)
    return distances
