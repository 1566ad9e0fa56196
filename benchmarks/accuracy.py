"""Scores on simulated scenes by SNR and density, beside LoG; localization beside theory.

    python benchmarks/accuracy.py [MODEL ...]

The scenes have seeds and kinds that no training saw: one intensity and one density
each, on three kinds of background. LoG follows the deepBlink paper's protocol for
TrackMate: one width and threshold for a data set (all scenes of one background), chosen
by grid search on validation scenes (other seeds). Beside it LoG with the best of both
for each row, which cannot be known without the truth. The models are used as they are,
with their own threshold.

The truth of the first tables is every spot that was drawn. In the table of spots that
stand out it is every spot that stands out from its surroundings, structure included
(docs/spots.md): a contrast to noise of 4 and more; detections of the other spots are
ignored.
"""

import sys
import warnings
from dataclasses import replace

import numpy as np
from log_detector import log_maxima
from table1 import behind
from timing import machine, table

from blinkcore import load_model
from blinkcore.detection.predict import find_spots
from blinkcore.evaluation.scores import evaluate, match
from blinkcore.simulation.crlb import cramer_rao
from blinkcore.simulation.ranges import GENERAL
from blinkcore.simulation.scenes import simulate

NOTHING = {name: 0.0 for name in GENERAL.__dataclass_fields__ if name.startswith("p_")}
# The truth is every spot that is drawn, also what no person would mark.
NOTHING |= {"min_contrast": 0.0, "min_relative_height": 0.0}
BACKGROUNDS = {
    "even": {},
    "cells": {"p_cells": 1.0, "p_texture": 0.5, "structure": (0.3, 1.0)},
    "haze": {"p_haze": 1.0, "p_gradient": 1.0, "p_out_of_focus": 1.0},
}
SNRS = (1, 2, 4, 7)
DENSITIES = {"low": 4e-4, "mid": 2e-3, "high": 6e-3}  # spots per px²
SIGMAS = (0.8, 1.0, 1.2, 1.5, 1.8, 2.2, 2.6)
N_VALID, N_TEST, SIDE = 6, 12, 256
SEED = 987_654_321


def scenes(snr, density, background, part, n, min_contrast=0.0):
    """Draw scenes; with a smallest contrast the same ones, the truth being fewer spots."""
    ranges = replace(
        GENERAL,
        **NOTHING
        | {
            "sigma": (1.0, 2.0),
            "snr": (snr, snr * 1.0001),
            "density": (density, density * 1.0001),
            "intensity_spread": (0.15, 0.151),
            "background": (20.0, 400.0),
            "min_contrast": min_contrast,
        }
        | BACKGROUNDS[background],
    )
    code = [SEED, part, snr, int(density * 1e6), list(BACKGROUNDS).index(background)]
    return [
        simulate((SIDE, SIDE), np.random.default_rng([*code, i]), ranges=ranges)
        for i in range(n)
    ]


def tuned_log(valid):
    """Width and threshold with the best mean F1 integral."""
    best = (-1.0, 0.0, 0.0)
    for sigma in SIGMAS:
        candidates = [scaled_log(s.image, sigma) for s in valid]
        for threshold in np.geomspace(2, 40, 25):
            score = np.mean(
                [
                    evaluate(s.points, c[c[:, 2] > threshold, :2]).f1_integral
                    for s, c in zip(valid, candidates, strict=True)
                ]
            )
            best = max(best, (float(score), sigma, float(threshold)))
    return best[1:]


def log_spots(test, setting):
    """What LoG finds with a width and a threshold."""
    sigma, threshold = setting
    found = [scaled_log(s.image, sigma) for s in test]
    return [c[c[:, 2] > threshold, :2] for c in found]


def scaled_log(image, sigma):
    """LoG maxima, quality divided by its median: exposures of one kind differ."""
    spots = log_maxima(image, sigma)
    spots[:, 2] /= max(float(np.median(spots[:, 2])), 1e-9)
    return spots


def scores_of(test, detections):
    """F1 integral, F1 and RMSE of each scene: (3, scenes)."""
    scores = [evaluate(s.points, d) for s, d in zip(test, detections, strict=True)]
    names = ("f1_integral", "f1", "rmse")
    return np.array([[getattr(score, name) for score in scores] for name in names])


def scores_of_seen(test, seen, detections):
    """F1 integral of each scene for the spots of `seen`, without detections of others."""
    scores = []
    for scene, visible, found in zip(test, seen, detections, strict=True):
        is_other = ~(scene.points[:, None] == visible.points[None]).all(2).any(1)
        pairs = match(scene.points, found, cutoff=3.0)
        of_others = pairs[is_other[pairs[:, 0]], 1]
        kept = np.delete(found, of_others, axis=0)
        scores.append(evaluate(visible.points, kept).f1_integral)
    return np.array(scores)


def accuracy(models):
    names = ["LoG, tuned for each background", "LoG, best for each row"]
    names += [m.name for m in models]
    rows, all_scores = [], []  # of each row: (methods, 3, scenes)
    of_seen, n_seen = [], []  # of each row: (methods, scenes), share of the spots
    kinds = [(snr, name) for snr in SNRS for name in DENSITIES]
    for background in BACKGROUNDS:
        valid = {
            (snr, name): scenes(snr, DENSITIES[name], background, 1, N_VALID)
            for snr, name in kinds
        }
        whole = tuned_log([s for kind in kinds for s in valid[kind][:3]])
        for snr, name in kinds:
            test = scenes(snr, DENSITIES[name], background, 2, N_TEST)
            found = [
                log_spots(test, setting)
                for setting in (whole, tuned_log(valid[snr, name]))
            ]
            for model in models:
                t = model.metadata.threshold
                found.append(
                    [find_spots(s.image, model, threshold=t)[:, :2] for s in test]
                )
            all_scores.append(np.array([scores_of(test, f) for f in found]))
            seen = scenes(
                snr, DENSITIES[name], background, 2, N_TEST, GENERAL.min_contrast
            )
            of_seen.append(np.array([scores_of_seen(test, seen, f) for f in found]))
            n_seen.append([len(s.points) for s in seen] + [len(s.points) for s in test])
            rows.append([background, snr, name, *cells(all_scores[-1:])])
        means = cells(all_scores[-len(kinds) :])
        rows.append([f"**{background}**", "", "mean", *means])
    rows.append(["**all**", "", "mean", *cells(all_scores)])
    print("F1 integral / F1 at 3 px / RMSE px:\n")
    table(["background", "SNR", "density", *names], rows)
    by_snr(names, np.array(all_scores)[:, :, 0])
    by_background(names, np.array(of_seen), np.array(n_seen))


def by_snr(names, integrals):
    """Means, and by how much the first model is ahead; (rows, methods, scenes)."""
    rows = []
    snr_of_row = np.tile(np.repeat(SNRS, len(DENSITIES)), len(BACKGROUNDS))
    first = integrals[:, 2]
    for name, own in zip(names, integrals.swapaxes(0, 1), strict=True):
        means = [own[snr_of_row == snr].mean() for snr in SNRS]
        low, high = behind(first.ravel(), own.ravel())
        ahead = "–" if name == names[2] else f"{low:+.3f} to {high:+.3f}"
        rows.append([name, *(f"{m:.3f}" for m in (*means, own.mean())), ahead])
    print("Mean F1 integral:\n")
    ahead = f"{names[2]} is ahead by (95 %)"
    table(["", *(f"SNR {snr}" for snr in SNRS), "all", ahead], rows)


def by_background(names, integrals, numbers):
    """Means for spots that stand out; (rows, methods, scenes), (rows, 2 x scenes)."""
    snr_of_row = np.tile(np.repeat(SNRS, len(DENSITIES)), len(BACKGROUNDS))
    background_of_row = np.repeat(list(BACKGROUNDS), len(SNRS) * len(DENSITIES))
    rows = []
    for background in BACKGROUNDS:
        for snr in SNRS[1:]:
            own = (snr_of_row == snr) & (background_of_row == background)
            seen, drawn = numbers[own].reshape(-1, 2, N_TEST).sum(axis=(0, 2))
            means = integrals[own].mean(axis=(0, 2))
            share = f"{seen / drawn:.0%}"
            rows.append([background, snr, share, *(f"{mean:.3f}" for mean in means)])
    print("Mean F1 integral for spots that stand out:\n")
    table(["background", "SNR", "of all", *names], rows)


def cells(scores):
    """Means over rows of the means over scenes, for a table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing found: no RMSE
        means = np.nanmean([np.nanmean(s, axis=2) for s in scores], axis=0)
    return [f"{m[0]:.3f} / {m[1]:.3f} / {m[2]:.2f}" for m in means]


def isolated_scenes(snr):
    """Scenes of few equal spots, and the bound of the error of their y and of their x (px).

    The bound (Mortensen et al. 2010, eq. 5) is for a known width and background.
    """
    background, sigma = 100.0, 1.3
    ranges = replace(
        GENERAL,
        **NOTHING
        | {
            "sigma": (sigma, sigma * 1.0001),
            "snr": (snr, snr * 1.0001),
            "density": (2e-4, 2.0001e-4),
            "intensity_spread": (0.0, 1e-9),
            "background": (background, background * 1.0001),
        },
    )
    scenes = [
        simulate((SIDE, SIDE), np.random.default_rng([SEED, 3, snr, i]), ranges=ranges)
        for i in range(40)
    ]
    root = (snr + np.sqrt(snr**2 + 4 * background)) / 2
    photons = (root**2 - background) * 2 * np.pi * sigma**2
    return scenes, float(photons), float(cramer_rao(photons, background, sigma))


def localization(models):
    """RMSE of isolated spots beside the Cramér-Rao bound."""
    rows = []
    for snr in (4, 7, 12, 20):
        test, photons, bound = isolated_scenes(snr)
        found = [isolated_rmse(test, model) for model in models]
        cells = [f"{rmse:.3f} ({rmse / bound:.2f} x)" for rmse in found]
        rows.append([snr, f"{photons:.0f}", f"{bound:.3f}", *cells])
    print("RMSE of isolated spots for each coordinate, px:\n")
    table(["SNR", "photons", "Cramér–Rao", *(m.name for m in models)], rows)


def isolated_rmse(test, model):
    squares = []
    for scene in test:
        spots = find_spots(scene.image, model, threshold=0.5)[:, :2]
        pairs = match(scene.points, spots, cutoff=3.0)
        for i, j in pairs:
            nearest = np.sort(np.hypot(*(scene.points - scene.points[i]).T))[1:2]
            inside = (scene.points[i] > 8).all() and (scene.points[i] < SIDE - 9).all()
            if inside and (nearest > 12).all():
                squares += list((scene.points[i] - spots[j]) ** 2)
    return float(np.sqrt(np.mean(squares)))


def false_spots(models):
    """Spots found where there are none, per megapixel."""
    rng = np.random.default_rng(SEED)
    rows, cols = np.ogrid[:1024, :1024]
    line = np.exp(-0.5 * ((rows - 0.7 * cols - 100) / 1.2) ** 2)
    hot = np.zeros((1024, 1024))
    hot[rng.integers(0, 1024, 300), rng.integers(0, 1024, 300)] = 300
    empty = rng.normal(100, 2, (1024, 1024))
    pictures = {
        "Poisson noise, 100 photons": rng.poisson(100, (1024, 1024)),
        "camera frame, read noise only": empty.clip(0),
        "a scratch": rng.poisson(100 + 200 * line),
        "300 hot pixels": rng.poisson(100, (1024, 1024)) + hot,
    }
    table_rows = []
    for name, picture in pictures.items():
        image = np.rint(picture).astype(np.uint16)
        counts = [len(find_spots(image, m, threshold=0.5)) for m in models]
        table_rows.append([name, *counts])
    print("False spots per megapixel:\n")
    table(["image", *(m.name for m in models)], table_rows)


def main():
    machine()
    models = [load_model(name, device="cpu") for name in sys.argv[1:] or ["general"]]
    accuracy(models)
    localization(models)
    false_spots(models)


if __name__ == "__main__":
    main()
