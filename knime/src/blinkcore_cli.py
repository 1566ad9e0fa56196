"""Detection, evaluation and models by the blinkcore program, as tables for a workflow.

It does not depend on KNIME. All detection happens in the program.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import blinkcore_program as program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

# Columns of every spots table here, whatever the images have: a workflow needs one schema.
COLUMNS = {
    "image": "string", "frame": "int64", "channel": "int64", "z": "float64", "y": "float64",
    "x": "float64", "probability": "float64", "localization_uncertainty": "float64",
    "z_uncertainty": "float64", "n_planes": "int64", "z_um": "float64", "y_um": "float64",
    "x_um": "float64",
}  # fmt: skip
# Further columns by what is measured: the light in a disk, or a Gaussian that is fitted.
NONE, DISK, FIT = "none", "disk", "fit"
MEASURED: dict[str, tuple[str, ...]] = {
    NONE: (),
    DISK: ("background", "intensity", "snr"),
    FIT: (
        "fit_y", "fit_x", "fit_uncertainty", "sigma", "sigma_uncertainty", "amplitude",
        "amplitude_uncertainty", "background", "intensity", "intensity_uncertainty", "snr",
    ),
}  # fmt: skip
LABELLED = {"cell": "int64", "border_distance": "float64"}
COUNTS = {
    "image": "string", "frame": "int64", "channel": "int64", "n": "int64",
    "expected": "float64", "low": "float64", "high": "float64",
}  # fmt: skip


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
    images : DataFrame
        `image`, `n` (number of spots) and `error` of each image: one of these two is
        missing.
    counts : DataFrame
        `COUNTS` of each image, frame and channel, also where there is no spot.
    n_inputs : int
        Number of different files that were given.
    warnings : tuple of str
        What the program warned of.
    """

    spots: pd.DataFrame
    failed: list[str]
    pictures: list[bytes]
    images: pd.DataFrame
    counts: pd.DataFrame
    n_inputs: int = 0
    warnings: tuple[str, ...] = ()


def columns(*, measured: str = NONE, labelled: bool = False) -> dict[str, str]:
    """Give names and types of a spots table, in order; `measured`: a key of `MEASURED`."""
    return {
        **COLUMNS,
        **dict.fromkeys(MEASURED[measured], "float64"),
        **(LABELLED if labelled else {}),
    }


def predict(
    paths: Sequence[str],
    *,
    model: str = "general",
    threshold: float | None = None,
    channel: int | None = None,
    measured: str = NONE,
    radius: float = 3.0,
    labels: str = "",
    n_pictures: int = 0,
    progress: Callable[[float, str], None] = lambda share, text: None,
    is_canceled: Callable[[], bool] = lambda: False,
) -> Found:
    """Find the spots of many images.

    Parameters
    ----------
    paths : sequence of str
        Files.
    model, threshold, channel
        Options of `blinkcore predict`, see there; its own defaults if not given.
    measured : {"none", "disk", "fit"}
        Sum the light in a disk of `radius` px, or fit a Gaussian to each spot.
    labels : str
        Label image of cells, or a folder of them; empty: none.
    n_pictures : int
        Number of images whose spots are drawn.
    progress : callable
        Takes the share that is done, 0 to 1, and its last item.
    is_canceled : callable
        See `blinkcore_program.run`.

    Returns
    -------
    Found

    Raises
    ------
    ProgramError, Canceled
        If nothing could be done, or the host canceled; the program has ended by then.
    """
    options = {
        "--model": model, "--threshold": threshold, "--channel": channel,
        "--radius": radius if measured == DISK else None,
        "--measure": "poisson" if measured == FIT else None,
        "--labels": labels.strip() or None,
    }  # fmt: skip
    paths = _different(paths)
    listener = _Listener(progress, len(paths))
    found, counts, images, n_inputs, pictures = None, None, _images({}, {}), 0, []
    with tempfile.TemporaryDirectory(prefix="blinkcore-") as name:
        if paths:  # all in one run; then the first ones again, for their pictures
            words, status = _search(Path(name) / "all", paths, options)
            program.run(words, status, listener, is_canceled)
            found, counts, images, n_inputs = _results(status)
        if paths[:n_pictures]:
            pictures = _draw(Path(name), paths[:n_pictures], options, is_canceled)
    spots = _schema(found, columns(measured=measured, labelled=bool(labels.strip())))
    tables = (spots, _failed(images), pictures, images, _schema(counts, COUNTS))
    return Found(*tables, n_inputs, tuple(listener.warnings))


class _Listener:
    """Passes the program's progress on to the host, and keeps its warnings.

    Parameters
    ----------
    progress : callable
        See `predict`.
    n_images : int
        To be searched.
    """

    def __init__(self, progress: Callable[[float, str], None], n_images: int) -> None:
        self.warnings: list[str] = []
        self._progress, self._done, self._total = progress, 0, n_images

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event of the program."""
        if event["event"] == "progress":
            self._done, self._total = event["done"], event["total"]
            self._progress(self._done / self._total, str(event["item"]))
        elif event["event"] == "plane":  # of an image that is not done
            share = (self._done + event["done"] / event["total"]) / self._total
            self._progress(min(1.0, share), str(event["image"]))
        elif event["event"] == "warning":
            self.warnings.append(str(event["message"]))


def _failed(images: pd.DataFrame) -> list[str]:
    """Give a sentence for each image that could not be read."""
    wrong = images[images["error"].notna()]
    return [_located(*row) for row in zip(wrong["image"], wrong["error"], strict=True)]


def _images(counts: dict[str, int], errors: dict[str, str]) -> pd.DataFrame:
    """Make the table of images, with their number of spots or why they were not read."""
    import pandas as pd

    names = [*counts, *errors]
    table = {
        "image": pd.array(names, "string"),
        "n": pd.array([*counts.values(), *[None] * len(errors)], "Int64"),
        "error": pd.array([*[None] * len(counts), *errors.values()], "string"),
    }
    return pd.DataFrame(table)


def _results(
    status: Path,
) -> tuple[pd.DataFrame | None, pd.DataFrame | None, pd.DataFrame, int]:
    """Read what a search wrote: its tables if there are any, its images, its files."""
    content = json.loads(status.read_text("utf-8"))
    if content["error"] and not content["failed"]:
        raise program.ProgramError(content["error"])  # such as a full disk
    errors = {f["image"]: f["message"] for f in content["failed"]}
    table, number = status.with_name("all.csv"), status.with_name("all.counts.csv")
    found = _read(table) if table.exists() else None
    counts = _read(number) if number.exists() else None
    totals = {}
    if counts is not None:
        totals = counts.groupby("image", sort=False)["n"].sum().to_dict()
    return found, counts, _images(totals, errors), content["images"]["total"]


def _draw(
    folder: Path,
    paths: Sequence[str],
    options: dict[str, Any],
    is_canceled: Callable[[], bool],
) -> list[bytes]:
    """Give PNG pictures of images with their spots circled."""
    drawn = folder / "pictures"
    words, status = _search(folder / "first", paths, options | {"--overlay": drawn})
    program.run(words, status, None, is_canceled)
    files = sorted(drawn.glob("**/*.overlay.png"))[: len(paths)]
    return [path.read_bytes() for path in files]


def _search(
    place: Path, paths: Sequence[str], options: dict[str, Any]
) -> tuple[list[str], Path]:
    """Give the arguments of a search that writes to `place`, and its status file."""
    listed, status = place.with_suffix(".txt"), place.with_suffix(".status.json")
    listed.write_text("\n".join(paths) + "\n", encoding="utf-8")
    table = place.with_suffix(".csv")
    places = {"--list": listed, "--output": table, "--status": status}
    return ["predict", *program.words(places | options)], status


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
        program.run(
            [*words, *program.words(options)], None, lambda event: None, is_canceled
        )
        summary = json.loads((folder / "scores" / "summary.json").read_text("utf-8"))
    (scores,) = summary["methods"].values()
    means = {
        n: float("nan") if v[0] is None else float(v[0]) for n, v in scores.items()
    }
    return {**means, "n_truth": len(truth), "n_detected": len(detected)}


def models() -> dict[str, Any]:
    """Give what each bundled model says about itself."""
    answer: dict[str, Any] = json.loads(program.run(["models", "--format", "json"]))
    return answer


def model_metadata(model: str) -> dict[str, Any]:
    """Give what a model, bundled or a file, says about itself."""
    answer: dict[str, Any] = json.loads(program.run(["models", "show", model]))
    return answer


def _read(table: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(table, converters={"image": str})


_MISSING = {"frame": 0, "channel": 0, "z": 0, "n_planes": 1}  # in a single plane


def _schema(found: pd.DataFrame | None, known: dict[str, str]) -> pd.DataFrame:
    """Bring a table, or none, to the promised columns; an axis without a place is 0."""
    import pandas as pd

    table = pd.DataFrame() if found is None else found
    result = pd.DataFrame(index=table.index)
    for name, kind in known.items():
        missing = _MISSING.get(name, float("nan"))
        column = table[name] if name in table else pd.Series(missing, table.index)
        if name in _MISSING:
            column = column.fillna(missing)
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
            raise program.ProgramError(
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
