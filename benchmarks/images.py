"""How many labelled images are enough? Trained on 10 to 300 of them, equally long.

    python benchmarks/images.py FOLDER [--seconds 120] [--presets smfish,receptor]

`blink` from random weights and from `general`, on the images of `table1.py` and more of
their kind; a fifth as many images, at least 4, to validate on; tested on the test
images of `table1.py`. Results are kept in FOLDER, and those that are there are not
computed again.
"""

import argparse
import json
from pathlib import Path

from peers import Bundled, Ours, quiet
from table1 import PARTS, mean, samples
from timing import machine, table

from blinkcore.evaluation.scores import evaluate

COUNTS = (10, 30, 100, 300)


def detectors():
    return {
        "blink": Ours("blink", "blink", {"filters": 16}),
        "blink, from general": Ours(
            "from general", "blink", {"filters": 16}, start="general",
            learning_rate=5e-4,
        ),
    }  # fmt: skip


def f1_integrals(detector, kind):
    test = samples(kind, "test", PARTS["test"])
    return [evaluate(s.points, detector.find(s.image)).f1_integral for s in test]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--presets", default="smfish,receptor")
    options = parser.parse_args()
    quiet()
    machine()
    rows = []
    for kind in options.presets.split(","):
        folder = options.folder / kind
        folder.mkdir(parents=True, exist_ok=True)
        for name in detectors():
            cells = []
            for count in COUNTS:
                file = folder / f"{name}, {count}.json"
                if not file.exists():
                    detector = detectors()[name]
                    valid = samples(kind, "valid", max(4, count // 5))
                    train = samples(kind, "train", count)
                    detector.train(train, valid, options.seconds, folder)
                    file.write_text(json.dumps(f1_integrals(detector, kind)))
                cells.append(f"{mean(json.loads(file.read_text())):.3f}")
                print(kind, name, count, cells[-1], flush=True)
            rows.append([kind, name, *cells])
        known = mean(f1_integrals(Bundled("general"), kind))
        rows.append([kind, "general, as it is", f"{known:.3f}", "", "", ""])
    print(f"\nF1 integral after {options.seconds:g} s, by the number of images:\n")
    table(["preset", "detector", *map(str, COUNTS)], rows)


if __name__ == "__main__":
    main()
