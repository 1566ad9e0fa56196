"""Does fine-tuning on 20 labelled images help where no bundled model was trained?

    python benchmarks/finetune.py FOLDER [MODEL]

Makes scenes of such a kind (spots of sigma 3.2 to 4 px on haze, wider than in any
training), with 20 images to train on, 5 to validate, 40 to test, all labelled; runs
the commands that a user would, and prints how long the training took and both scores.
"""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from timing import machine

from blinkcore.datasets.dataset import Dataset, of_scenes
from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate

SEED = 555_000_111
WIDE = replace(
    PRESETS["particle"], sigma=(3.2, 4.0), density=(3e-4, 1.5e-3), p_haze=0.5
)


def main():
    machine()
    folder = Path(sys.argv[1])
    model = sys.argv[2] if len(sys.argv) > 2 else "general"
    folder.mkdir(parents=True, exist_ok=True)
    samples = ()
    for part, (n, split) in enumerate(
        ((20, (1, 0, 0)), (5, (0, 1, 0)), (40, (0, 0, 1)))
    ):
        scenes = [
            simulate((256, 256), np.random.default_rng([SEED, part, i]), ranges=WIDE)
            for i in range(n)
        ]
        samples += tuple(
            replace(s, name=f"{part}-{s.name}", source=f"{part}-{s.name}")
            for s in of_scenes(scenes, split, 0).samples
        )
    Dataset(samples).save(folder / "wide.npz")

    def blinkcore(*words):
        print("blinkcore", *words, flush=True)
        subprocess.run(
            [sys.executable, "-m", "blinkcore", *words], check=True, cwd=folder
        )

    started = time.monotonic()
    blinkcore(
        "train", "--data", "wide.npz", "--from", model, "-o", "wide.pt", "--steps",
        "2000",
    )  # fmt: skip
    print(f"\n{(time.monotonic() - started) / 60:.1f} min\n", flush=True)
    blinkcore("evaluate", "wide.npz", "wide.pt", model, "-o", "scores")


if __name__ == "__main__":
    main()
