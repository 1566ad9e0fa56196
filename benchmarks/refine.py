"""Does a Gaussian fit after the network help? With and without it, on the same scenes.

    python benchmarks/refine.py

Isolated spots of `accuracy.py`; scenes of the training's ranges with other seeds; the
test scenes of `table1.py`, found by `general` and by the model of each preset.
"""

import numpy as np
from accuracy import isolated_scenes
from table1 import KINDS, PARTS, samples
from timing import machine, table

from blinkcore import load_model
from blinkcore.detection.predict import find_spots
from blinkcore.evaluation.scores import evaluate, match
from blinkcore.simulation.scenes import simulate

SEED = 135_792_468


def row(name, scenes, model):
    threshold = model.metadata.threshold
    pairs = []
    for s in scenes:
        both = [
            find_spots(s.image, model, threshold=threshold, refine=r)
            for r in (False, True)
        ]
        pairs.append((s.points, *both))
    integral = [
        np.mean(
            [evaluate(truth, spots[k][:, :2]).f1_integral for truth, *spots in pairs]
        )
        for k in (0, 1)
    ]
    errors, said = [], []
    total = 0
    for truth, before, after in pairs:
        # The height, and with it the probability, is measured at the refined position, so
        # that a spot near the threshold may be in one of the two only.
        i, j = match(before[:, :2], after[:, :2], cutoff=0.5).T
        before, after = before[i], after[j]
        i, j = match(truth, before[:, :2], cutoff=3.0).T
        total += len(i)
        moved = (before[j, :2] != after[j, :2]).any(axis=1)
        i, j = i[moved], j[moved]
        errors.append(np.stack([before[j, :2] - truth[i], after[j, :2] - truth[i]]))
        said.append(np.stack([before[j, 3], after[j, 3]]))
    rms = [f"{np.sqrt((e**2).mean()):.3f}" for e in np.concatenate(errors, axis=1)]
    expected = [f"{np.sqrt((e**2).mean()):.3f}" for e in np.concatenate(said, axis=1)]
    share = sum(e.shape[1] for e in errors) / total
    return [
        name, model.name, total, f"{share:.0%}", *rms, *expected,
        *(f"{value:.4f}" for value in integral),
    ]  # fmt: skip


def main():
    machine()
    general = load_model("general", device="cpu")
    sets = {
        f"isolated, SNR {snr}": isolated_scenes(snr)[0] for snr in (4, 7, 12, 20)
    } | {
        "general": [simulate((256, 256), np.random.default_rng([SEED, i])) for i in range(200)]
    }  # fmt: skip
    rows = [row(name, scenes, general) for name, scenes in sets.items()]
    for kind in KINDS:
        test = samples(kind, "test", PARTS["test"])
        models = (general, load_model(kind, device="cpu"))
        rows += [row(kind, test, model) for model in models]
    header = ["scenes", "model", "matched", "refined", "RMSE before", "after",
              "predicted error before", "after", "F1 integral before", "after"]  # fmt: skip
    table(header, rows)


if __name__ == "__main__":
    main()
