"""What half precision changes in prediction: time, scores, probabilities, positions.

    python benchmarks/precision.py [MODEL]

For a CPU that is faster in bfloat16; elsewhere both columns are the same. Scenes are
those of `accuracy.py` with other seeds, at the model's threshold. The last columns give
what tiles change, on wider scenes: a tile is read with a margin, of 224 px for
`precise`.
"""

import sys

import accuracy
import numpy as np
from timing import machine, seconds, table

from blinkcore import load_model
from blinkcore.detection.predict import TILE, find_spots
from blinkcore.evaluation.scores import match

N, SEED = 4, 20_261_126
WIDE, SMALL_TILE = 768, 128  # px


def spots_of(model, image, tile=TILE):
    return find_spots(image, model, threshold=model.metadata.threshold, tile=tile)


def differences(ones, others):
    """RMS of differences of matched spots, and how many spots only one has."""
    probabilities, positions, alone = [], [], 0
    for one, other in zip(ones, others, strict=True):
        i, j = match(one[:, :2], other[:, :2], cutoff=0.5).T
        probabilities.append(one[i, 2] - other[j, 2])
        positions.append((one[i, :2] - other[j, :2]).ravel())
        alone += len(one) + len(other) - 2 * len(i)
    n = sum(map(len, ones))
    return [
        f"{np.std(np.concatenate(probabilities)):.4f}",
        f"{np.std(np.concatenate(positions)):.4f}",
        f"{alone} of {n}",
    ]


def main():
    machine()
    name = sys.argv[1] if len(sys.argv) > 1 else "general"
    half, single = (load_model(name, device="cpu", amp=amp) for amp in (True, False))
    image = np.random.default_rng(0).poisson(100, (512, 512)).astype(np.uint16)
    times = [1000 * seconds(spots_of, model, image) for model in (single, half)]
    for model, time in zip((single, half), times, strict=True):
        print(f"512 x 512 in {model.precision}: {time:.1f} ms\n")
    accuracy.SEED = SEED
    side = accuracy.SIDE
    rows = []
    for background in accuracy.BACKGROUNDS:
        scenes = [
            scene
            for snr in accuracy.SNRS
            for density in accuracy.DENSITIES.values()
            for scene in accuracy.scenes(snr, density, background, 1, N)
        ]
        ones, halves = ([spots_of(m, s.image) for s in scenes] for m in (single, half))
        accuracy.SIDE = WIDE
        wide = accuracy.scenes(4, accuracy.DENSITIES["mid"], background, 1, N)
        accuracy.SIDE = side
        whole = [spots_of(half, s.image) for s in wide]
        tiled = [spots_of(half, s.image, tile=SMALL_TILE) for s in wide]
        cells = []
        for found in (ones, halves):
            places = [spots[:, :2] for spots in found]
            cells.append(f"{accuracy.scores_of(scenes, places)[0].mean():.4f}")
        cells += differences(ones, halves) + differences(whole, tiled)
        rows.append([background, *cells])
    table(
        ["background", f"F1 integral, {single.precision}", half.precision,
         "probability, RMS", "position, px", "in one only",
         f"tiles of {SMALL_TILE} px: probability", "position, px", "in one only"], rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
