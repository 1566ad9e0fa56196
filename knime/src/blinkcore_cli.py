"""Runs the blinkcore program for a host: progress, cancel, one sentence when it fails.

Knows nothing of KNIME. All detection happens in the program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

# Columns of every spots table here, whatever the images have: a workflow needs one schema.
COLUMNS = {
    "image": "string", "frame": "int64", "channel": "int64", "z": "float64", "y": "float64",
    "x": "float64", "probability": "float64", "localization_uncertainty": "float64",
    "y_um": "float64", "x_um": "float64",
}  # fmt: skip
MEASURED = {"background": "float64", "intensity": "float64", "snr": "float64"}
_POLL, _GRACE = 0.1, 0.7  # seconds between two looks, and to end by itself


class ProgramError(RuntimeError):
    """The program failed; the message is its sentence."""


class Canceled(Exception):
    """The host does not want the result any more."""


class Found(NamedTuple):
    """What a prediction gave.

    Attributes
    ----------
    spots : DataFrame
        With exactly the promised columns and types.
    failed : list of str
        A sentence for each image that could not be read.
    pictures : list of bytes
        PNG of the first images with their spots circled.
    n_inputs : int
        Different files that were asked for.
    """

    spots: pd.DataFrame
    failed: list[str]
    pictures: list[bytes]
    n_inputs: int = 0


def columns(*, measured: bool) -> dict[str, str]:
    """Names and types of a spots table, in order."""
    names = list(COLUMNS.items())
    return dict(names[:8] + (list(MEASURED.items()) if measured else []) + names[8:])


def predict(
    paths: Sequence[str],
    *,
    model: str = "general",
    threshold: float | None = None,
    channel: int | None = None,
    radius: float | None = None,
    n_pictures: int = 0,
    progress: Callable[[float, str], None] = lambda share, text: None,
    is_canceled: Callable[[], bool] = lambda: False,
) -> Found:
    """Find the spots of many images.

    Parameters
    ----------
    paths : sequence of str
        Files.
    model : str
        Bundled name or path of a `.pt` file.
    threshold : float, optional
        Probability above which a spot counts; the model's own if not given.
    channel : int, optional
        Only this channel, from 0.
    radius : float, optional
        Measure intensities in a disk of this radius in px.
    n_pictures : int
        Draw the spots of so many images.
    progress : callable
        Told the share that is done, 0 to 1, and what was done last.
    is_canceled : callable
        Asked ten times a second.

    Returns
    -------
    Found

    Raises
    ------
    ProgramError
        If nothing could be done.
    Canceled
        If the host said so; the program has ended then.
    """
    parts, failed, pictures = [], [], []
    paths = _different(paths)
    with tempfile.TemporaryDirectory(prefix="blinkcore-") as name:
        folder = Path(name)
        options = {
            "--model": model, "--threshold": threshold, "--channel": channel,
            "--radius": radius,
        }  # fmt: skip

        def tell(event: dict[str, Any]) -> None:
            if event["event"] == "progress":
                progress(event["done"] / event["total"], str(event["item"]))

        def search(name: str, group: Sequence[str], overlay: Path | None) -> Path:
            listed = folder / f"{name}.txt"
            listed.write_text("\n".join(group) + "\n", encoding="utf-8")
            status = folder / f"{name}.status.json"
            places = {"--list": listed, "--output": folder / f"{name}.csv",
                      "--status": status, "--overlay": overlay}  # fmt: skip
            said = tell if overlay is None else None
            run(["predict", *_words(places | options)], status, said, is_canceled)
            return status

        # All in one run, so that the program knows what belongs together; then the first
        # ones again, for their pictures.
        n_inputs = 0
        drawn = folder / "pictures"
        if paths:
            content = json.loads(search("all", paths, None).read_text("utf-8"))
            if content["error"] and not content["failed"]:
                raise ProgramError(content["error"])  # of no image: a full disk, say
            failed = [_located(f["image"], f["message"]) for f in content["failed"]]
            n_inputs = content["images"]["total"]
            if (folder / "all.csv").exists():
                parts.append(_read(folder / "all.csv"))
        if paths[:n_pictures]:
            search("first", paths[:n_pictures], drawn)
        files = sorted(drawn.glob("**/*.overlay.png"))[:n_pictures]
        pictures = [path.read_bytes() for path in files]
    spots = _schema(parts, measured=radius is not None)
    return Found(spots, failed, pictures, n_inputs)


def _different(paths: Sequence[str]) -> list[str]:
    """Leave out what is blank and files that came before: each is searched once."""
    given: dict[str, str] = {}
    for path in paths:
        if path.strip():
            given.setdefault(os.path.realpath(path), path)
    return list(given.values())


def _located(image: str, message: str) -> str:
    return message if image in message else f"{image}: {message}"


def evaluate(
    truth: pd.DataFrame,
    detected: pd.DataFrame,
    *,
    cutoff: float,
    is_canceled: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Score spots against labels, image by image where both have an `image` column.

    Returns
    -------
    dict
        f1_integral, f1, precision, recall, rmse, and the numbers of spots; means over the
        images and planes.

    Raises
    ------
    ProgramError, Canceled
        See `predict`.
    """
    with tempfile.TemporaryDirectory(prefix="blinkcore-") as name:
        folder = Path(name)
        _write_images(truth, detected, folder)
        words = ["evaluate", str(folder / "truth"), str(folder / "detected")]
        options = {"--output": folder / "scores", "--cutoff": cutoff}
        run([*words, *_words(options)], None, lambda event: None, is_canceled)
        summary = json.loads((folder / "scores" / "summary.json").read_text("utf-8"))
    (scores,) = summary["methods"].values()
    means = {
        n: float("nan") if v[0] is None else float(v[0]) for n, v in scores.items()
    }
    return {**means, "n_truth": len(truth), "n_detected": len(detected)}


def models() -> dict[str, Any]:
    """Give what each bundled model says about itself."""
    answer: dict[str, Any] = json.loads(run(["models", "--format", "json"]))
    return answer


def model_metadata(model: str) -> dict[str, Any]:
    """Give what a model, bundled or a file, says about itself."""
    answer: dict[str, Any] = json.loads(run(["models", "show", model]))
    return answer


def run(
    words: Sequence[str],
    status: Path | None = None,
    tell: Callable[[dict[str, Any]], None] | None = None,
    is_canceled: Callable[[], bool] = lambda: False,
) -> str:
    """Run the program and wait for it, or end it if the host cancels.

    Parameters
    ----------
    words : sequence of str
        Its arguments.
    status : Path, optional
        Status file among them: some images may fail then, which is no error here.
    tell : callable, optional
        Given each event of its progress.
    is_canceled : callable
        Asked ten times a second.

    Returns
    -------
    str
        Its standard output.
    """
    if status is not None:
        words = [*words, "--progress", "json"]
    # Of this Python, because PATH need not have it; KNIME's own PYTHONPATH is not for it.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    program = subprocess.Popen(
        [sys.executable, "-m", "blinkcore", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=env | {"PYTHONIOENCODING": "utf-8"},
    )
    output: list[str] = []
    said: list[str] = []
    with program:
        readers = [
            threading.Thread(target=_read_output, args=(program, output)),
            threading.Thread(target=_read_events, args=(program, said, tell)),
        ]
        for reader in readers:
            reader.start()
        while program.poll() is None and not is_canceled():
            readers[1].join(_POLL)
        canceled = program.poll() is None
        if canceled:
            _end(program)
        for reader in readers:
            reader.join()
    if canceled:
        raise Canceled
    some_failed = program.returncode == 1 and status is not None and status.exists()
    if program.returncode and not some_failed:
        raise ProgramError(
            said[-1] if said else "blinkcore failed without an error message"
        )
    return "".join(output)


def _end(program: subprocess.Popen[str]) -> None:
    """Let it finish its files, but not for long."""
    program.terminate()
    try:
        program.wait(_GRACE)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _read_output(program: subprocess.Popen[str], output: list[str]) -> None:
    assert program.stdout is not None
    output.extend(program.stdout)


def _read_events(
    program: subprocess.Popen[str],
    said: list[str],
    tell: Callable[[dict[str, Any]], None] | None,
) -> None:
    assert program.stderr is not None
    for line in program.stderr:
        try:
            event = json.loads(line)
            if not isinstance(event, dict):
                raise ValueError("not an event")  # noqa: TRY004
        except ValueError:
            said.append(line.strip().removeprefix("Error: "))
            continue
        if event.get("event") == "error":
            said.append(str(event["message"]))
        if tell is not None:
            tell(event)


def _words(options: dict[str, Any]) -> list[str]:
    return [str(w) for k, v in options.items() if v is not None for w in (k, v)]


def _read(table: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(table, converters={"image": str})


def _schema(parts: Sequence[pd.DataFrame], *, measured: bool) -> pd.DataFrame:
    """Join tables and bring them to the promised columns; an axis without a place is 0."""
    import pandas as pd

    known = columns(measured=measured)
    rows = [part for part in parts if len(part)]
    joined = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
    result = pd.DataFrame(index=joined.index)
    for name, kind in known.items():
        missing = 0 if name in ("frame", "channel", "z") else float("nan")
        column = joined[name] if name in joined else pd.Series(missing, joined.index)
        if name in ("frame", "channel", "z"):
            column = column.fillna(0)
        result[name] = column.astype(kind)
    return result.reset_index(drop=True)


def _write_images(truth: pd.DataFrame, detected: pd.DataFrame, folder: Path) -> None:
    """Write both tables as one file an image, under numbers: names may hold anything."""
    by_image = "image" in truth.columns and "image" in detected.columns
    if by_image:
        truth, detected = (
            table.assign(image=table["image"].fillna("").map(str))
            for table in (truth, detected)
        )
    names = [""]
    if by_image and len(truth) + len(detected):
        sets = [set(table["image"]) for table in (truth, detected)]
        if sets[0] and sets[1] and not sets[0] & sets[1]:
            raise ProgramError(
                f"no image is in both tables: one has {min(sets[0])!r}, the other "
                f"{min(sets[1])!r}; give them the same names"
            )
        names = sorted(sets[0] | sets[1])
    for kind, table in (("truth", truth), ("detected", detected)):
        (folder / kind).mkdir()
        kept = [n for n in ("frame", "channel", "z", "y", "x") if n in table.columns]
        for number, name in enumerate(names):
            rows = table[table["image"] == name] if by_image else table
            rows[kept].to_csv(folder / kind / f"{number:06d}.csv", index=False)
