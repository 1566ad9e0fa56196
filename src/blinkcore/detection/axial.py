"""Where spots lie between the planes of a stack, from their heights in the planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR = 5  # planes on each side of the highest one
WIDTHS = (0.4, 4.0)  # planes; smallest and largest width of a profile
_FARTHEST = 1.0  # planes, between a spot and the plane in which it is brightest
_RISE = 3.0  # standard deviations of the noise; a larger rise means another spot
_STEPS = 20  # of the fit


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
    profiles : ndarray of float64, shape (n, 2 NEAR + 1)
        Heights in the planes around the highest one, which is in the middle; NaN where the
        stack ends.
    noise : float
        Standard deviation of a height.

    Returns
    -------
    Axial
    """
    if len(profiles) == 0:
        return Axial(np.empty(0), np.empty(0), np.empty(0), 1.2)
    apart = np.arange(-NEAR, NEAR + 1.0)
    known = np.isfinite(profiles) & ~_beyond_a_valley(profiles, noise)
    heights = np.where(known, profiles, 0.0)
    peak = np.maximum(heights[:, NEAR], 1e-9)
    start = np.stack([peak, np.zeros(len(peak)), np.full(len(peak), 1.2)], axis=1)
    free = _fitted(heights, known, apart, start, n_free=3)
    is_clear = (known.sum(axis=1) >= 5) & (peak > 5 * noise)
    width = float(np.median(free[is_clear, 2])) if is_clear.any() else 1.2
    start[:, 2] = width
    fit = _fitted(heights, known, apart, start, n_free=2)
    model = _gaussian(fit, apart)
    residual = np.where(known, heights - model, 0.0)
    freedom = np.maximum(known.sum(axis=1) - 2, 1)
    # Neighbours and structure are not noise, but they shift a position as noise does.
    variance = np.maximum(noise**2, (residual**2).sum(axis=1) / freedom)
    slope = np.where(known, model * (apart - fit[:, 1:2]) / width**2, 0.0)
    information = (slope**2).sum(axis=1)
    uncertainty = np.sqrt(variance / np.maximum(information, 1e-12))
    shape = np.where(known, model / fit[:, :1], 0.0)
    norm = np.sqrt(np.maximum((shape**2).sum(axis=1), 1e-12))
    support = (shape * heights).sum(axis=1) / norm / peak
    return Axial(fit[:, 1], np.minimum(uncertainty, _FARTHEST), support, width)


def _beyond_a_valley(profiles: NDArray[np.float64], noise: float) -> NDArray[np.bool_]:
    """Tell which heights belong to another spot: from where the profile rises again."""
    beyond = np.zeros(profiles.shape, bool)
    for side in (-1, 1):
        lowest = profiles[:, NEAR].copy()
        is_over = np.zeros(len(profiles), bool)
        for step in range(1, NEAR + 1):
            at = NEAR + side * step
            is_over |= profiles[:, at] > lowest + _RISE * noise
            beyond[:, at] = is_over
            lowest = np.fmin(lowest, profiles[:, at])
    return beyond


def _gaussian(
    parameters: NDArray[np.float64], apart: NDArray[np.float64]
) -> NDArray[np.float64]:
    peak, centre, width = (parameters[:, i : i + 1] for i in range(3))
    values: NDArray[np.float64] = peak * np.exp(-0.5 * ((apart - centre) / width) ** 2)
    return values


def _fitted(
    heights: NDArray[np.float64],
    known: NDArray[np.bool_],
    apart: NDArray[np.float64],
    start: NDArray[np.float64],
    *,
    n_free: int,
) -> NDArray[np.float64]:
    """Minimize the squared residuals of all profiles at once, by Levenberg and Marquardt.

    The first `n_free` of peak, centre and width are fitted.
    """
    fit: NDArray[np.float64] = start.copy()
    damping = np.full(len(fit), 1e-2)
    cost = _cost(fit, heights, known, apart)
    for _ in range(_STEPS):
        model = _gaussian(fit, apart)
        distance = apart - fit[:, 1:2]
        width = fit[:, 2:3]
        slopes = np.stack(
            [
                model / fit[:, :1],
                model * distance / width**2,
                model * distance**2 / width**3,
            ],
            axis=2,
        )[:, :, :n_free]
        slopes *= known[:, :, None]
        residual = np.where(known, heights - model, 0.0)
        matrix = np.einsum("npi,npj->nij", slopes, slopes)
        diagonal = np.einsum("nii->ni", matrix)
        diagonal += damping[:, None] * diagonal + 1e-12
        vector = np.einsum("npi,np->ni", slopes, residual)
        step = np.linalg.solve(matrix, vector[:, :, None])[:, :, 0]
        new = fit.copy()
        new[:, :n_free] += step
        new[:, 0] = np.maximum(new[:, 0], 1e-9)
        new[:, 1] = np.clip(new[:, 1], -_FARTHEST, _FARTHEST)
        new[:, 2] = np.clip(new[:, 2], *WIDTHS)
        new_cost = _cost(new, heights, known, apart)
        better = new_cost < cost
        fit[better], cost[better] = new[better], new_cost[better]
        damping = np.where(better, damping / 5, damping * 5)
    return fit


def _cost(
    fit: NDArray[np.float64],
    heights: NDArray[np.float64],
    known: NDArray[np.bool_],
    apart: NDArray[np.float64],
) -> NDArray[np.float64]:
    residual = np.where(known, heights - _gaussian(fit, apart), 0.0)
    squares: NDArray[np.float64] = (residual**2).sum(axis=1)
    return squares
