"""What the benchmarks share: timing, and tables in Markdown."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def seconds(run: Callable[..., object], *arguments: object, **options: object) -> float:
    """Median time of a call, after one to warm up."""
    started = time.perf_counter()
    run(*arguments, **options)
    first = time.perf_counter() - started
    if first > 5:
        return first
    times: list[float] = []
    while sum(times) < 0.5 or len(times) < 5:
        started = time.perf_counter()
        run(*arguments, **options)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def machine() -> None:
    """Print the date, the revision of the code and the machine of this measurement."""
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.partition(":")[2] for line in file if "model name" in line]
        cpu = names[0].strip()
    except (OSError, IndexError):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"
    now = time.strftime("%Y-%m-%d")
    print(
        f"{now}, revision {_revision()}, {cpu}, {cores} cores, Python "
        f"{platform.python_version()}, PyTorch {version('torch').partition('+')[0]}\n"
    )


def _revision() -> str:
    folder = Path(__file__).parent
    words = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
