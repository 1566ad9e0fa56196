"""Scores of a bundled model on real and semi-real labelled images.

    python benchmarks/labelled.py FOLDER [MODEL]

FOLDER holds images with `<name>_points.csv` beside them (columns t, z, c, y, x). LoG
gets the best width and threshold for each image, chosen on that image's own labels:
what no user could do, and so more than LoG reaches in practice. The model is used as it
is.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from log_detector import log_maxima
from timing import machine, table

from blinkcore import load_model, predict, read_image
from blinkcore.evaluation.scores import evaluate, match

MERGE = 0.5  # px; nearer labels are one spot labelled twice


def merged(points):
    """Mean of labels that lie closer than `MERGE`."""
    kept = []
    for point in points:
        near = [i for i, other in enumerate(kept) if np.hypot(*(point - other)) < MERGE]
        if near:
            kept[near[0]] = (kept[near[0]] + point) / 2
        else:
            kept.append(point)
    return np.array(kept).reshape(-1, 2)


def best_log(plane, truth):
    best = (-1.0, None)
    for sigma in (0.8, 1.0, 1.2, 1.5, 1.8, 2.2):
        spots = log_maxima(plane, sigma)
        order = np.argsort(-spots[:, 2])[: 4 * len(truth) + 20]
        for n in np.unique(np.geomspace(1, len(order), 40).astype(int)):
            scores = evaluate(truth, spots[order[:n], :2])
            best = max(best, (scores.f1_integral, scores), key=lambda pair: pair[0])
    return best[1]


def stacks(path, model, points):
    """Recall and RMSE where only some of the spots are labelled."""
    spots = predict(path, model, axes="TYX")
    n, squares = 0, []
    for frame, labels in points.groupby("t"):
        found = spots.loc[spots["frame"] == frame, ["y", "x"]].to_numpy()
        truth = labels[["y", "x"]].to_numpy()
        pairs = match(truth, found, cutoff=3.0) if len(found) else np.empty((0, 2), int)
        n += len(pairs)
        squares += [((truth[i] - found[j]) ** 2).sum() for i, j in pairs]
    print(
        f"{path.name}: {n} of {len(points)} labelled events found, RMSE "
        f"{np.sqrt(np.mean(squares)):.3f} px, {len(spots)} spots in all frames\n"
    )


def main():
    machine()
    model = load_model(*(sys.argv[2:3] or ["general"]), device="cpu")
    rows = []
    for labels in sorted(Path(sys.argv[1]).glob("*_points.csv")):
        points = pd.read_csv(labels).dropna(subset=["y", "x"])
        path = next(labels.parent.glob(labels.name.removesuffix("_points.csv") + ".*"))
        if points["t"].nunique() > 1:
            stacks(path, model, points)
            continue
        truth = merged(points[["y", "x"]].to_numpy())
        image = read_image(path)
        plane = next(image.planes()).data
        ours = evaluate(truth, predict(image, model)[["y", "x"]].to_numpy())
        peer = best_log(plane, truth)
        row = [path.name, len(truth), ours.n_detected]
        for s in (ours, peer):
            row += [f"{s.f1_integral:.3f}", f"{s.f1:.3f}", f"{s.rmse:.2f}"]
        rows.append([*row, f"{ours.precision:.3f}", f"{ours.recall:.3f}"])
    table(
        ["image", "true", "found", "F1 integral", "F1 at 3 px", "RMSE px",
         "LoG: F1 integral", "F1", "RMSE", "model: precision", "recall"], rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
