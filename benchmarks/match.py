"""Time of matching two sets of points, beside scipy, lapx and a Python loop."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from timing import machine, seconds, table

from blinkcore import _core
from blinkcore.evaluation.scores import INTEGRAL_CUTOFFS

try:
    import lap
except ImportError:
    lap = None

CUTOFF = 3.0


def blinkcore(truth, detected):
    return _core.match(truth, detected, cutoff=CUTOFF)


def scipy_dense(truth, detected):
    distance = cdist(truth, detected)
    cost = np.where(distance <= CUTOFF, distance, 1e4)
    row, col = linear_sum_assignment(cost)
    kept = distance[row, col] <= CUTOFF
    return np.stack([row[kept], col[kept]], axis=1)


def lapx_dense(truth, detected):
    distance = cdist(truth, detected)
    cost = np.where(distance <= CUTOFF, distance, 1e4)
    _, col, _ = lap.lapjv(cost, extend_cost=True)
    row = np.flatnonzero(col >= 0)
    kept = distance[row, col[row]] <= CUTOFF
    return np.stack([row[kept], col[row][kept]], axis=1)


def python_loop(truth, detected):
    """Greedy, nearest first: what people write by hand. Not optimal."""
    tree = KDTree(detected)
    near = tree.query_ball_point(truth, CUTOFF)
    pairs = [
        (float(np.hypot(*(truth[i] - detected[j]))), i, j)
        for i, some in enumerate(near)
        for j in some
    ]
    left, right, result = set(), set(), []
    for _, i, j in sorted(pairs):
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            result.append((i, j))
    return result


def field(n, rng):
    """1,000 points in 512 x 512 px; found 1 px off, a tenth missed, a tenth false."""
    side = 512 * np.sqrt(n / 1000)
    truth = rng.uniform(0, side, (n, 2))
    found = truth[rng.random(n) < 0.9] + rng.normal(0, 0.7, 2)
    return truth, np.concatenate([found, rng.uniform(0, side, (n // 10, 2))])


def milliseconds(run, truth, detected, limit=10**9):
    if len(truth) > limit:
        return "–"
    return f"{1000 * seconds(run, truth, detected):.1f}"


def main():
    machine()
    rng = np.random.default_rng(0)
    rows = []
    cases = [
        (f"field, {n:,}", *field(n, rng)) for n in (100, 1000, 3000, 100_000, 1_000_000)
    ]
    cases.append(("cluster, 5,000 in one cutoff", *rng.uniform(0, 2, (2, 5000, 2))))
    for name, truth, detected in cases:
        peers = [
            (scipy_dense, 5000),
            (lapx_dense, 5000 if lap else 0),
            (python_loop, 100_000),
        ]
        if "cluster" in name:
            peers[2] = (python_loop, 0)  # 25 million pairs in a list
        times = [milliseconds(blinkcore, truth, detected)]
        times += [milliseconds(f, truth, detected, limit) for f, limit in peers]
        rows.append([name, *times])
    print("Matching at 3 px, ms:\n")
    table(
        ["points", "blinkcore", "scipy, dense", "lapx, dense", "Python loop (greedy)"],
        rows,
    )
    truth, detected = field(100_000, rng)
    time = seconds(_core.count_matches, truth, detected, cutoffs=INTEGRAL_CUTOFFS)
    print(f"All 50 cutoffs of the F1 integral, 100,000 points: {1000 * time:.0f} ms\n")


if __name__ == "__main__":
    main()
