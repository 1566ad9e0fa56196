"""Kill commands at random moments, run them again: is the result that of an undisturbed run?

    python benchmarks/kills.py [--each 40]

Each command is killed (SIGKILL) or asked to end (SIGTERM) at a moment drawn uniformly
over the time that it takes, then run again to its end (`predict --skip-existing`,
`train --resume`). The result must be that of an undisturbed run, and no other file may
be left. Tables and samples are compared byte for byte, trained and exported models by
the grids that they compute.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from timing import machine, table

from blinkcore.datasets.dataset import load_dataset
from blinkcore.network.model import load_model
from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate


def blinkcore(words, folder):
    command = [sys.executable, "-m", "blinkcore", *words]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet)


def tables(folder):
    """Contents of all tables."""
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*.csv"))}


def dataset(folder):
    samples = load_dataset(folder / "d.npz").samples
    return [(s.name, s.split, s.image.tobytes(), s.points.tobytes()) for s in samples]


def grids(folder):
    """What the written network computes for a fixed image."""
    (path,) = (p for p in (folder / "m.pt", folder / "m.onnx") if p.exists())
    tiles = np.random.default_rng(0).normal(0, 5, (1, 1, 64, 64)).astype(np.float32)
    return load_model(path, device="cpu", amp=False)(tiles).tobytes()


TRAIN = (
    "train --preset smfish --steps 6 --batch-size 2 --crop 64 --workers 0 --filters 4 "
    "--depth 1 --levels 1 --valid-scenes 3 --validate-every 1 --seed 3 -o m.pt"
)
# Command, what to add when it is run again, what its result is.
COMMANDS = {
    "predict": ("predict ../in -o .", "--skip-existing", tables),
    "predict, one table": ("predict ../in -o all.csv", "--skip-existing", tables),
    "predict, a movie": ("predict ../movie.tif -o .", "--skip-existing", tables),
    "dataset create": ("dataset create ../in ../labels -o d.npz", "", dataset),
    "export": ("export general --onnx -o m.onnx", "", grids),
    "link": ("link ../tracks.csv -o .", "", tables),
    "train": (TRAIN, "--resume", grids),
}


def inputs(folder):
    rng = np.random.default_rng(0)
    for name in ("in", "labels"):
        (folder / name).mkdir()
    for i in range(8):
        scene = simulate((256, 256), rng, ranges=PRESETS["smfish"])
        tifffile.imwrite(folder / "in" / f"{i}.tif", scene.image)
        labels = pd.DataFrame(scene.points, columns=["y", "x"])
        labels.to_csv(folder / "labels" / f"{i}.csv", index=False)
    movie = rng.poisson(scene.image, (80, *scene.image.shape)).astype(np.uint16)
    axes = {"axes": "TYX"}
    tifffile.imwrite(folder / "movie.tif", movie, imagej=True, metadata=axes)
    places = rng.uniform(0, 500, (60, 2))
    rows = [
        (t, *(place + rng.normal(0, 0.5, 2))) for t in range(30) for place in places
    ]
    movie = pd.DataFrame(rows, columns=["frame", "y", "x"])
    movie.to_csv(folder / "tracks.csv", index=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument(
        "--commands", nargs="*", default=list(COMMANDS), choices=COMMANDS
    )
    options = parser.parse_args()
    each = options.each
    machine()
    rng = np.random.default_rng()
    rows = []
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        inputs(root)
        for name in options.commands:
            command, again, result = COMMANDS[name]
            words, whole = command.split(), root / "whole"
            whole.mkdir()
            started = time.perf_counter()
            assert blinkcore(words, whole).wait() == 0, name
            took = time.perf_counter() - started
            expected, files = result(whole), names(whole)
            wrong = left = ended = 0
            for _ in range(each):
                folder = root / "cut"
                folder.mkdir()
                process = blinkcore(words, folder)
                time.sleep(float(rng.uniform(0, took)))
                ended += process.poll() is not None
                process.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM]))
                process.wait()
                # Go on from what was written; begin anew if nothing was.
                more = again.split() if not again or any(folder.iterdir()) else []
                code = blinkcore([*words, *more], folder).wait()
                if code == 2 and more == ["--resume"]:  # killed before a checkpoint
                    code = blinkcore([*words, "--overwrite"], folder).wait()
                wrong += code != 0 or result(folder) != expected
                left += names(folder) != files
                shutil.rmtree(folder)
            shutil.rmtree(whole)
            rows.append([name, each - ended, f"{took:.1f}", wrong, left])
            print(*rows[-1], file=sys.stderr, flush=True)
    table(
        ["command", "kills", "takes, s", "results that differ", "files left behind"],
        rows,
    )


def names(folder):
    """Files that are there, except logs, whose names contain a time."""
    return {
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.is_file() and "tfevents" not in p.name
    }


if __name__ == "__main__":
    main()
