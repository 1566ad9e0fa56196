"""Tracks of simulated movies, by the measures of the particle tracking challenge, beside trackpy.

    python benchmarks/tracking.py

Diffusing spots that appear, blink and vanish; linked from their true places and from
those that `general` finds. Both linkers get the same radius and gap. trackpy is not a
dependency: pip install trackpy.
"""

import warnings

import numpy as np
import pandas as pd
from timing import machine, table

from blinkcore import predict
from blinkcore.evaluation.tracks import score_tracks
from blinkcore.network.model import load_model
from blinkcore.simulation.stacks import simulate_stack
from blinkcore.tracking.link import LinkOptions, link

SIZE, N_FRAMES, RADIUS, GAP, MIN_SPOTS = 256, 50, 5.0, 2, 4


def movie(n, diffusion, seed):
    """True tracks, and the movie."""
    rng = np.random.default_rng([2026, seed, n])
    rows = []
    for number in range(n):
        first = int(rng.integers(0, N_FRAMES - 12))
        last = min(N_FRAMES, first + int(rng.integers(12, N_FRAMES)))
        place = rng.uniform(10, SIZE - 10, 2)
        for t in range(first, last):
            place = np.clip(
                place + rng.normal(0, np.sqrt(2 * diffusion), 2), 3, SIZE - 4
            )
            if rng.random() < 0.95:
                rows.append((number, t, *place))
    truth = pd.DataFrame(rows, columns=["track", "frame", "y", "x"])
    pixels = np.empty((N_FRAMES, SIZE, SIZE), np.uint16)
    for t in range(N_FRAMES):
        own = truth.loc[truth["frame"] == t, ["y", "x"]].to_numpy()
        points = np.column_stack([np.zeros(len(own)), own])
        pixels[t] = simulate_stack((1, SIZE, SIZE), points, rng, peak=120.0).pixels[0]
    return truth, pixels


def by_blinkcore(spots):
    linked = link(spots, LinkOptions(radius=RADIUS, gap=GAP)).spots
    return linked[linked.groupby("track")["track"].transform("size") >= MIN_SPOTS]


def by_trackpy(spots):
    import trackpy

    trackpy.quiet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        linked = trackpy.link(spots, RADIUS, memory=GAP)
    linked = linked.rename(columns={"particle": "track"})
    return linked[linked.groupby("track")["track"].transform("size") >= MIN_SPOTS]


def main():
    machine()
    model = load_model("general", amp=False)
    rows = []
    for n in (30, 100, 300):
        for diffusion in (0.2, 1.0):
            truth, pixels = movie(n, diffusion, 0)
            detected = predict(pixels, model, axes="TYX")[["frame", "y", "x"]]
            for source, spots in (
                ("true", truth.drop(columns="track")),
                ("general", detected),
            ):
                for name, linker in (
                    ("blinkcore link", by_blinkcore),
                    ("trackpy", by_trackpy),
                ):
                    try:
                        scores = score_tracks(truth, linker(spots.copy()))
                        values = [f"{v:.3f}" for v in scores]
                    except Exception as error:  # noqa: BLE001 (trackpy refuses dense movies)
                        values = [type(error).__name__, "", "", "", ""]
                    rows.append((n, diffusion, source, name, *values))
    table(
        ("tracks", "D (px²/frame)", "positions", "linker", "alpha", "beta", "JSC", "JSC of tracks",
         "RMSE px"),
        rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
