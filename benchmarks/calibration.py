"""Do probabilities mean what they say? Reliability on scenes that no training saw.

    python benchmarks/calibration.py [MODEL]

300 scenes of 256 x 256 px from the ranges of the training with other seeds. A spot counts as
real if it is matched to a true one within 3 px.
"""

import sys
from itertools import pairwise

import numpy as np
from timing import machine, table

from blinkcore import load_model
from blinkcore.evaluate import match
from blinkcore.fdr import keep_for_fdr
from blinkcore.predict import find_spots
from blinkcore.simulate import simulate

N, SEED = 300, 123_456_789
LEAST = 0.05


def matched(points, spots):
    """Whether each spot is real."""
    real = np.zeros(len(spots), bool)
    if len(points) and len(spots):
        real[match(points, spots[:, :2], cutoff=3.0)[:, 1]] = True
    return real


def main():
    machine()
    model = load_model(*sys.argv[1:2] or ["general"], device="cpu")
    probability, real, n_truth = [], [], 0
    for i in range(N):
        scene = simulate((256, 256), np.random.default_rng([SEED, i]))
        spots = find_spots(scene.image, model, threshold=LEAST)
        probability.append(spots[:, 2])
        real.append(matched(scene.points, spots))
        n_truth += len(scene.points)
    p, r = np.concatenate(probability), np.concatenate(real)
    rows, error = [], 0.0
    edges = np.array([LEAST, *np.arange(0.1, 1.0, 0.1), 1.0001])
    for low, high in pairwise(edges):
        inside = (p >= low) & (p < high)
        said, true = p[inside].mean(), r[inside].mean()
        error += inside.mean() * abs(said - true)
        name = f"{low:.2f}-{min(high, 1):.2f}"
        rows.append([name, inside.sum(), f"{said:.3f}", f"{true:.3f}"])
    table(["probability", "spots", "mean said", "real"], rows)
    print(f"Expected calibration error: {error:.3f}\n")
    rows = []
    for fdr in (0.02, 0.05, 0.1, 0.2):
        kept = [keep_for_fdr(q, fdr) for q in probability]
        found = np.concatenate([r[k] for r, k in zip(real, kept, strict=True)])
        recall = found.sum() / n_truth
        rows.append([fdr, len(found), f"{1 - found.mean():.3f}", f"{recall:.3f}"])
    print("Asked for a share of false spots, image by image:\n")
    table(["--fdr", "spots kept", "false", "recall"], rows)


if __name__ == "__main__":
    main()
