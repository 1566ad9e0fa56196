"""A long movie of stacks: memory, time, and an interruption halfway.

    python benchmarks/movie.py [--frames 200] [--folder FOLDER]

200 frames of 2 channels of 30 slices of 512 x 512 px (6.3 GB in FOLDER), 80 spots that
diffuse. The movie is searched by the installed program; then again into another folder,
with SIGTERM when half of the planes are done, and a second time with `--skip-existing`.
The tables must be identical byte for byte. Memory is that of the process without the
pages of the file that the system keeps.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile
from timing import machine, table

SIDE, CHANNELS, SLICES, SPOTS, REACH = 512, 2, 30, 80, 6


def planes(n_frames):
    """Draw the planes in the order of the file: frames, slices, channels."""
    rng = np.random.default_rng(5)
    y, x = rng.uniform(10, SIDE - 10, (2, SPOTS))
    z, channel = rng.uniform(2, SLICES - 3, SPOTS), rng.integers(0, CHANNELS, SPOTS)
    noise = [rng.poisson(120, (SIDE, SIDE)).astype(np.float32) for _ in range(40)]
    near = np.arange(-REACH, REACH + 1)
    for _ in range(n_frames):
        y, x = (
            np.clip(v + rng.normal(0, 0.6, SPOTS), REACH, SIDE - REACH - 1)
            for v in (y, x)
        )
        for at in range(SLICES):
            for c in range(CHANNELS):
                plane = np.roll(
                    noise[rng.integers(40)], rng.integers(SIDE, size=2), (0, 1)
                )
                for i in np.flatnonzero((channel == c) & (abs(z - at) < 4)):
                    top, left = int(y[i]), int(x[i])
                    rows, cols = (
                        np.exp(-0.5 * ((near + place - centre) / 1.3) ** 2)
                        for place, centre in ((top, y[i]), (left, x[i]))
                    )
                    peak = 260 * np.exp(-0.5 * ((z[i] - at) / 1.2) ** 2)
                    plane[
                        top - REACH : top + REACH + 1, left - REACH : left + REACH + 1
                    ] += peak * np.outer(rows, cols)
                yield plane.astype(np.uint16)


def run(folder, output, *more, until=1.0):
    """Search the movie; give the seconds, the peak of the memory in MB, the exit code."""
    command = [sys.executable, "-m", "blinkcore", "predict", "movie.ome.tif",
               "-o", output, "--progress", "json", *more]  # fmt: skip
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    watched = psutil.Process(process.pid)
    for line in process.stderr:
        memory = watched.memory_info()
        peak = max(peak, memory.rss - memory.shared)
        event = json.loads(line)
        is_plane = until < 1 and event["event"] == "plane"
        if is_plane and event["done"] >= until * event["total"]:
            process.send_signal(signal.SIGTERM)
            until = 1.0
    code = process.wait()
    return time.perf_counter() - started, peak / 1e6, code


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    machine()
    shape = (options.frames, SLICES, CHANNELS, SIDE, SIDE)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        tifffile.imwrite(
            folder / "movie.ome.tif", planes(options.frames), shape=shape, dtype="uint16",
            bigtiff=True, ome=True, metadata={"axes": "TZCYX"},
        )  # fmt: skip
        rows = [
            [label, f"{seconds:.0f}", f"{memory:.0f}", code]
            for label, (seconds, memory, code) in (
                ("all of it", run(folder, "whole")),
                ("interrupted at half", run(folder, "parts", until=0.5)),
                ("the other half", run(folder, "parts", "--skip-existing")),
            )
        ]
        table(["run", "s", "memory, MB", "exit code"], rows)
        whole, parts = (folder / f / "movie.ome.csv" for f in ("whole", "parts"))
        is_same = whole.read_bytes() == parts.read_bytes()
        left = [p.name for p in (folder / "parts").iterdir() if p.name.startswith(".")]
        n = whole.read_text().count("\n") - 1
        print(f"\n{n} spots; the same bytes: {is_same}; hidden files left: {left}")


if __name__ == "__main__":
    main()
