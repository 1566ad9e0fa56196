"""Scores on real images: labelled, spot-free, and spot-free with implanted spots.

    python benchmarks/real.py FOLDER [--models general,precise] [--peers PYTHON]
        [--left-out FOLDER] [--pictures FOLDER]

FOLDER is laid out like this:

    labelled/NAME.tif, NAME.csv   images with the spots that people marked (columns y, x; px);
                                  of more than four, those are scored together whose names
                                  are the same up to the first `_`
    backgrounds/*.tif             planes without spots

1. Labelled images: F1 at 3 px, precision and recall of each detector with its defaults,
   and the best F1 over its thresholds, which cannot be chosen without the labels.
2. Spot-free planes: spots per megapixel over all, of the median and of the worst plane.
3. Implanted spots: Gaussians of 0.9 to 2.2 px, of one width an image, each of a contrast to
   noise (see `blinkcore.simulation.contrast`) of 4, 6, 8 or 12, 400 a megapixel and at least
   four widths apart, with shot noise by the plane's own gain, twice on every plane; exact
   truth. The Cramér-Rao bound of the position (for a known width) is given twice: with the
   background known, so that pixel noise alone disturbs, and with the structure around the
   spot as noise of its own spectrum.

The peers, which run in a Python of their own (see `benchmarks/real_peers.py`): U-FISH
with the weights of its wheel, and Big-FISH with its automatic threshold, both with
their default options. LoG has Otsu's threshold on the square root of its responses, or,
tuned, the width and threshold that are best on the image's own labels.

With --left-out, FOLDER holds without_SOURCE.pt: models of the same recipe, trained
without the planes whose names begin with SOURCE_; in that row each plane is searched
with the model that has not seen it.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import PIL.ImageDraw
import tifffile
from implanted import CONTRASTS, implanted
from log_detector import log_maxima
from timing import machine, table

from blinkcore import load_model, predict
from blinkcore.evaluation.scores import evaluate, match
from blinkcore.network.population import otsu_threshold

DRAWS = 2
SEED = 20_261_127


# Detectors: images to spots (n, 3), y, x and a quality that grows with certainty.


def ours(model):
    def find(images):
        names = ["y", "x", "probability"]
        return [predict(image, model)[names].to_numpy() for image in images]

    return find


def our_candidates(model):
    """Find doubtful spots too, for the best F1 over thresholds."""

    def find(images):
        names = ["y", "x", "probability"]
        return [
            predict(image, model, threshold=0.02)[names].to_numpy() for image in images
        ]

    return find


def log_automatic(images):
    """LoG of one width, 1.3 px, cut where Otsu's rule divides its maxima in two."""
    found = []
    for image in images:
        spots = log_maxima(image, 1.3)
        if len(spots) > 1:
            root, _ = otsu_threshold(np.sqrt(spots[:, 2]))
            spots = spots[spots[:, 2] > root**2]
        found.append(spots)
    return found


def peer(python, method, *widths):
    """Run a peer in its own Python; see `real_peers.py`."""

    def find(images):
        with tempfile.TemporaryDirectory() as folder:
            given, found = Path(folder) / "in.npz", Path(folder) / "out.npz"
            np.savez(given, **{f"image_{i}": image for i, image in enumerate(images)})
            script = Path(__file__).with_name("real_peers.py")
            command = [python, script, method, given, found, *widths]
            subprocess.run(command, check=True)
            with np.load(found) as spots:
                result = [spots[f"spots_{i}"] for i in range(len(images))]
        return [np.column_stack([s, np.ones(len(s))]) for s in result]

    return find


# 1. Labelled images.


def labelled(folder):
    for path in sorted((folder / "labelled").glob("*.tif")):
        points = pd.read_csv(path.with_suffix(".csv"))[["y", "x"]].to_numpy()
        yield path.stem, tifffile.imread(path), points


def best_f1(truth, spots):
    """Largest F1 at 3 px over the thresholds of a quality."""
    order = np.argsort(-spots[:, 2])
    counts = np.unique(np.geomspace(1, max(len(order), 1), 60).astype(int))
    counts = counts[counts <= len(order)]
    return max((evaluate(truth, spots[order[:n], :2]).f1 for n in counts), default=0.0)


def tuned_log(truth, image):
    """Best F1 of LoG over widths and thresholds."""
    return max(
        best_f1(truth, log_maxima(image, sigma)) for sigma in (0.8, 1.0, 1.3, 1.7, 2.2)
    )


def labelled_table(folder, detectors, candidates, pictures):
    sets = list(labelled(folder))
    names = groups([name for name, _, _ in sets])
    images = [image for _, image, _ in sets]
    rows = []
    for detector, find in detectors.items():
        found = find(images)
        doubtful = candidates[detector](images) if detector in candidates else None
        cells = []
        for group in dict.fromkeys(names):
            own = [i for i, name in enumerate(names) if name == group]
            scores = [evaluate(sets[i][2], found[i][:, :2]) for i in own]
            n_true = sum(len(sets[i][2]) for i in own)
            n_found = sum(s.n_detected for s in scores)
            hits = sum(
                round(s.recall * len(sets[i][2]))
                for s, i in zip(scores, own, strict=True)
            )
            best = "–"
            if doubtful is not None:
                best = f"{np.mean([best_f1(sets[i][2], doubtful[i]) for i in own]):.3f}"
            cells += [
                n_found, f"{2 * hits / max(n_found + n_true, 1):.3f}",
                f"{hits / max(n_found, 1):.3f}", f"{hits / n_true:.3f}", best
            ]  # fmt: skip
        if pictures is not None:
            for (name, image, truth), spots in zip(sets, found, strict=True):
                draw(image, truth, spots[:, :2], pictures / f"{name}-{detector}.png")
        rows.append([detector, *cells])
    tuned = [tuned_log(truth, image) for _, image, truth in sets]
    cells, header = [], ["detector"]
    for group in dict.fromkeys(names):
        own = [i for i, name in enumerate(names) if name == group]
        cells += ["–"] * 4 + [f"{np.mean([tuned[i] for i in own]):.3f}"]
        n_true = sum(len(sets[i][2]) for i in own)
        header += [
            f"{group} ({n_true}): found", "F1", "precision", "recall", "best F1"
        ]  # fmt: skip
    rows.append(["LoG, tuned on these labels", *cells])
    print(
        "Labelled images, F1 at 3 px (of several images: all spots together; the mean"
    )
    print("of the best F1 of each):\n")
    table(header, rows)


def groups(names):
    """Return the group of each image: its name, or of many images what is before a `_`."""
    return names if len(names) <= 4 else [name.split("_")[0] for name in names]


def draw(image, truth, spots, path):
    """Picture of hits (green), misses (blue) and false spots (red)."""
    low, high = np.percentile(image, [1, 99.8])
    grey = np.clip((image - low) / max(high - low, 1e-9), 0, 1) * 200
    picture = PIL.Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    picture = picture.resize((2 * picture.width, 2 * picture.height))
    pen = PIL.ImageDraw.Draw(picture)
    pairs = match(truth, spots, cutoff=3.0)
    hit = np.zeros(len(spots), bool)
    hit[pairs[:, 1]] = True
    missed = np.ones(len(truth), bool)
    missed[pairs[:, 0]] = False
    marks = [(spots[hit], "lime"), (spots[~hit], "red"), (truth[missed], "deepskyblue")]
    for places, color in marks:
        for y, x in 2 * places + 0.5:
            pen.ellipse([x - 9, y - 9, x + 9, y + 9], outline=color)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


# 2. Spot-free planes.


def backgrounds(folder):
    paths = sorted((folder / "backgrounds").glob("*.tif"))
    return [path.stem for path in paths], [tifffile.imread(path) for path in paths]


def spot_free_table(names, planes, detectors):
    rows = []
    area = np.array([plane.size / 1e6 for plane in planes])
    for name, find in detectors.items():
        counts = np.array([len(spots) for spots in find(planes)])
        each = counts / area
        worst = int(np.argmax(each))
        rows.append(
            [name, f"{counts.sum() / area.sum():.0f}", f"{np.median(each):.0f}",
             f"{each[worst]:.0f} ({names[worst]})"]
        )  # fmt: skip
    print(f"Spots per megapixel on {len(planes)} planes without spots:\n")
    table(["detector", "all", "median plane", "worst plane"], rows)


# 3. Implanted spots.


def implanted_table(planes, detectors):
    cases = [
        implanted(plane, np.random.default_rng([SEED, draw, i]))
        for draw in range(DRAWS)
        for i, plane in enumerate(planes)
    ]
    rows = []
    for name, find in detectors.items():
        found = [
            spots
            for draw in range(DRAWS)
            for spots in find(
                [c.image for c in cases[draw * len(planes) : (draw + 1) * len(planes)]]
            )
        ]
        rows.append([name, *implanted_scores(cases, found)])
    header = ["detector", "F1 integral", "F1", "recall", "precision", "RMSE px",
              "RMSE / bound, background known", "RMSE / bound, structure as noise"]  # fmt: skip
    header += [f"recall at {ratio}" for ratio in CONTRASTS]
    n = sum(len(c.points) for c in cases)
    print(f"{n} implanted spots; F1, recall and precision over all of them:\n")
    table(header, rows)


def implanted_scores(cases, found):
    integrals, hits, squares, known, structured = [], [], [], [], []
    n_found = 0
    for case, spots in zip(cases, found, strict=True):
        integrals.append(evaluate(case.points, spots[:, :2]).f1_integral)
        truth, detected = match(case.points, spots[:, :2], cutoff=3.0).T
        is_hit = np.zeros(len(case.points), bool)
        is_hit[truth] = True
        hits.append(is_hit)
        n_found += len(spots)
        difference = case.points[truth] - spots[detected, :2]
        squares += list((difference**2).sum(axis=1))
        known += list(2 * case.bound_noise[truth] ** 2)
        structured += list(2 * case.bound_structure[truth] ** 2)
    hit = np.concatenate(hits)
    ratios = np.concatenate([case.ratios for case in cases])
    rmse = np.sqrt(np.mean(squares))
    return [
        f"{np.mean(integrals):.3f}", f"{2 * hit.sum() / max(len(hit) + n_found, 1):.3f}",
        f"{hit.mean():.3f}", f"{hit.sum() / max(n_found, 1):.3f}", f"{rmse:.2f}",
        f"{rmse / np.sqrt(np.mean(known)):.2f} x",
        f"{rmse / np.sqrt(np.mean(structured)):.2f} x",
        *(f"{hit[ratios == ratio].mean():.3f}" for ratio in CONTRASTS),
    ]  # fmt: skip


def left_out(folder, names):
    """Each plane through the model that was trained without its source."""
    models = {
        path.stem.removeprefix("without_"): load_model(path, device="cpu")
        for path in sorted(folder.glob("without_*.pt"))
    }
    chosen = [models[name.split("_")[0]] for name in names]

    def find(images):
        return [
            ours(model)([image])[0] for model, image in zip(chosen, images, strict=True)
        ]

    return find


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default="general,precise")
    parser.add_argument("--peers", help="Python that has U-FISH and Big-FISH")
    parser.add_argument("--left-out", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--parts", default="labelled,spot-free,implanted")
    options = parser.parse_args()
    machine()
    models = {
        Path(name).stem: load_model(name, device="cpu")
        for name in options.models.split(",")
        if name
    }
    detectors = {name: ours(model) for name, model in models.items()}
    candidates = {name: our_candidates(model) for name, model in models.items()}
    detectors["LoG, Otsu's threshold"] = candidates["LoG, Otsu's threshold"] = (
        log_automatic
    )
    if options.peers:
        detectors["U-FISH"] = peer(options.peers, "ufish")
        detectors["Big-FISH"] = peer(options.peers, "bigfish")
    names, planes = backgrounds(options.folder)
    if "labelled" in options.parts:
        labelled_table(options.folder, detectors, candidates, options.pictures)
    if options.left_out:
        without = left_out(options.left_out, names)
        detectors = {"general, source left out": without, **detectors}
    if "spot-free" in options.parts:
        spot_free_table(names, planes, detectors)
    if "implanted" in options.parts:
        implanted_table(planes, detectors)


if __name__ == "__main__":
    main()
