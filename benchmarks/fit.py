"""Gaussian fits of 20,000 spots: speed, spread over the bound, stated errors.

    python benchmarks/fit.py

The peer is `scipy.optimize.curve_fit` with the same model, least squares, for 500 of
them. Each spot lies in a square of its own; the noise is Poisson noise. The bound is
the Cramér-Rao bound for the true spot.
"""

import os
import time
import warnings

import numpy as np
from scipy.optimize import curve_fit
from scipy.special import erf
from timing import machine, table

from blinkcore.detection.fit import NAMES, Camera, fit_spots

SIDE, N, N_PEER, REACH = 21, 20_000, 500, 5
SCENES = (
    (200, 10, 1.3),
    (500, 10, 1.3),
    (1000, 100, 1.3),
    (5000, 100, 1.8),
    (400, 1, 1.0),
)


def shares(centre, sigma, first, n):
    edges = first - 0.5 + np.arange(n + 1)
    return np.diff(0.5 * erf((edges - centre) / (np.sqrt(2) * sigma)))


def model(window, y, x, sigma, photons, background):
    top, left, n = window
    rows, cols = shares(y, sigma, top, n), shares(x, sigma, left, n)
    return (background + photons * np.outer(rows, cols)).ravel()


def drawn(rng, photons, background, sigma):
    across = int(np.ceil(np.sqrt(N)))
    light = np.full((across * SIDE, across * SIDE), float(background))
    middle = SIDE // 2
    offsets = rng.uniform(-0.5, 0.5, (N, 2))
    corner = SIDE * np.stack(np.divmod(np.arange(N), across), axis=1)
    for (dy, dx), (top, left) in zip(offsets, corner, strict=True):
        spot = np.outer(
            shares(middle + dy, sigma, 0, SIDE), shares(middle + dx, sigma, 0, SIDE)
        )
        light[top : top + SIDE, left : left + SIDE] += photons * spot
    return rng.poisson(light).astype(np.float64), corner + middle + offsets


def bound(photons, background, sigma):
    """Standard error of y, px, by the inverse Fisher matrix, mean over sub-pixel shifts."""
    rng, step = np.random.default_rng(0), 1e-4
    values = []
    for _ in range(50):
        truth = np.array(
            [*rng.uniform(-0.5, 0.5, 2), sigma, photons, background], float
        )
        window = (-REACH, -REACH, 2 * REACH + 1)
        here = model(window, *truth)
        slopes = []
        for i in range(5):
            moved = truth.copy()
            moved[i] += step * max(1.0, truth[i])
            slopes.append((model(window, *moved) - here) / (moved[i] - truth[i]))
        fisher = np.array(slopes) / here @ np.array(slopes).T
        values.append(np.linalg.inv(fisher)[0, 0])
    return np.sqrt(np.mean(values))


def peer(pixels, starts):
    """Positions by curve_fit in the same windows."""
    found = np.full((len(starts), 2), np.nan)
    for i, (y, x) in enumerate(starts):
        top, left = np.rint([y, x]).astype(int) - REACH
        n = 2 * REACH + 1
        window = pixels[top : top + n, left : left + n]
        first = (y, x, 1.3, window.sum() - np.median(window) * n * n, np.median(window))
        try:
            found[i] = curve_fit(model, (top, left, n), window.ravel(), first)[0][:2]
        except RuntimeError:
            continue
    return found


def main():
    warnings.simplefilter("ignore")
    machine()
    rows = []
    for photons, background, sigma in SCENES:
        rng = np.random.default_rng(0)
        pixels, places = drawn(rng, photons, background, sigma)
        starts = places + rng.normal(0, 0.15, places.shape)
        least = bound(photons, background, sigma)
        peak = photons / (2 * np.pi * sigma**2)
        scene = (
            f"{photons}, {background}, {sigma}",
            f"{peak / np.sqrt(peak + background):.1f}",
        )
        for method in ("poisson", "lsq"):
            started = time.perf_counter()
            found = fit_spots(pixels, starts, method=method, camera=Camera(0, 1))
            speed = N / (time.perf_counter() - started)
            off = (found[:, :2] - places)[np.isfinite(found[:, 0])]
            said = np.nanmedian(found[:, NAMES.index("fit_uncertainty")])
            error = np.nanmedian(found[:, NAMES.index("amplitude_uncertainty")])
            of_peak = error / np.nanstd(found[:, NAMES.index("amplitude")])
            rows.append(
                (*scene, method, f"{len(off) / N:.2%}", f"{np.abs(off.mean(axis=0)).max():.4f}",
                 f"{off.std() / least:.3f}", f"{said / off.std():.3f}", f"{of_peak:.3f}", f"{speed:,.0f}")
            )  # fmt: skip
        started = time.perf_counter()
        found = peer(pixels, starts[:N_PEER])
        speed = N_PEER / (time.perf_counter() - started)
        off = (found - places[:N_PEER])[np.isfinite(found[:, 0])]
        rows.append(
            (*scene, "curve_fit", f"{len(off) / N_PEER:.2%}",
             f"{np.abs(off.mean(axis=0)).max():.4f}", f"{off.std() / least:.3f}", "", "", f"{speed:,.0f}")
        )  # fmt: skip
    print(f"{os.cpu_count()} threads\n")
    table(
        ("photons, background, sigma px", "SNR", "method", "converged", "mean error px",
         "spread over the bound", "stated over spread", "the same of the amplitude", "spots a second"),
        rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
