"""Check labels: outside the image, set twice, x and y exchanged, another origin.

Each sample is checked alone, and then all of them together, because a tile with few
labels may be inconclusive by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage, spatial, stats

from blinkcore.datasets.dataset import SPLITS, inside
from blinkcore.network.normalize import normalized, plane_scaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from blinkcore.datasets.dataset import Dataset, Sample
    from blinkcore.labelled import LabelledPlane

_CELL = 2  # px, side of a cell of the bundled models
_DUPLICATE = 0.5  # px; nearer labels may be one spot labelled twice
_SAME = 0.2  # px; nearer labels very likely are
_MIN_LABELS, _CLEAR = 10, 4.0  # number, and minimum contrast to noise, for a shift
# Minimum number of labels to find exchanged axes, and to find labels on dark places.
_MANY, _JUDGED = 5, 10
_ALONE = 50  # labels that are judged without the others
_MIN_SHARE_ON_DIM = 0.6  # of few labels, brighter than half of the plane
# Of many labels on dim spots, brighter than half of the plane: minimum share, and the
# largest p value of their number.
_MIN_SHARE_OF_MANY, _MAX_P_VALUE_OF_DIM = 0.55, 0.1
_MAX_P_VALUE = 0.01  # of the number of labels on bright places
TOGETHER = "all that look right alone, taken together"


@dataclass(frozen=True)
class Check:
    """Findings about the labels of one sample, or of a whole data set.

    Attributes
    ----------
    name : str
        Of the sample, or `TOGETHER`.
    n_spots : int
        Number of labels.
    snr : float
        Median of the labels' local contrast over the noise; NaN without labels.
    n_outside, n_duplicates, n_shared_cell : int
        Labels outside the image, labels nearer than 0.5 px to another one, and labels
        beyond the first in a cell of 2 px.
    dark : float
        Share of labels that are not on a local maximum of the image.
    shift_y, shift_x : float
        Median displacement in px of the clear labels from the centres of light around
        them, 0 where it could be chance.
    swapped : bool
        Whether the labels fit only with x and y exchanged.
    astray : bool
        Whether most labels are on no bright place, and these not brighter than any places.
    """

    name: str
    n_spots: int
    snr: float
    n_outside: int
    n_duplicates: int
    n_shared_cell: int
    dark: float
    shift_y: float
    shift_x: float
    swapped: bool
    astray: bool

    @property
    def problems(self) -> list[str]:
        """A sentence for each problem that the user should look at."""
        found = []
        if self.n_outside:
            found.append(f"{self.n_outside} labels are outside the image")
        if self.n_duplicates:
            found.append(
                f"{self.n_duplicates} labels are nearer than 0.5 px to another"
            )
        if self.swapped:
            found.append("the labels fit the bright places only with x and y exchanged")
        elif self.astray:
            found.append(f"{self.dark:.0%} of the labels are on no bright place")
        shift = np.array([self.shift_y, self.shift_x])
        if not self.swapped and np.abs(shift).max() > 0.3:
            found.append(
                f"the labels lie {self.shift_y:+.2f}, {self.shift_x:+.2f} px (y, x) from "
                "the centres of the light: another origin of coordinates?"
            )
        return found


@dataclass(frozen=True)
class _Evidence:
    """What is counted and measured in samples, before it is judged."""

    n_spots: int
    n_outside: int
    n_duplicates: int
    n_shared_cell: int
    contrast: NDArray[np.float64]  # (n,), of labels inside the image
    bright: NDArray[np.bool_]  # (n,), whether these are on bright places
    above: NDArray[np.bool_]  # whether these are brighter than half of the plane
    chance: NDArray[np.float64]  # (n,), share of their plane that is near bright places
    bright_flipped: NDArray[np.bool_]  # of labels inside with x and y exchanged
    moved: NDArray[np.float64]  # (m, 2), from the light to its clear label, px


def check_plane(plane: LabelledPlane) -> Check:
    """Look for mistakes in the labels of a plane."""
    return _judged("", _evidence(plane))


def check_all(samples: Sequence[Sample]) -> tuple[list[Check], Check]:
    """Look for mistakes in the labels of each sample, and of the other ones together."""
    found = [_evidence(sample) for sample in samples]
    each = [_judged(s.name, e) for s, e in zip(samples, found, strict=True)]
    right = [e for e, c in zip(found, each, strict=True) if not c.problems]
    return each, _judged(TOGETHER, _together(right))


def _evidence(plane: LabelledPlane) -> _Evidence:
    points, flipped = plane.points, plane.points[:, ::-1]
    is_in = inside(points, plane.image.shape)
    fits = inside(flipped, plane.image.shape)
    pixels = normalized(plane.image, plane_scaling(plane.image, "noise"))
    smooth = _smooth(pixels)
    contrast = _contrast(smooth, points[is_in])
    bright = _near_peaks(smooth)
    return _Evidence(
        n_spots=len(points),
        n_outside=int((~is_in).sum()),
        n_duplicates=_n_twice(points),
        n_shared_cell=len(points)
        - len(np.unique(np.floor((points + 0.5) / _CELL), axis=0)),
        contrast=contrast,
        bright=_at(bright, points[is_in]),
        above=contrast > 2.0 * np.median(smooth),
        chance=np.full(is_in.sum(), bright.mean()),
        bright_flipped=_at(bright, flipped[fits]),
        moved=_moved(pixels, points[is_in][contrast > _CLEAR]),
    )


def _together(found: Sequence[_Evidence]) -> _Evidence:
    """Sum the numbers of samples that look right, and join the lists."""
    no, none = np.empty(0, bool), np.empty((0, 2))
    return _Evidence(
        n_spots=sum(e.n_spots for e in found),
        n_outside=0,  # or they would not look right alone
        n_duplicates=0,
        n_shared_cell=sum(e.n_shared_cell for e in found),
        contrast=np.concatenate([np.empty(0), *(e.contrast for e in found)]),
        bright=np.concatenate([no, *(e.bright for e in found)]),
        above=np.concatenate([no, *(e.above for e in found)]),
        chance=np.concatenate([np.empty(0), *(e.chance for e in found)]),
        bright_flipped=np.concatenate([no, *(e.bright_flipped for e in found)]),
        moved=np.concatenate([none, *(e.moved for e in found)]),
    )


def _judged(name: str, found: _Evidence) -> Check:
    share, flipped = _share(found.bright), _share(found.bright_flipped)
    fits = len(found.bright_flipped) > 0.8 * found.n_spots
    swapped = found.n_spots >= _MANY and fits and flipped > max(0.5, share + 0.3)
    shift = _shift(found.moved)
    contrast = found.contrast
    return Check(
        name=name,
        n_spots=found.n_spots,
        snr=float(np.median(contrast)) if len(contrast) else float("nan"),
        n_outside=found.n_outside,
        n_duplicates=found.n_duplicates,
        n_shared_cell=found.n_shared_cell,
        dark=1.0 - share if len(found.bright) else 0.0,
        shift_y=float(shift[0]),
        shift_x=float(shift[1]),
        swapped=swapped,
        astray=found.n_spots >= _JUDGED and share < 0.5 and not _stand_out(found),
    )


def _stand_out(found: _Evidence) -> bool:
    """Return whether labels, of which few are on bright places, are on dim spots.

    Random places are brighter than half of the plane half of the time. If there are many
    labels, those on bright places are not counted as evidence for the others.
    """
    dark = ~found.bright
    if len(dark) == 0:  # all labels are outside, which is said already
        return True
    if dark.sum() >= _ALONE:
        n_above, n = int(found.above[dark].sum()), int(dark.sum())
        dim = stats.binomtest(n_above, n, 0.5, alternative="greater")
        is_more = n_above > _MIN_SHARE_OF_MANY * n
        return is_more and bool(dim.pvalue < _MAX_P_VALUE_OF_DIM)
    n_bright, expected = int(found.bright.sum()), float(found.chance.mean())
    more = stats.binomtest(n_bright, len(dark), expected, alternative="greater")
    return _share(found.above) > _MIN_SHARE_ON_DIM or bool(more.pvalue < _MAX_P_VALUE)


def _share(bright: NDArray[np.bool_]) -> float:
    return float(bright.mean()) if len(bright) else 0.0


def _n_twice(points: NDArray[np.float64]) -> int:
    """Count pairs of labels that are too near to be two spots; 0 if it may be chance.

    Where spots are dense, two may lie that near by chance. The number of pairs 0.5 to
    1.5 px apart, a ring of eight times the area, tells how many to expect.
    """
    if len(points) < 2:
        return 0
    tree = spatial.cKDTree(points)
    same, near, around = (
        len(tree.query_pairs(d)) for d in (_SAME, _DUPLICATE, 3 * _DUPLICATE)
    )
    expected = (around - near + 0.5) / 8
    for n, share in ((near, 1.0), (same, (_SAME / _DUPLICATE) ** 2)):
        if n > stats.poisson.ppf(0.999, expected * share):
            return n
    return 0


def _smooth(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Smooth normalized pixels a little and subtract the background."""
    fine = ndimage.gaussian_filter(pixels, 1.0)
    coarse = ndimage.gaussian_filter(pixels, 5.0)
    difference: NDArray[np.float32] = fine - coarse
    return difference


def _contrast(
    smooth: NDArray[np.float32], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Measure the contrast over noise at each point, on the scale of the pixels themselves.

    Smoothing by 1 px leaves 0.28 of the noise; a spot of the same width loses half.
    """
    at = np.rint(points).astype(int).T
    return 2.0 * smooth[at[0], at[1]].astype(float) if len(points) else np.empty(0)


def _near_peaks(smooth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which pixels are within 1 px of a local maximum that rises from the noise."""
    peaks = (smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > 0.6)
    near: NDArray[np.bool_] = ndimage.maximum_filter(peaks, 3)
    return near


def _at(mask: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Look points up in a mask."""
    at = np.rint(points).astype(int).T
    chosen: NDArray[np.bool_] = mask[at[0], at[1]] if len(points) else np.empty(0, bool)
    return chosen


def _moved(
    pixels: NDArray[np.float32], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Measure how far (y, x) points lie from the centres of light in 7 x 7 px."""
    offsets = np.arange(-3, 4)
    moved = []
    for y, x in points:
        row, col = round(y), round(x)
        window = pixels[max(0, row - 3) : row + 4, max(0, col - 3) : col + 4]
        if window.shape != (7, 7):
            continue
        light = np.clip(window - np.quantile(window, 0.5), 0, None)
        total = light.sum()
        if total > 0:
            centre_y = row + (light.sum(axis=1) @ offsets) / total
            centre_x = col + (light.sum(axis=0) @ offsets) / total
            moved.append((y - centre_y, x - centre_x))
    return np.array(moved, float).reshape(-1, 2)


def _shift(moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median distance; 0 below five standard errors, or with few points."""
    if len(moved) < _MIN_LABELS:
        return np.zeros(2)
    middle: NDArray[np.float64] = np.median(moved, axis=0)
    error = 1.25 * np.std(moved, axis=0) / np.sqrt(len(moved))
    return np.where(np.abs(middle) > 5 * error, middle, 0.0)


def summary(dataset: Dataset, checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Count what is in each split.

    Parameters
    ----------
    dataset : Dataset
        The samples.
    checks : sequence of Check
        Of each sample.

    Returns
    -------
    list of dict
        One per split: `split`, `images`, `samples`, `empty` samples, `spots`, `density`
        (spots per 1000 px²), `outside`, `twice` and `shared` (labels outside the image,
        set twice, and beyond the first in a cell of 2 px), `snr` (10 %, 50 % and 90 %
        quantiles of the samples' medians).
    """
    rows = []
    for split in SPLITS:
        both = zip(dataset.samples, checks, strict=True)
        here = [(s, c) for s, c in both if s.split == split]
        if not here:
            continue
        n = sum(c.n_spots for _, c in here)
        area = sum(s.image.size for s, _ in here)
        snr = [c.snr for _, c in here if np.isfinite(c.snr)]
        rows.append(
            {
                "split": split,
                "images": len({s.source for s, _ in here}),
                "samples": len(here),
                "empty": sum(c.n_spots == 0 for _, c in here),
                "spots": n,
                "density": 1000 * n / area,
                "outside": sum(c.n_outside for _, c in here),
                "twice": sum(c.n_duplicates for _, c in here),
                "shared": sum(c.n_shared_cell for _, c in here),
                "snr": [float(q) for q in np.quantile(snr, (0.1, 0.5, 0.9))]
                if snr
                else [],
            }
        )
    return rows
