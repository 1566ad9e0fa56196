"""What a bundled model finds: spots of which widths, and pairs of which distances.

    python benchmarks/limits.py [MODEL]

400 isolated spots, or pairs, on an even background of 100 photons; Gaussian spots.
"""

import sys

import numpy as np
from timing import machine, table

from blinkcore import load_model
from blinkcore.detection.predict import find_spots
from blinkcore.evaluation.scores import evaluate
from blinkcore.simulation.light import add_gaussians

SIDE = 512


def picture(points, sigma, peak, rng):
    light = np.full((SIDE, SIDE), 100.0, np.float32)
    n = len(points)
    add_gaussians(light, points, np.full(n, peak), np.full(n, sigma))
    return rng.poisson(light).astype(np.uint16)


def main():
    machine()
    model = load_model(*(sys.argv[1:2] or ["general"]), device="cpu")
    rng = np.random.default_rng(1)
    lines = np.arange(20, 500, 24)
    corners = np.stack(np.meshgrid(lines, lines, indexing="ij"), axis=-1).reshape(-1, 2)
    points = corners + rng.uniform(-4, 4, corners.shape)

    rows = []
    for sigma in (0.5, 0.65, 0.8, 1.0, 1.3, 2.0, 2.5, 3.0, 3.5, 4.0):
        found = find_spots(picture(points, sigma, 200.0, rng), model, threshold=0.5)
        s = evaluate(points, found[:, :2])
        rows.append([sigma, f"{s.recall:.3f}", f"{s.precision:.3f}", f"{s.rmse:.2f}"])
    print("Isolated spots, peak 200 photons:\n")
    table(["sigma px", "recall", "precision", "RMSE px"], rows)

    rows = []
    for distance in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0):
        row = [distance]
        for sigma in (1.0, 1.3):
            angle = rng.uniform(0, 2 * np.pi, len(points))
            half = np.stack([np.sin(angle), np.cos(angle)], axis=1) * distance / 2
            both = np.concatenate([points - half, points + half])
            found = find_spots(picture(both, sigma, 400.0, rng), model, threshold=0.5)
            near = [(np.hypot(*(found[:, :2] - p).T) < 6).sum() for p in points]
            row.append(f"{np.mean(np.array(near) == 2):.3f}")
        rows.append(row)
    print("Pairs found as two, peak 400 photons each:\n")
    table(["distance px", "sigma 1.0 px", "sigma 1.3 px"], rows)


if __name__ == "__main__":
    main()
