"""Files that did harm to version 0.1: what the program says, how long it takes, what it leaves.

    python benchmarks/bad_files.py DATA

DATA is the folder with `bad/models`, `bad/datasets` and `bad/images`. Each file is copied
alone into a folder, where the program runs as a user starts it. Then, what the checks of a
model file cost when a bundled model is loaded.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from timing import machine, seconds, table

COMMANDS = {
    "models": (
        ["models", "show", "FILE"],
        ["predict", "IMAGE", "-m", "FILE", "-o", "out"],
    ),
    "datasets": (["dataset", "info", "FILE"],),
    "images": (["predict", "FILE", "-o", "out"],),
}
IMAGE = Path(__file__).parents[1] / "examples" / "cells.tif"


def run(words, file):
    """Run the program on a copy; exit code, seconds, MiB, what it said, new files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = folder / file.name
        shutil.copy(file, copy)
        places = {"FILE": file.name, "IMAGE": str(IMAGE)}
        command = [
            sys.executable,
            "-m",
            "blinkcore",
            *(places.get(w, w) for w in words),
        ]
        started = time.perf_counter()
        with (folder / "said").open("w+") as said:
            process = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.DEVNULL, stderr=said
            )
            _, status, usage = os.wait4(process.pid, 0)
            passed = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            lines = said.read().splitlines()
        found = [p for p in folder.rglob("*") if p.is_file()]
        new = sorted(p.name for p in found if p.name not in (file.name, "said"))
        unit = 1 if sys.platform == "darwin" else 1024
        return process.returncode, passed, usage.ru_maxrss * unit / 2**20, lines, new


def files(folder):
    rows = []
    for kind, commands in COMMANDS.items():
        for words in commands:
            for file in sorted((folder / "bad" / kind).iterdir()):
                code, passed, memory, lines, new = run(words, file)
                rows.append([
                    file.name, " ".join(w for w in words[:2] if w.islower()),
                    code, f"{passed:.1f}", f"{memory:.0f}", len(lines),
                    ", ".join(new) or "–", lines[0].replace("|", "/") if lines else "",
                ])  # fmt: skip
    table(
        ["file", "command", "exit", "s", "MiB", "lines", "new files", "the first line"],
        rows,
    )


def loading():
    """Median time to load a bundled model, with all checks and by PyTorch alone."""
    # Only now: a program that a large process starts counts its memory as its own.
    import torch

    import blinkcore
    from blinkcore.network import torchscript

    warnings.filterwarnings("ignore", message=r".*torch\.jit")

    rows = []
    for name in ("general", "precise"):
        path = Path(blinkcore.__file__).parent / "models" / f"{name}.pt"
        whole = 1000 * seconds(blinkcore.load_model, name, device="cpu")
        bare = 1000 * seconds(
            lambda path=path: torchscript.freeze(torch.jit.load(path).eval(), "cpu")
        )
        rows.append([name, f"{whole:.0f}", f"{bare:.0f}", f"{whole - bare:.0f}"])
    table(
        ["model", "load_model, ms", "torch.jit.load and freeze, ms", "checks, ms"], rows
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    folder = parser.parse_args().data
    machine()
    files(folder)
    loading()


if __name__ == "__main__":
    main()
