"""Are probabilities and predicted errors right? On scenes that no training saw.

    python benchmarks/calibration.py [MODEL [PICTURE.png]]

300 scenes of 256 x 256 px from the ranges of the training with other seeds. A spot
counts as real if it is matched to a true one within 3 px.
"""

import sys
from itertools import pairwise

import numpy as np
from timing import machine, table

from blinkcore import load_model
from blinkcore.detection.predict import find_spots
from blinkcore.evaluation.scores import match
from blinkcore.network.calibration import keep_for_fdr, real_count
from blinkcore.simulation.scenes import simulate

N, SEED = 300, 123_456_789
LEAST = 0.05


def matched(points, spots):
    """Whether each spot is real, and how far it lies from the true one in y and x."""
    real = np.zeros(len(spots), bool)
    distance = np.full((len(spots), 2), np.nan)
    if len(points) and len(spots):
        pairs = match(points, spots[:, :2], cutoff=3.0)
        real[pairs[:, 1]] = True
        distance[pairs[:, 1]] = spots[pairs[:, 1], :2] - points[pairs[:, 0]]
    return real, distance


def coverage(errors, distances):
    """Print the shares of errors within one and two predicted errors, by their size."""
    rows = []
    edges = (0.0, 0.1, 0.2, 0.3, 0.5, 10.0)
    for low, high in [*pairwise(edges), (edges[0], edges[-1])]:
        inside = (errors >= low) & (errors < high)
        within = np.abs(distances[inside]) / errors[inside, None]
        rms = np.sqrt((distances[inside] ** 2).mean())
        said = np.sqrt((errors[inside] ** 2).mean())
        name = "all" if high == edges[-1] and low == 0 else f"{low:g}-{high:g}"
        rows.append(
            [name, inside.sum(), f"{said:.3f}", f"{rms:.3f}"]
            + [f"{(within < n).mean():.3f}" for n in (1, 2)]
        )
    print("Error of matched spots with a probability above 0.5, px:\n")
    table(
        ["localization_uncertainty", "spots", "RMS predicted", "RMS measured",
         "within 1 (0.683)", "within 2 (0.954)"], rows,
    )  # fmt: skip


def counts(model, probability, found):
    """Print how often the interval of a count holds, by the number of spots."""
    spread = model.metadata.count_spread
    if spread is None:
        return
    counted = np.array([
        (len(p), *real_count(p, spread), real)
        for p, real in zip(probability, found, strict=True)
    ])  # fmt: skip
    rows = []
    for low, high in ((1, 20), (20, 100), (100, 10**6), (1, 10**6)):
        inside = (counted[:, 0] >= low) & (counted[:, 0] < high)
        n, expected, least, most, real = counted[inside].T
        held = (least <= real) & (real <= most)
        name = "all" if (low, high) == (1, 10**6) else f"from {low}"
        width = np.median((most - least) / 2 / expected)
        rows.append([name, len(n), f"{expected.sum():.0f}", f"{real.sum():.0f}",
                     f"{width:.0%}", f"{held.mean():.3f}"])  # fmt: skip
    print("Number of real spots among those found, scene by scene:\n")
    table(["spots in a scene", "scenes", "expected", "real", "half the interval, median",
           "within (0.95)"], rows)  # fmt: skip


def counts_elsewhere(model, probability, real):
    """Print how often the interval holds with other thresholds than the model's."""
    spread = model.metadata.count_spread
    if spread is None:
        return
    rows = []
    rules = {
        f"threshold {t:g}": lambda p, t=t: p > t for t in (0.1, 0.2, 0.5, 0.7, 0.9)
    }
    rules |= {
        f"--fdr {f:g}": lambda p, f=f: keep_for_fdr(p, f) for f in (0.05, 0.1, 0.2)
    }
    for name, rule in rules.items():
        held, expected, n_real = [], 0.0, 0
        for p, r in zip(probability, real, strict=True):
            kept = rule(p)
            if kept.any():
                said = real_count(p[kept], spread)
                held.append(said.low <= r[kept].sum() <= said.high)
                expected, n_real = expected + said.expected, n_real + r[kept].sum()
        rows.append([name, len(held), f"{expected:.0f}", n_real,
                     f"{np.mean(held):.3f}"])  # fmt: skip
    print("The same with other thresholds than that of the model:\n")
    table(["kept", "scenes", "expected", "real", "within (0.95)"], rows)


def draw(path, said, true, found, truth):
    """Reliability diagram, and where in their pixel spots are found."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot([0, 1], [0, 1], "k:", linewidth=1)
    left.plot(said, true, "o-")
    left.set(xlabel="predicted probability", ylabel="share that is real")
    for axis, name, plot in ((0, "y", middle), (1, "x", right)):
        cells = (truth[:, axis] + 0.5) % 2, (found[:, axis] + 0.5) % 2
        plot.hist2d(*cells, bins=40, range=[[0, 2], [0, 2]], cmap="magma")
        plot.set(xlabel=f"true {name} in its cell, px", ylabel="found")
    figure.savefig(path, dpi=110)


def main():
    machine()
    model = load_model(*(sys.argv[1:2] or ["general"]), device="cpu")
    probability, real, n_truth = [], [], 0
    errors, distances, places = [], [], []
    sure_ones, n_real = [], []
    for i in range(N):
        scene = simulate((256, 256), np.random.default_rng([SEED, i]))
        spots = find_spots(scene.image, model, threshold=LEAST)
        probability.append(spots[:, 2])
        is_real, distance = matched(scene.points, spots)
        real.append(is_real)
        sure = is_real & (spots[:, 2] > 0.5)
        distances.append(distance[sure])
        places.append(spots[sure, :2])
        if model.has_error:
            errors.append(spots[sure, 3])
        n_truth += len(scene.points)
        sure_ones.append(spots[spots[:, 2] > model.metadata.threshold])
        n_real.append(matched(scene.points, sure_ones[-1])[0].sum())
    p, r = np.concatenate(probability), np.concatenate(real)
    rows, error, points = [], 0.0, []
    edges = np.array([LEAST, *np.arange(0.1, 1.0, 0.1), 1.0001])
    for low, high in pairwise(edges):
        inside = (p >= low) & (p < high)
        said, true = p[inside].mean(), r[inside].mean()
        points.append((said, true))
        error += inside.mean() * abs(said - true)
        name = f"{low:.2f}-{min(high, 1):.2f}"
        rows.append([name, inside.sum(), f"{said:.3f}", f"{true:.3f}"])
    table(["probability", "spots", "mean predicted", "real"], rows)
    print(f"Expected calibration error: {error:.3f}\n")
    rows = []
    for fdr in (0.02, 0.05, 0.1, 0.2):
        kept = [keep_for_fdr(q, fdr) for q in probability]
        found = np.concatenate([r[k] for r, k in zip(real, kept, strict=True)])
        recall = found.sum() / n_truth
        rows.append([fdr, len(found), f"{1 - found.mean():.3f}", f"{recall:.3f}"])
    print("Share of false spots requested with --fdr, image by image:\n")
    table(["--fdr", "spots kept", "false", "recall"], rows)
    counts(model, [s[:, 2] for s in sure_ones], n_real)
    counts_elsewhere(model, probability, real)
    distances, places = np.concatenate(distances), np.concatenate(places)
    if errors:
        coverage(np.concatenate(errors), distances)
    bias = [f"{b:+.4f}" for b in distances.mean(axis=0)]
    print(f"Mean of found minus true, y and x: {', '.join(bias)} px\n")
    if len(sys.argv) > 2:
        draw(sys.argv[2], *np.transpose(points), places, places - distances)


if __name__ == "__main__":
    main()
