"""Are the crops of `blinkcore dataset suggest` better to label than random ones?

    python benchmarks/suggest.py FOLDER [EVERY]

A pool of 30 unlabelled images of 512 x 512 px, as a lab has them: most of them like
what `general` was trained on (beads), every fifth (or EVERY) of a kind on which it does
badly (the "bad kind": the wide spots of `finetune.py`). 8 crops of 128 x 128 px are
labelled, chosen by suggest (trained on three times) or at random (three choices, also
with as many spots as suggest's crops have); training goes on from `general` with them
for 600 steps, as `blinkcore train --from general` does. Scored on 20 images of the bad
kind, and on 20 of the other.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from finetune import WIDE
from timing import machine, table

from blinkcore.datasets.dataset import Dataset, Sample, inside, of_scenes
from blinkcore.datasets.suggest import suggest
from blinkcore.detection.predict import find_spots
from blinkcore.evaluation.scores import evaluate
from blinkcore.network.model import load_model
from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate
from blinkcore.training.recipe import TrainConfig
from blinkcore.training.train import train

SEED, SIDE, CROP, COUNT, STEPS = 777_000_111, 512, 128, 8, 600
KNOWN = PRESETS["particle"]


def scenes(part, n, side, kind):
    return [
        simulate((side, side), np.random.default_rng([SEED, part, i]), ranges=kind)
        for i in range(n)
    ]


def labelled(scene, top, left, name):
    """A crop with its true spots."""
    pixels = scene.image[top : top + CROP, left : left + CROP]
    points = scene.points - [top, left]
    kept = points[inside(points, pixels.shape)]
    return Sample(pixels, kept, "train", name, name)


def random_crop(pool, rng, k):
    number = int(rng.integers(len(pool)))
    top, left = rng.integers(SIDE - CROP, size=2)
    return labelled(pool[number], top, left, f"{number}-{k}")


def trained(samples, valid, folder, seed):
    data = folder / "data.npz"
    Dataset((*samples, *(replace(s, part="valid") for s in valid))).save(data)
    config = TrainConfig(
        arguments={"filters": 16}, start="general", data=str(data),
        steps=STEPS, crop=CROP, learning_rate=5e-4, validate_every=STEPS // 3, seed=seed,
    )  # fmt: skip
    train(config, folder / "m.pt", workers=0)
    return load_model(folder / "m.pt", device="cpu")


def f1_integral(model, test):
    threshold = model.metadata.threshold
    return float(
        np.mean(
            [
                evaluate(
                    s.points, find_spots(s.image, model, threshold=threshold)[:, :2]
                ).f1_integral
                for s in test
            ]
        )
    )


def main():
    machine()
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    general = load_model("general", device="cpu")
    every = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    kinds = [WIDE if i % every == 0 else KNOWN for i in range(30)]
    pool = [scenes(i, 1, SIDE, kind)[0] for i, kind in enumerate(kinds)]
    paths = [folder / f"image{i:02d}.tif" for i in range(len(pool))]
    for path, scene in zip(paths, pool, strict=True):
        tifffile.imwrite(path, scene.image)
    valid = [s for k, kind in enumerate((WIDE, KNOWN))
             for s in of_scenes(scenes(100 + k, 3, 256, kind), (1, 0, 0), k).samples]  # fmt: skip
    valid = [replace(s, name=f"{i}", source=f"{i}") for i, s in enumerate(valid)]
    tests = [scenes(200, 20, 256, WIDE), scenes(201, 20, 256, KNOWN)]

    def row(name, samples, model):
        wide = sum(int(s.name.split("-")[0]) % every == 0 for s in samples)
        return [
            name, wide, sum(len(s.points) for s in samples),
            *(f"{f1_integral(model, test):.3f}" for test in tests),
        ]  # fmt: skip

    rows = [row("general, as it is", [], general)]
    chosen = suggest(paths, general, count=COUNT, crop=CROP)
    samples = []
    for crop in chosen:
        number = int(crop.path.stem.removeprefix("image"))
        top, left = (int(p[1:]) for p in crop.name.split("-")[-2:])
        samples.append(labelled(pool[number], top, left, f"{number}-{crop.name}"))
    for seed in range(3):
        model = trained(samples, valid, folder, seed)
        rows.append(row(f"suggest, {seed}", samples, model))
    n_spots = sum(len(sample.points) for sample in samples)
    for seed in range(3):
        rng = np.random.default_rng([SEED, 999, seed])
        by_chance = [random_crop(pool, rng, k) for k in range(10 * COUNT)]
        total = np.cumsum([len(sample.points) for sample in by_chance])
        # As many crops as suggest chose, and as many spots as its crops have.
        for n in sorted({COUNT, int(np.searchsorted(total, n_spots)) + 1}):
            model = trained(by_chance[:n], valid, folder, seed)
            rows.append(row(f"random, {seed}: {n} crops", by_chance[:n], model))
    print(f"F1 integral; every {every}th image of the bad kind:\n")
    header = ["labelled", "of the bad kind", "spots", "bad kind", "other kind"]
    table(header, rows)


if __name__ == "__main__":
    main()
