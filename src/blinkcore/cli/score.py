"""`blinkcore evaluate`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blinkcore.cli.app import Debug, Device, Unit, app
from blinkcore.console import one_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence


@app.command()
def evaluate(
    truth: Annotated[
        str, typer.Argument(help="Data set (.npz), or file or folder of labels.")
    ],
    methods: Annotated[
        list[str],
        typer.Argument(
            metavar="METHOD...",
            help="Models, or files or folders of spots; any number.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for scores.csv, summary.json and plots.png."
        ),
    ] = None,
    part: Annotated[
        str, typer.Option(help="Of the data set: train, valid or test.")
    ] = "test",
    threshold: Annotated[
        float | None, typer.Option(help="For models, instead of their own.")
    ] = None,
    cutoff: Annotated[
        float, typer.Option(help="Largest distance of a pair, px (not of F1 integral).")
    ] = 3.0,
    unit: Unit = "auto",
    seed: Annotated[int, typer.Option(help="Of the intervals' bootstrap.")] = 0,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Score models or spots tables against labels, and compare them."""
    with one_sentence(debug):
        from blinkcore import compare
        from blinkcore.grid import check_threshold

        if threshold is not None:
            check_threshold(threshold)
        if not 0 < cutoff < float("inf"):
            raise ValueError(f"--cutoff must be a distance in px, got {cutoff}")
        if len(set(methods)) < len(methods):
            raise ValueError("a method is given twice")
        cases, found = compare.load(
            truth, methods, part=part, threshold=threshold, unit=unit, device=device
        )
        table = compare.score(cases, found, cutoff=cutoff)
        summary = compare.summarize(table, seed=seed)
        _print(summary, cutoff)
        if output is not None:
            _write(output, table, summary)
            if find_spec("matplotlib") is not None:
                compare.plot(cases, found, output / "plots.png")


def _print(summary: dict[str, Any], cutoff: float) -> None:
    typer.echo(
        f"{summary['true_spots']} true spots in {summary['cases']} planes of "
        f"{summary['images']} images; mean and 95 % interval\n"
    )
    width = max(12, *(len(name) + 2 for name in summary["methods"]))
    titles = {
        "f1_integral": "F1 integral", "f1": f"F1 at {cutoff:g} px", "precision": "precision",
        "recall": "recall", "rmse": "RMSE px",
    }  # fmt: skip
    typer.echo(" " * width + "".join(f"{title:<22}" for title in titles.values()))
    for name, scores in summary["methods"].items():
        cells = "".join(f"{_interval(scores[score]):<22}" for score in titles)
        typer.echo(f"{name:<{width}}{cells}".rstrip())
    for difference in summary["differences"]:
        a, b = difference["methods"]
        text = _interval(difference["f1_integral"], sign="+")
        typer.echo(f"\nF1 integral, {a} less {b}: {text}")


def _interval(values: Sequence[float | None], *, sign: str = "") -> str:
    if values[0] is None:
        return "-"
    mean, low, high = (f"{v:{sign}.3f}" for v in values)
    return f"{mean} [{low}, {high}]"


def _write(output: Path, table: Any, summary: dict[str, Any]) -> None:
    from blinkcore.files import whole_file, write_json

    output.mkdir(parents=True, exist_ok=True)
    with whole_file(output / "scores.csv") as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")
    write_json(summary, output / "summary.json")
    plots = " and plots.png"
    if find_spec("matplotlib") is None:
        plots = "; plots need matplotlib: pip install 'blinkcore[plots]'"
    typer.echo(f"\nWrote scores.csv, summary.json{plots} to {output}", err=True)
