"""Spots of simulated z-stacks: detections joined over z, beside peers in three dimensions.

    python benchmarks/objects.py [--peers PEERS/bin/python]

trackpy's `locate` searches the stack itself; its threshold `minmass` is the best of 30
for these very stacks, so its row is an upper limit. trackpy is not a dependency: pip
install trackpy. U-FISH combines the results of its network in the planes of the three
directions, Big-FISH filters in three dimensions and is given the width of the spots;
both run in a Python of their own, see `real_peers.py`.
"""

import argparse
import warnings

import numpy as np
from real import peer
from timing import machine, table

from blinkcore import predict
from blinkcore.evaluation.scores import match
from blinkcore.network.model import load_model
from blinkcore.simulation.stacks import scattered, simulate_stack

N_STACKS, N_SPOTS, SHAPE = 4, 60, (21, 192, 192)
CUTOFF = 2.0  # px and planes


def score(stacks, found, said=None):
    """Precision, recall, axial and lateral RMSE over the bound, stated over true error."""
    n = n_found = n_pairs = 0
    off, bound, stated = [], [], []
    for number, (stack, points) in enumerate(zip(stacks, found, strict=True)):
        pairs = match(stack.points, points, cutoff=CUTOFF)
        n, n_found, n_pairs = (
            n + len(stack.points),
            n_found + len(points),
            n_pairs + len(pairs),
        )
        off.append(points[pairs[:, 1]] - stack.points[pairs[:, 0]])
        bound.append(stack.cramer_rao[pairs[:, 0]])
        if said is not None:
            stated.append(said[number][pairs[:, 1]])
    off, bound = np.concatenate(off), np.concatenate(bound)
    if not len(off):
        return 0.0, 0.0, np.nan, np.nan, np.nan
    ratio = np.sqrt((off**2).mean(axis=0)) / np.sqrt((bound**2).mean(axis=0))
    return (
        n_pairs / max(1, n_found),
        n_pairs / n,
        ratio[0],
        np.sqrt((ratio[1:] ** 2).mean()),
        np.sqrt((np.concatenate(stated) ** 2).mean() / (off[:, 0] ** 2).mean())
        if stated
        else np.nan,
    )


def by_trackpy(stacks):
    import trackpy

    trackpy.quiet()
    best = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = [trackpy.locate(s.pixels, (7, 9, 9)) for s in stacks]
    for quantile in np.linspace(0, 0.999, 30):
        limit = np.quantile(np.concatenate([r["mass"] for r in raw]), quantile)
        found = [r.loc[r["mass"] > limit, ["z", "y", "x"]].to_numpy(float) for r in raw]
        scores = score(stacks, found)
        f1 = 2 * scores[0] * scores[1] / max(1e-9, scores[0] + scores[1])
        if best is None or f1 > best[0]:
            best = (f1, scores)
    return best[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", help="Python that has U-FISH and Big-FISH")
    python = parser.parse_args().peers
    machine()
    models = {name: load_model(name, amp=False) for name in ("general", "precise")}
    rows = []
    for peak in (30, 60, 120, 250, 1000):
        for sigma_z in (1.0, 2.5, 4.0):
            stacks = []
            for seed in range(N_STACKS):
                rng = np.random.default_rng([2026, seed])
                points = scattered(SHAPE, N_SPOTS, 12.0, rng)
                stacks.append(
                    simulate_stack(SHAPE, points, rng, peak=peak, sigma_z=sigma_z)
                )
            results = {}
            for name, m in models.items():
                spots = [predict(s.pixels, m, axes="ZYX") for s in stacks]
                places = [own[["z", "y", "x"]].to_numpy() for own in spots]
                said = [own["z_uncertainty"].to_numpy() for own in spots]
                results[name] = score(stacks, places, said)
            results["trackpy, best threshold"] = by_trackpy(stacks)
            for name, method in (("U-FISH", "ufish"), ("Big-FISH", "bigfish")):
                if python:
                    found = peer(python, method, f"{sigma_z},1.3,1.3")(
                        [s.pixels for s in stacks]
                    )
                    results[name] = score(stacks, [points[:, :3] for points in found])
            for name, (precision, recall, axial, lateral, stated) in results.items():
                rows.append((f"{peak / np.sqrt(peak + 100):.1f}", sigma_z, name, f"{precision:.3f}",
                             f"{recall:.3f}", f"{axial:.2f}", f"{lateral:.2f}",
                             "–" if np.isnan(stated) else f"{stated:.2f}"))  # fmt: skip
    table(
        ("SNR of the middle plane", "sigma z", "detector", "precision", "recall",
         "axial RMSE / bound", "lateral RMSE / bound", "stated / axial RMSE"),
        rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
