"""The paper's Table 1 on our presets: all trained on the same images for the same time.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive \\
        python benchmarks/table1.py FOLDER [--seconds 240] [--presets smfish,...] [--show]

For each preset of `blinkcore simulate`: 100 images of 256 x 256 px to train on, 20 to
validate, 60 to test, of seeds that no bundled model saw. Seconds and milliseconds are
of one core's work, so that two presets can run side by side. Results are kept in
FOLDER, a file for each row and preset; those that are there are not computed again.
Spotiflow and Piscis are left out where they are not installed.
"""

import argparse
import json
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from peers import Bundled, Detnet, Log, Ours, Piscis, Spotiflow, quiet, spent
from timing import machine, table

from blinkcore.datasets.dataset import of_scenes
from blinkcore.evaluation.scores import evaluate
from blinkcore.network.model import bundled_models
from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate

KINDS = ("smfish", "suntag", "particle", "microtubule", "receptor", "vesicle")
PARTS = {"train": 100, "valid": 20, "test": 60}
SEED = 246_813_579


def samples(kind, part, n):
    """Scenes of a preset, as labelled images."""
    code = [SEED, list(PRESETS).index(kind), list(PARTS).index(part)]
    scenes = [
        simulate((256, 256), np.random.default_rng([*code, i]), ranges=PRESETS[kind])
        for i in range(n)
    ]
    return of_scenes(scenes, (1, 0, 0), 0).samples


def detectors(kind):
    """Rows of the table, in order."""
    small = {"batch_size": 2, "crop": 128}
    paper, narrow = ({"filters": [n] * 3, "dropout": 0.0} for n in (64, 16))
    return [
        Log(),
        Bundled("general"),
        Bundled("precise"),
        *([Bundled(kind)] if kind in bundled_models() else []),
        Ours("deepblink, 16 filters", "deepblink", narrow, **small, learning_rate=4e-3),
        Ours("blink", "blink", {"filters": 16}),
        Ours("blink, from general", "blink", {"filters": 16},
             start="general", learning_rate=5e-4),
        Ours("deepblink", "deepblink", paper, **small, learning_rate=1e-3),
        *([Piscis()] if find_spec("piscis") else []),
        *([Spotiflow()] if find_spec("spotiflow") else []),
        Detnet(),
    ]  # fmt: skip


def run(detector, kind, seconds, folder):
    """Train and test one detector; scores of each image."""
    data = {part: samples(kind, part, n) for part, n in PARTS.items()}
    folder.mkdir(parents=True, exist_ok=True)
    started = spent()
    trained = detector.train(data["train"], data["valid"], seconds, folder)
    trained = spent() - started if trained is None else trained
    detector.find(data["test"][0].image)
    started = time.process_time()
    found = [detector.find(s.image) for s in data["test"]]
    each = (time.process_time() - started) / len(found)
    scores = [evaluate(s.points, f) for s, f in zip(data["test"], found, strict=True)]
    names = ("f1_integral", "f1", "rmse")
    return {
        "trained": trained,
        "milliseconds": 1000 * each,
        **{name: [getattr(s, name) for s in scores] for name in names},
    }


def mean(values):
    return float(np.nanmean(np.array(values, float)))


def behind(best, other):
    """95 % interval of how much less the second has, paired bootstrap over images."""
    difference = np.array(best) - np.array(other)
    draws = np.random.default_rng(0).integers(
        len(difference), size=(2000, len(difference))
    )
    return np.percentile(difference[draws].mean(axis=1), [2.5, 97.5])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--presets", default=",".join(KINDS))
    parser.add_argument("--show", action="store_true", help="run nothing")
    options = parser.parse_args()
    quiet()
    machine()
    kinds = options.presets.split(",")
    results = {}
    for row in zip(*map(detectors, kinds), strict=True):  # quick ones first
        for kind, detector in zip(kinds, row, strict=True):
            folder = options.folder / kind
            file = folder / f"{detector.name}.json"
            if not file.exists() and not options.show:
                result = run(detector, kind, options.seconds, folder)
                file.write_text(json.dumps(result))
                print(
                    kind,
                    detector.name,
                    f"{mean(result['f1_integral']):.3f}",
                    flush=True,
                )
            if not file.exists():
                continue
            result = json.loads(file.read_text())
            name = "preset (bundled)" if kind in detector.name else detector.name
            results[name, kind] = result
    show(results, kinds)


def show(results, kinds):
    rows = list(dict.fromkeys(row for row, _ in results))
    print(
        "\nF1 integral; bold: the best, and what is within the 95 % interval of it:\n"
    )
    best = {
        kind: max(
            (mean(r["f1_integral"]), row)
            for (row, k), r in results.items()
            if k == kind
        )[1]
        for kind in kinds
    }
    lines = []
    for row in rows:
        cells, all_ = [], []
        for kind in kinds:
            result = results.get((row, kind))
            if result is None:
                cells.append("–")
                continue
            value = mean(result["f1_integral"])
            all_.append(value)
            low, _ = behind(
                results[best[kind], kind]["f1_integral"], result["f1_integral"]
            )
            tied = row == best[kind] or low <= 0
            cells.append(f"**{value:.3f}**" if tied else f"{value:.3f}")
        lines.append(
            [row, *cells, f"{np.mean(all_):.3f}" if len(all_) == len(kinds) else "–"]
        )
    table(["detector", *kinds, "mean"], lines)
    print("F1 at 3 px / RMSE px / ms of one core an image / s of training:\n")
    lines = []
    for row in rows:
        cells = []
        for kind in kinds:
            r = results.get((row, kind))
            cells.append(
                "–"
                if r is None
                else f"{mean(r['f1']):.3f} / {mean(r['rmse']):.2f} / "
                f"{r['milliseconds']:.0f} / {r['trained']:.0f}"
            )
        lines.append([row, *cells])
    table(["detector", *kinds], lines)


if __name__ == "__main__":
    main()
