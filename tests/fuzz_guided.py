"""Damaged files through the readers, guided by what code they reach (atheris, libFuzzer).

    python tests/fuzz_guided.py --seconds 60 [TARGET ...]

The same sound files and readers as in `fuzz.py`; here an input is kept and changed further if
it reaches code of blinkcore that none has reached before. The first byte of an input says which
of the target's files it is. A reader may read it or raise ValueError, OSError or MemoryError;
anything else, or more than 20 s, ends the run, and the input is kept in build/fuzz.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from inspect import isclass, isfunction
from pathlib import Path

from fuzz import FOUND, LIMIT, TARGETS

GUIDED = ("labels", "others", "datasets", "pickles", "images")


def functions():
    """List the functions and methods of all modules of blinkcore that are loaded.

    An editable installation has an importer of its own, which atheris' does not reach.
    """
    modules = [
        m for name, m in sys.modules.items() if name.split(".")[0] == "blinkcore"
    ]
    owners = [*modules, *(v for m in modules for v in vars(m).values() if isclass(v))]
    found = [f for owner in owners for f in vars(owner).values() if isfunction(f)]
    return {
        f.__code__: f for f in found if f.__module__.startswith("blinkcore")
    }.values()


def child(name, folder, seconds, seed):
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    import blinkcore.cli.recipe_file
    import blinkcore.convert
    import blinkcore.datasets.dataset
    import blinkcore.io.results
    import blinkcore.network.registry
    import blinkcore.plain_pickle  # noqa: F401

    for function in functions():
        atheris.instrument_func(function)
    logging.getLogger("tifffile").propagate = False
    logging.getLogger("blinkcore").propagate = False
    warnings.simplefilter("ignore")
    make, read = TARGETS[name]
    seeds = make()
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, (_, content) in enumerate(seeds):
        (corpus / str(number)).write_bytes(bytes([number]) + content)

    def once(data):
        path = folder / seeds[data[0] % len(seeds) if data else 0][0]
        path.write_bytes(data[1:])
        with suppress(ValueError, OSError, MemoryError):  # refused, as it may be
            read(path)

    FOUND.mkdir(parents=True, exist_ok=True)
    options = [
        str(corpus), f"-max_total_time={seconds:.0f}", f"-seed={seed}", f"-timeout={LIMIT}",
        "-rss_limit_mb=4096", "-max_len=20000", f"-artifact_prefix={FOUND}/{name}-",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


def run(name, seconds, seed):
    """Fuzz a target in a process of its own; gives the number of inputs and its code reached."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--child", name, folder, str(seconds), str(seed)]
        done = subprocess.run(
            [sys.executable, __file__, *words],
            capture_output=True,
            text=True,
            check=False,
        )
    said = done.stdout + done.stderr
    last = re.findall(r"^#(\d+)\s.*?cov: (\d+)", said, re.MULTILINE)
    n, reached = last[-1] if last else ("0", "0")
    problem = "" if done.returncode == 0 else said[-1500:]
    return int(n), int(reached), problem


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", help=", ".join(GUIDED))
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    print("| target | inputs | branches reached | findings |\n|---|---|---|---|")
    failed = False
    for name in chosen.targets or GUIDED:
        n, reached, problem = run(name, chosen.seconds, chosen.seed)
        print(f"| {name} | {n:,} | {reached:,} | {int(bool(problem))} |", flush=True)
        if problem:
            print(problem, file=sys.stderr)
        failed = failed or bool(problem)
    raise SystemExit(int(failed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        target, place, length, start = sys.argv[2:]
        child(target, Path(place), float(length), int(start))
    main()
