"""Scenes of 256 x 256 px that the simulator makes in a second, in one process and in two.

    python benchmarks/simulator.py

The ranges are those of `blinkcore train` without a preset, of which two scenes in five are
processed like published images, and those of the preset `smfish`.
"""

import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from timing import machine, table

from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.ranges import SceneRanges
from blinkcore.simulation.scenes import simulate

N_SCENES = 200
KINDS = {"default": SceneRanges(), "smfish": PRESETS["smfish"]}


def make(first, n, kind):
    for i in range(first, first + n):
        simulate((256, 256), np.random.default_rng([7, i]), ranges=KINDS[kind])


def rate(n_processes, kind):
    """Scenes a second, once all processes have started."""
    n = N_SCENES // n_processes
    with ProcessPoolExecutor(n_processes) as pool:
        list(
            pool.map(make, range(n_processes), [1] * n_processes, [kind] * n_processes)
        )
        started = time.perf_counter()
        parts = range(0, N_SCENES, n)
        list(pool.map(make, parts, [n] * n_processes, [kind] * n_processes))
        return N_SCENES / (time.perf_counter() - started)


def main():
    machine()
    rows = [(kind, *(f"{rate(n, kind):.0f}" for n in (1, 2))) for kind in KINDS]
    table(("ranges", "one process", "two processes"), rows)


if __name__ == "__main__":
    main()
