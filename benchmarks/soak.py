"""Thousands of images in one run: time for each, memory and open files must stay flat.

    python benchmarks/soak.py [--images 5000]

Each image is a scene of the preset smfish of 256 x 256 px, moved a little. The program
runs as a user starts it, one table for each image; its memory (resident) and open files
are read from outside, after each tenth of the images.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile
from timing import machine, table

from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate

PARTS = 10


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=5000)
    n = parser.parse_args().images
    machine()
    rng = np.random.default_rng(0)
    scene = simulate((256, 256), rng, ranges=PRESETS["smfish"]).image
    with tempfile.TemporaryDirectory() as folder:
        images, out = Path(folder) / "in", Path(folder) / "out"
        images.mkdir()
        for i in range(n):
            tifffile.imwrite(images / f"{i:05d}.tif", np.roll(scene, i, axis=(0, 1)))
        command = [sys.executable, "-m", "blinkcore", "predict", images, "-o", out]
        with subprocess.Popen(
            [*map(str, command), "--progress", "json"],
            stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            rows = watched(process, n)
        written = len(list(out.glob("[0-9]*.csv")))
    table(["images", "ms an image", "memory, MiB", "open files"], rows)
    print(f"exit code {process.returncode}, {written} tables of {n}")


def watched(process, n):
    """Time, memory and open files after each part of the images."""
    about, rows, done = psutil.Process(process.pid), [], 0
    started = None
    for line in process.stderr:
        event = json.loads(line)
        if event.get("event") != "result":
            continue
        done += 1
        if started is None:  # the first one loads the model
            started, first = time.perf_counter(), done
        if done % max(1, n // PARTS) == 0 and done > first:
            now = time.perf_counter()
            each = 1000 * (now - started) / (done - first)
            memory = about.memory_info().rss / 2**20 if process.poll() is None else 0
            files = about.num_fds() if process.poll() is None else 0
            rows.append([done, f"{each:.1f}", f"{memory:.0f}", files])
            started, first = now, done
    return rows


if __name__ == "__main__":
    main()
