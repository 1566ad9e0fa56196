"""Where spots lie between the planes of a stack, from their heights in the planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR, FAR = 5, 20  # planes on each side of the highest one: at first, and at most
WIDTHS = (0.4, 8.0)  # planes; smallest and largest width of a profile
_REACH = 2.5  # widths, to which a profile should go on each side
# Planes, and widths, from a spot to the plane where it is brightest.
_FARTHEST = (1.0, 0.5)
_RISE = 3.0  # standard deviations of the noise; a larger rise means another spot,
_VALLEY = 0.8  # if the lowest height before it is below this share of it
_STEPS = 20  # of the fit
_MIN_NOISE = 1e-3  # of a height, as a share of the median height
_MIN_RESIDUALS = 20  # fewest to estimate the noise of light from
_MEDIAN_OF_SQUARE = 0.4549  # of a squared standard normal variable


class Axial(NamedTuple):
    """Positions of spots along z, from profiles of their heights.

    Attributes
    ----------
    z, uncertainty : ndarray of float64, shape (n,)
        Position relative to the middle plane, and its standard error, in planes.
    support : ndarray of float64, shape (n,)
        Signal to noise of all planes together, weighted by the point spread function,
        over that of the highest plane alone. Above 1 for a spot, which neighbouring
        planes show, too; below 1 for noise in a single plane.
    width : float
        Standard deviation of the point spread function over z, in planes.
    """

    z: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    support: NDArray[np.float64]
    width: float


def places_in_z(profiles: NDArray[np.float64], noise: float) -> Axial:
    """Fit a Gaussian to each profile of heights over z.

    All spots of a stack have one point spread function: widths are fitted first, and then
    the places with the median width.

    Parameters
    ----------
    profiles : ndarray of float64, shape (n, 2 near + 1)
        Heights in the planes around the highest one, which is in the middle; NaN where the
        stack ends.
    noise : float
        Standard deviation of a height.

    Returns
    -------
    Axial
    """
    near = profiles.shape[1] // 2
    if len(profiles) == 0:
        return Axial(np.empty(0), np.empty(0), np.empty(0), 1.2)
    apart = np.arange(-near, near + 1.0)
    known = np.isfinite(profiles) & ~_beyond_a_valley(profiles, noise)
    heights = np.where(known, profiles, 0.0)
    peak = np.maximum(heights[:, near], 1e-9)
    # Images that were deconvolved or clipped may have no noise where there is no spot.
    noise = max(noise, _MIN_NOISE * float(np.median(peak)))
    start = np.stack([peak, np.zeros(len(peak)), np.full(len(peak), 1.2)], axis=1)
    weight = known.astype(np.float64)
    free = _fitted(heights, weight, apart, start, n_free=3)
    is_clear = (known.sum(axis=1) >= 5) & (peak > 5 * noise)
    width = float(np.median(free[is_clear, 2])) if is_clear.any() else 1.2
    start[:, 2] = width
    fit = _fitted(heights, weight, apart, start, n_free=2)
    factor = _noise_of_light(
        fit[is_clear], heights[is_clear], weight[is_clear], apart, noise
    )
    variance = noise**2 + factor * _gaussian(fit, apart)
    fit = _fitted(heights, weight * noise**2 / variance, apart, fit, n_free=2)
    model = _gaussian(fit, apart)
    residual = np.where(known, heights - model, 0.0)
    freedom = np.maximum(known.sum(axis=1) - 2, 1)
    # Neighbours and structure are not noise, but they shift a position as noise does.
    excess = (residual**2 / variance).sum(axis=1) / freedom
    steep = np.where(known, model * (apart - fit[:, 1:2]) / width**2, 0.0)
    information = (steep**2 / variance).sum(axis=1)
    uncertainty = np.sqrt(np.maximum(excess, 1.0) / np.maximum(information, 1e-12))
    shape = np.where(known, model / fit[:, :1], 0.0)
    norm = np.sqrt(np.maximum((shape**2).sum(axis=1), 1e-12))
    support = (shape * heights).sum(axis=1) / norm / peak
    largest = max(_FARTHEST[0], _FARTHEST[1] * width)
    return Axial(fit[:, 1], np.minimum(uncertainty, largest), support, width)


def planes_needed(width: float) -> int:
    """Return the planes on each side that a profile of this width needs, NEAR to FAR."""
    return int(np.clip(np.ceil(_REACH * width), NEAR, FAR))


def _noise_of_light(
    fit: NDArray[np.float64],
    heights: NDArray[np.float64],
    weight: NDArray[np.float64],
    apart: NDArray[np.float64],
    noise: float,
) -> float:
    """Estimate how the variance of a height grows with the height.

    The light of a spot has shot noise, so the planes in which it is bright are less
    certain than those around it. All spots of a stack share one factor: with it, half of
    the squared residuals lie below the median of a chi-squared variable.
    """
    model = _gaussian(fit, apart)
    slopes = _slopes(fit, model, apart)[:, :, :2]
    matrix = np.einsum("np,npi,npj->nij", weight, slopes, slopes)
    determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] ** 2
    swapped = matrix[:, ::-1, ::-1] * np.array([[1.0, -1.0], [-1.0, 1.0]])
    inverse = swapped / np.maximum(determinant, 1e-12)[:, None, None]
    leverage = np.einsum("npi,nij,npj->np", slopes, inverse, slopes) * weight
    use = (weight > 0) & (model > noise) & (leverage < 0.9)
    if use.sum() < _MIN_RESIDUALS:
        return 0.0
    squares = (heights - model)[use] ** 2 / (1 - leverage[use])
    light = model[use]

    def is_low(factor: float) -> bool:
        ratio = squares / (noise**2 + factor * light)
        return float(np.median(ratio)) > _MEDIAN_OF_SQUARE

    low, high = 0.0, float((squares / light).max())
    if not is_low(low):
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if is_low(middle) else (low, middle)
    return high


def _beyond_a_valley(profiles: NDArray[np.float64], noise: float) -> NDArray[np.bool_]:
    """Tell which heights belong to another spot: from where the profile rises again."""
    beyond = np.zeros(profiles.shape, bool)
    near = profiles.shape[1] // 2
    for side in (-1, 1):
        lowest = profiles[:, near].copy()
        is_over = np.zeros(len(profiles), bool)
        for step in range(1, near + 1):
            at = near + side * step
            is_clear = profiles[:, at] > lowest + _RISE * noise
            is_over |= is_clear & (lowest < _VALLEY * profiles[:, at])
            beyond[:, at] = is_over
            lowest = np.fmin(lowest, profiles[:, at])
    return beyond


def _gaussian(
    parameters: NDArray[np.float64], apart: NDArray[np.float64]
) -> NDArray[np.float64]:
    peak, centre, width = (parameters[:, i : i + 1] for i in range(3))
    values: NDArray[np.float64] = peak * np.exp(-0.5 * ((apart - centre) / width) ** 2)
    return values


def _slopes(
    fit: NDArray[np.float64], model: NDArray[np.float64], apart: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the derivatives of the heights by peak, centre and width, (n, planes, 3)."""
    distance, width = apart - fit[:, 1:2], fit[:, 2:3]
    return np.stack(
        [
            model / fit[:, :1],
            model * distance / width**2,
            model * distance**2 / width**3,
        ],
        axis=2,
    )


def _fitted(
    heights: NDArray[np.float64],
    weight: NDArray[np.float64],
    apart: NDArray[np.float64],
    start: NDArray[np.float64],
    *,
    n_free: int,
) -> NDArray[np.float64]:
    """Minimize the squared residuals of all profiles at once, by Levenberg and Marquardt.

    The first `n_free` of peak, centre and width are fitted. `weight` is that of each
    squared residual; 0 where a height is not known.
    """
    fit: NDArray[np.float64] = start.copy()
    damping = np.full(len(fit), 1e-2)
    cost = _cost(fit, heights, weight, apart)
    for _ in range(_STEPS):
        model = _gaussian(fit, apart)
        slopes = _slopes(fit, model, apart)[:, :, :n_free]
        weighted = slopes * weight[:, :, None]
        matrix = np.einsum("npi,npj->nij", weighted, slopes)
        diagonal = np.einsum("nii->ni", matrix)
        diagonal += damping[:, None] * diagonal + 1e-12
        vector = np.einsum("npi,np->ni", weighted, heights - model)
        step = np.linalg.solve(matrix, vector[:, :, None])[:, :, 0]
        new = fit.copy()
        new[:, :n_free] += step
        new[:, 0] = np.maximum(new[:, 0], 1e-9)
        new[:, 2] = np.clip(new[:, 2], *WIDTHS)
        farthest = np.maximum(_FARTHEST[0], _FARTHEST[1] * new[:, 2])
        new[:, 1] = np.clip(new[:, 1], -farthest, farthest)
        new_cost = _cost(new, heights, weight, apart)
        better = new_cost < cost
        fit[better], cost[better] = new[better], new_cost[better]
        damping = np.where(better, damping / 5, damping * 5)
    return fit


def _cost(
    fit: NDArray[np.float64],
    heights: NDArray[np.float64],
    weight: NDArray[np.float64],
    apart: NDArray[np.float64],
) -> NDArray[np.float64]:
    residual = heights - _gaussian(fit, apart)
    squares: NDArray[np.float64] = (weight * residual**2).sum(axis=1)
    return squares
