"""Warn in one sentence if an image is unlike what a model was made for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from blinkcore.network.normalize import FAR, sampled_rows
from blinkcore.noise import MEDIAN_TO_NOISE

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_MIN_EQUAL = 0.5  # share of pixels with the smallest value in an image that was clipped
_MIN_FULL = 1e-3  # share of pixels at the largest value of an over-exposed one
_MAX_RATIO = 4.2  # of the noise of distant pixels to that of neighbours
_MAX_LOST = 0.01  # share of pixels that are not numbers
_MIN_PLANES, _MIN_REACH = 8, 0.6  # of a stack, and share of it that spots go through
_SAME_PLACE = 1.0  # px between spots of which one lies above the other
_STEP, _PAUSE = 4.0, 3.0  # px, planes: where a spot that moves is seen again
_UNEQUAL = 3.0  # times as many planes for long objects as for short ones
_MIN_OBJECTS = 10  # fewest objects of a stack to judge it by
_MIN_SPOTS, _MIN_SURE = 20, 0.65  # fewest spots to judge; least mean probability


def image_warning(plane: NDArray[Any]) -> str | None:
    """Warn if a plane is empty, or was clipped, over-exposed or smoothed.

    Parameters
    ----------
    plane : ndarray, shape (height, width)
        Any real type; only some of its rows are examined.

    Returns
    -------
    str or None
        A sentence without the name of the file; None if nothing is wrong.
    """
    rows = sampled_rows(plane)
    if plane.dtype.kind == "f" and rows.size:
        lost = 1.0 - float(np.isfinite(rows).mean())
        if lost > _MAX_LOST:
            return f"{lost:.0%} of its pixels are not numbers; no spots are found there"
        rows = _finite_rows(rows)
    if rows.size == 0 or rows.shape[1] <= FAR:
        return None
    low = rows.min()
    if low == rows.max():
        return f"all of its pixels have the same value, {float(low):g}"
    if float((rows == low).mean()) > _MIN_EQUAL:
        return (
            f"{(rows == low).mean():.0%} of its pixels have the smallest value: the "
            "image was clipped or stretched, and probabilities may be wrong; use the "
            "microscope's own file if there is one"
        )
    full = np.iinfo(plane.dtype).max if plane.dtype.kind == "u" else None
    if full is not None and float((rows == full).mean()) > _MIN_FULL:
        return (
            f"{(rows == full).mean():.1%} of its pixels are over-exposed (at {full}): "
            "positions of saturated spots are less certain; expose shorter"
        )
    values = rows.astype(np.float64)
    near = float(np.median(np.abs(values[:, 1:] - values[:, :-1]))) / MEDIAN_TO_NOISE
    far = float(np.median(np.abs(values[:, FAR:] - values[:, :-FAR]))) / MEDIAN_TO_NOISE
    if near > 0 and far > _MAX_RATIO * near:
        return (
            "its noise is smoothed or interpolated (pixels 5 px apart differ "
            f"{far / near:.0f} times as much as neighbours), and probabilities may be "
            "wrong; use the unprocessed image if there is one"
        )
    return None


def _finite_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """Keep the rows of a float plane in which every pixel is finite."""
    kept: NDArray[Any] = rows[np.isfinite(rows).all(axis=1)]
    return kept


def doubt_warning(spots: pd.DataFrame) -> str | None:
    """Say if a model doubts most of the spots that it found.

    Parameters
    ----------
    spots : DataFrame
        From `blinkcore.detection.predict.predict`.

    Returns
    -------
    str or None
        A sentence without the name of the file; None if the model is sure enough.
    """
    n = len(spots)
    if n < _MIN_SPOTS or (sure := float(spots["probability"].mean())) >= _MIN_SURE:
        return None
    return (
        f"the model expects about {n * (1 - sure):.0f} of these {n} spots to be false; "
        "look at --overlay, or ask for --fdr 0.1"
    )


def series_warning(spots: pd.DataFrame, n_planes: int) -> str | None:
    """Warn if a z-stack looks like a movie.

    Then its spots extend through most planes; if they blink, they lie above each other,
    and if they move, each goes on nearby where another one ends.

    Parameters
    ----------
    spots : DataFrame
        Objects of a stack, with `n_planes`, `z`, `y` and `x`, px; the first frame and
        channel are examined.
    n_planes : int
        Planes of the stack.

    Returns
    -------
    str or None
        A sentence without the name of the file; None if nothing is wrong.
    """
    if "n_planes" not in spots:
        return None
    for name in {"frame", "channel"} & set(spots.columns):
        spots = spots[spots[name] == spots[name].min()]
    if len(spots) < _MIN_OBJECTS or n_planes < _MIN_PLANES:
        return None
    places = spots[["y", "x"]].to_numpy(float)
    apart = cKDTree(places).query(places, k=2)[0][:, 1]
    area = max(float(np.prod(np.ptp(places, axis=0))), 1.0)
    by_chance = len(spots) * np.pi * _SAME_PLACE**2 / area
    above = float((apart < _SAME_PLACE).mean())
    if above > 0.5 > 2 * by_chance:
        return (
            f"{above:.0%} of its spots lie above another one in z; if it is a movie that was "
            "saved with z for time, whose spots blink, give --axes TYX"
        )
    if _spots_move(spots):
        return (
            "most of its spots end where another one begins; if it is a movie that was "
            "saved with z for time, whose spots move, give --axes TYX"
        )
    median = float(spots["n_planes"].median())
    if median < _MIN_REACH * n_planes:
        return None
    return (
        f"half of its spots reach through {median:.0f} or more of {n_planes} z-planes; if it "
        "is a movie that was saved with z for time, give --axes TYX"
    )


def _spots_move(spots: pd.DataFrame) -> bool:
    """Return whether most objects are pieces of spots that move, and more than by chance."""
    # All spots of a stack go through as many planes as the point spread function.
    short, long = np.quantile(spots["n_planes"], (0.25, 0.9))
    if long <= _UNEQUAL * short or (share := _share_continued(spots)) <= 0.5:
        return False
    shuffled = spots.assign(z=np.random.default_rng(0).permutation(spots["z"]))
    return share > 1.5 * _share_continued(shuffled)


def _share_continued(spots: pd.DataFrame) -> float:
    """Return the share of objects that another one continues nearby, as of moving spots."""
    places = spots[["y", "x"]].to_numpy(float)
    z, n = spots["z"].to_numpy(float), spots["n_planes"].to_numpy(float)
    one, other = cKDTree(places).query_pairs(_STEP, output_type="ndarray").T
    half = (n[one] + n[other]) / 2
    # Planes between the end of the lower object and the beginning of the upper one; an
    # object's z is where it is brightest, which need not be its middle.
    gap = np.abs(np.abs(z[one] - z[other]) - half)
    is_next = gap < np.maximum(_PAUSE, half / 2)
    continued = np.unique(np.concatenate([one[is_next], other[is_next]]))
    return len(continued) / len(spots)
