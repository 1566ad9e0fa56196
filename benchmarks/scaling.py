"""One plane of 1 to 900 megapixels as OME-Zarr: time and memory, with one process and with workers.

    python benchmarks/scaling.py [--peer PEERS/bin/python]

Each run is the command of a user in a process of its own, so its start (some seconds for
PyTorch) is in the total; the cost of a megapixel is the slope between neighbouring sizes, of
which the smallest is the start alone. Runs of one process are repeated, and the median counts,
because the start varies by more than a megapixel takes. The plane is tiled from simulated
scenes. The peer is U-FISH's prediction in chunks of 1,024 px.

    python benchmarks/scaling.py --movies

The cost of a megapixel in planes of each size, without the start and what the first plane
of a run costs besides: movies of some 100 megapixels against one of a single frame; of the
largest plane, against the smallest.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import zarr
from timing import machine, table

from blinkcore.simulation.scenes import simulate

SIDES = (64, 1_000, 3_000, 10_000, 30_000)  # px
MOVIES = ((1_000, 101), (3_000, 12), (10_000, 2))  # side in px, frames
LARGEST = 30_000  # px
REPEATS = {64: 7, 1_000: 7, 3_000: 7, 10_000: 3}
OTHERS_SIDE = 10_000  # px, the largest with workers
PEER_SIDE = 3_000  # px, the largest for the peer
PEER = """
import sys, time, numpy as np, zarr, ufish
from pathlib import Path
from ufish.api import UFish
detector = UFish(cuda=False)
detector.load_weights_from_path(
    Path(ufish.__file__).parent / "model/weights" / detector.default_weights_file)
pixels = zarr.open(sys.argv[1] + "/0", mode="r")
for y in range(0, pixels.shape[1], 1024):
    for x in range(0, pixels.shape[2], 1024):
        spots, _ = detector.predict(pixels[0, y:y + 1024, x:x + 1024])
"""


def write_plane(path, side, frames=1):
    """Write planes of scenes side by side, in chunks of 1,024 px."""
    scenes = [simulate((512, 512), np.random.default_rng(i)).image for i in range(16)]
    rows = [np.concatenate(scenes[i : i + 4], axis=1) for i in range(0, 16, 4)]
    block = np.concatenate(rows).clip(0, 60000).astype(np.uint16)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    array = group.create_array(
        "0", shape=(frames, side, side), chunks=(1, 1024, 1024), dtype="uint16"
    )
    wide = np.tile(block, (1, -(-side // 2048)))[:, :side]
    for top in range(0, side, 2048):
        for frame in range(frames):
            array[frame, top : top + 2048] = wide[: side - top]
    axes = [{"name": "t", "type": "time"}]
    axes += [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}],
    }


def measured(command):
    """Seconds, and the largest memory of all its processes together, MB."""
    started = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        peak = 0
        done = threading.Event()

        def watch():
            nonlocal peak
            while not done.wait(0.2):
                family = [process.pid]
                try:
                    root = psutil.Process(process.pid)
                    family = [root, *root.children(recursive=True)]
                    now = sum(p.memory_full_info().pss for p in family)
                except psutil.Error:
                    continue
                peak = max(peak, now)

        threading.Thread(target=watch, daemon=True).start()
        code = process.wait()
        done.set()
    if code:
        raise SystemExit(f"{command} failed with {code}")
    return time.perf_counter() - started, peak / 1e6


def cost_by_size(program, repeats=3):
    """Print the cost of a megapixel in planes of each size."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:

        def seconds(side, frames, repeats=repeats):
            path = Path(folder) / f"{side}_{frames}.zarr"
            write_plane(path, side, frames)
            words = [program, "predict", path, "-o", Path(folder) / "out"]
            runs = [measured([os.fspath(w) for w in words])[0] for _ in range(repeats)]
            return statistics.median(runs)

        for side, frames in MOVIES:
            one, all_ = seconds(side, 1), seconds(side, frames)
            cost = 1e3 * (all_ - one) / ((frames - 1) * side**2 / 1e6)
            how = f"frames 2 to {frames}" if frames > 2 else "frame 2"
            rows.append((f"{side**2 / 1e6:.0f}", how, f"{cost:.0f}"))
        first, last = seconds(64, 1), seconds(LARGEST, 1, repeats=1)
        cost = 1e3 * (last - first) / (LARGEST**2 / 1e6)
        rows.append((f"{LARGEST**2 / 1e6:.0f}", "all of it", f"{cost:.0f}"))
    table(("megapixels a plane", "what is timed", "ms a megapixel"), rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--movies", action="store_true", help="cost by size of plane")
    parser.add_argument("--peer", help="Python that has ufish and zarr")
    parser.add_argument("--alone", action="store_true", help="without workers")
    options = parser.parse_args()
    peer = options.peer
    machine()
    program = Path(sys.executable).with_name("blinkcore")
    if options.movies:
        cost_by_size(program)
        return
    kinds = {
        "one process": [],
        "1 worker": ["--scheduler", "1"],
        "2 workers": ["--scheduler", "2"],
    }
    if options.alone:
        kinds = {"one process": []}
    rows, last = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            path = Path(folder) / f"{side}.zarr"
            write_plane(path, side)
            commands = {
                name: [program, "predict", path, "-o", Path(folder) / name, *more]
                for name, more in kinds.items()
                if side <= OTHERS_SIDE or not more
            }
            if peer and side <= PEER_SIDE:
                commands["U-FISH, chunks"] = [peer, "-c", PEER, path]
            for name, command in commands.items():
                words = [os.fspath(word) for word in command]
                n = REPEATS.get(side, 1) if name == "one process" else 1
                runs = [measured(words) for _ in range(n)]
                seconds, memory = (
                    statistics.median(one) for one in zip(*runs, strict=True)
                )
                size = side**2 / 1e6
                cost = ""
                if name in last:
                    cost = f"{1e3 * (seconds - last[name][1]) / (size - last[name][0]):.0f}"
                last[name] = size, seconds
                rows.append(
                    (f"{size:.3g}", name, f"{seconds:.1f}", cost, f"{memory:.0f}")
                )
    header = ("megapixels", "how", "s", "ms a further megapixel", "MB at most")
    table(header, rows)


if __name__ == "__main__":
    main()
