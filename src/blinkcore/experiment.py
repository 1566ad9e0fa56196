"""Run a whole experiment from one recipe: spots, tracks, pairs, report, provenance.

Each step is a blinkcore command in its own process, so a recipe does what a person at a
terminal would do. A step after `predict` is skipped if its command and inputs have not
changed since the last run.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import blinkcore
from blinkcore.files import files_in, write_json
from blinkcore.io import read_sidecar, tables
from blinkcore.io.scenes import file_and_scene
from blinkcore.io.tables import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STEPS = ("predict", "link", "colocalize", "report")
KEYS = ("images", "output", "samples", *STEPS)
_FOLDERS = {"predict": "spots", "link": "tracks", "colocalize": "pairs", "report": ""}
_STATE = "experiment.json"


@dataclass(frozen=True)
class Recipe:
    """The inputs, output folder and steps of an experiment.

    Attributes
    ----------
    path : Path
        Path of the recipe file; all other paths are relative to its folder.
    images : tuple of str
        Inputs of `predict`.
    output : Path
        Folder of all results: `spots`, `tracks`, `pairs`, `report.html`.
    samples : str
        Sample sheet for the report, or empty.
    steps : dict of str to list of str
        Options of each step, as words of a command line.
    """

    path: Path
    images: tuple[str, ...]
    output: Path
    samples: str = ""
    steps: dict[str, list[str]] = field(default_factory=dict)

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the name and the command line of each step, in order."""
        spots = self.output / _FOLDERS["predict"]
        for step in STEPS:
            if step not in self.steps and step != "predict":
                continue
            words = self.steps.get(step, [])
            given = ["--skip-existing"] if step == "predict" else [str(spots)]
            target = self.output / (_FOLDERS[step] or "report.html")
            if step == "report" and "link" in self.steps:
                given += ["--tracks", str(self.output / _FOLDERS["link"])]
            if step == "report" and "colocalize" in self.steps:
                given += ["--pairs", str(self.output / _FOLDERS["colocalize"])]
            if step == "report" and self.samples:
                given += ["--samples", self.samples]
            words = [*given, "--output", str(target), *words]
            if step == "predict":  # a name may begin with a dash
                words += ["--", *self.images]
            yield step, [step, *words]


def files_among(step: str, words: list[str]) -> list[Path]:
    """List the files and folders that options of a step name, as it reads them."""
    found = []
    for option, value in pairwise(words):
        name, mark, path = value.partition("=")
        # Of `predict` alone labels may have a name, as in nucleus=nuclei.
        is_named = step == "predict" and bool(mark) and name.isidentifier()
        if option in ("--labels", "--calibration", "--samples", "--tracks", "--pairs"):
            found.append(Path(path if is_named else value))
    return found


def run_experiment(
    recipe: Recipe, say: Callable[[str], None], options: Sequence[str] = ()
) -> int:
    """Run the steps of a recipe.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    say : callable
        Takes sentences about the steps.
    options : sequence of str
        For every step, such as ``--quiet``; they change no result and are not recorded.

    Returns
    -------
    int
        Exit code: 0, or 1 if an image or a later step failed; the others still run.

    Raises
    ------
    OSError
        If the state of the experiment cannot be written.
    ValueError
        If `predict` refuses its options.
    """
    folder = recipe.path.parent
    state_file = folder / recipe.output / _STATE
    state = _read_state(state_file)
    worst = 0
    for step, words in recipe.commands():
        target = folder / words[words.index("--output") + 1]
        digest = _digest(words, folder / recipe.output / _FOLDERS["predict"], folder)
        before = state["steps"].get(step, {})
        is_same = before.get("digest") == digest and target.exists()
        if step != "predict" and is_same:
            say(f"{step}: nothing has changed")
            continue
        say(f"$ blinkcore {shlex.join(words)}")
        started = time.perf_counter()
        command = [sys.executable, "-m", "blinkcore", *words, *options]
        code = subprocess.run(command, cwd=folder, check=False).returncode
        if step == "predict" and code not in (0, 1):
            raise ValueError(f"{recipe.path}: predict ended with exit code {code}")
        worst = max(worst, int(code != 0))
        if step == "predict":
            _check_results(recipe, target, say)
        state["steps"][step] = {
            "command": ["blinkcore", *words],
            "exit_code": code,
            "digest": digest if code == 0 else "",
            "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - started, 1),
        }
        state["blinkcore"] = blinkcore.__version__
        state["recipe"] = recipe.path.read_text("utf-8")
        write_json(state, state_file)
    return worst


def _read_state(path: Path) -> dict[str, Any]:
    """Read the state of the last run; an empty one if it cannot be read."""
    try:
        state = parse_json(path)
    except (OSError, ValueError):
        state = None
    is_ours = isinstance(state, dict) and isinstance(state.get("steps"), dict)
    return state if is_ours else {"steps": {}}


def _check_results(recipe: Recipe, spots: Path, say: Callable[[str], None]) -> None:
    """Say which images of earlier runs are gone; raise ValueError if there are no results."""
    paths = files_in(spots, (".json",), recursive=True) if spots.is_dir() else []
    found = [(path, about) for path in paths if (about := read_sidecar(path))]
    if not found:
        raise ValueError(f"{recipe.path}: no image could be searched")
    for path, about in found:
        for record in about["images"]:
            source = str(record.get("path") or "")
            is_file = source and "://" not in source
            if is_file and not file_and_scene(Path(source))[0].exists():
                say(
                    f"{source} is not there any more, and its spots of an earlier run are "
                    f"still in the results; delete {path.with_suffix('.*')} to leave them "
                    "out"
                )


def _digest(words: list[str], spots: Path, folder: Path) -> str:
    """Hash a command, and the size and time of each file that it reads."""
    digest = hashlib.sha256(json.dumps(words).encode())
    inputs = tables.tables_in(spots, recursive=True) if spots.is_dir() else []
    for place in (folder / file for file in files_among(words[0], words)):
        inside = place.rglob("*") if place.is_dir() else [place]
        inputs += sorted(path for path in inside if path.is_file())
    for path in inputs:
        about = path.stat()
        digest.update(f"{path} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()
