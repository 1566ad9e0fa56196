"""Thousands of images in one run: time for each, memory and open files must stay flat.

    python benchmarks/soak.py [--images 5000]

Each image is a scene of the preset smfish of 256 x 256 px, moved a little. The program
runs as a user starts it, one table for each image; its memory (resident), its time on the
processor and its open files are read from outside, after each tenth of the images. The
median time between two results is not changed by what else happens on the computer now
and then.
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
    header = ["images", "ms an image, median", "mean", "processor", "memory, MiB"]
    table([*header, "open files"], rows)
    print(f"exit code {process.returncode}, {written} tables of {n}")


def watched(process, n):
    """Time, memory and open files after each part of the images."""
    about, rows, done = psutil.Process(process.pid), [], 0
    started, times = None, []
    for line in process.stderr:
        event = json.loads(line)
        if event.get("event") != "result":
            continue
        done += 1
        times.append(time.perf_counter())
        if started is None:  # the first one loads the model
            started, first, used = times[-1], done, used_by(about)
        is_part = done % max(1, n // PARTS) == 0 and done > first
        if is_part and process.poll() is None:
            now, n_new, cpu = times[-1], done - first, used_by(about)
            each = 1000 * np.median(np.diff(times[-n_new:]))
            costs = (each, 1000 * (now - started) / n_new, 1000 * (cpu - used) / n_new)
            memory = about.memory_info().rss / 2**20
            rows.append(
                [done, *(f"{c:.1f}" for c in costs), f"{memory:.0f}", about.num_fds()]
            )
            started, first, used = now, done, cpu
    return rows


def used_by(process):
    """Seconds on the processor, of all threads."""
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
