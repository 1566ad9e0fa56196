"""Does fine-tuning on twenty labelled crops of one real kind help on another part of it?

    python benchmarks/finetune_real.py FOLDER DATA [MODEL]

DATA holds `iss_expert.tif` and `iss_expert.csv` (in-situ sequencing, marked by an expert). Its left half is cut
into twenty crops, sixteen to train on and four to validate; the right half is for the test alone. The commands are those
that a user would run.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from timing import machine, table

from blinkcore import evaluate, predict
from blinkcore.network.model import load_model

SIDE = 256
STEPS = 600


def crops(pixels, points, folder):
    """Write twenty crops of the left half, spread over it, with their labels."""
    height, width = pixels.shape
    half = width // 2
    tops = np.linspace(0, height - SIDE, 5).astype(int)
    lefts = np.linspace(0, half - SIDE, 4).astype(int)
    for number, (top, left) in enumerate((t, x) for t in tops for x in lefts):
        inside = ((points >= (top, left)) & (points < (top + SIDE, left + SIDE))).all(
            axis=1
        )
        tifffile.imwrite(
            folder / f"{number:02d}.tif", pixels[top : top + SIDE, left : left + SIDE],
            photometric="minisblack",
        )  # fmt: skip
        own = pd.DataFrame(points[inside] - (top, left), columns=["y", "x"])
        own.to_csv(folder / f"{number:02d}.csv", index=False)


def main():
    machine()
    folder, data = Path(sys.argv[1]), Path(sys.argv[2])
    start = sys.argv[3] if len(sys.argv) > 3 else "general"
    folder.mkdir(parents=True)
    pixels = tifffile.imread(data / "iss_expert.tif")
    points = pd.read_csv(data / "iss_expert.csv")[["y", "x"]].to_numpy()
    crops(pixels, points, folder)
    half = pixels.shape[1] // 2
    right, truth = pixels[:, half:], points[points[:, 1] >= half] - (0, half)

    def run(*words):
        subprocess.run(
            [sys.executable, "-m", "blinkcore", *words], cwd=folder, check=True
        )

    run("dataset", "create", ".", ".", "-o", "d.npz", "--split", "0.8/0.2/0")
    started = time.perf_counter()
    run("train", "--data", "d.npz", "--from", start, "--steps", str(STEPS), "--validate-every", "100",
        "--simulated", "0.3", "--seed", "1", "-o", "tuned.pt")  # fmt: skip
    took = time.perf_counter() - started
    rows = []
    for name in (start, folder / "tuned.pt"):
        spots = predict(right, load_model(name, amp=False))[["y", "x"]].to_numpy()
        scores = evaluate(truth, spots)
        rows.append((Path(name).stem, len(spots), *(f"{v:.3f}" for v in (
            scores.f1, scores.precision, scores.recall, scores.f1_integral))))  # fmt: skip
    table(
        ("model", f"found ({len(truth)} marked)", "F1 at 3 px", "precision", "recall", "F1 integral"),
        rows,
    )  # fmt: skip
    print(f"{STEPS} steps took {took:.0f} s")


if __name__ == "__main__":
    main()
