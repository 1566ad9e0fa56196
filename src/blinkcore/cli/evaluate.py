"""`blinkcore evaluate`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blinkcore.cli.app import (
    MODELS,
    Debug,
    Device,
    PixelSizes,
    Unit,
    app,
    check_folder,
    expanded,
    parse_pixel_size,
)
from blinkcore.cli.console import ErrorReporter, count_of
from blinkcore.cli.messages import print_line, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

_FEW_IMAGES = 5  # a bootstrap over fewer gives too narrow intervals


Truth = Annotated[
    str, typer.Argument(help="Data set (.npz), or file or folder of labels.")
]
Methods = Annotated[
    list[str],
    typer.Argument(
        metavar="METHOD...",
        help="Models, or files or folders of spots; any number.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder for scores.csv, groups.csv, summary.json and plots.png.",
    ),
]
Split = Annotated[
    str,
    typer.Option(help="Split of the data set: train, valid or test."),
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", "-t", help="For models, instead of their own."),
]
Cutoff = Annotated[
    list[float] | None,
    typer.Option(
        help="Largest distance of a pair in px, 3 if not given; may be repeated. "
        "It does not affect the F1 integral."
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of the intervals' bootstrap.")]


@app.command(rich_help_panel=MODELS)
def evaluate(
    truth: Truth,
    methods: Methods,
    output: Output = None,
    split: Split = "test",
    threshold: Threshold = None,
    cutoff: Cutoff = None,
    unit: Unit = "auto",
    pixel_size: PixelSizes = None,
    seed: Seed = 0,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Score models or spots tables against labels, and compare them.

    For example: blinkcore evaluate labels.npz general results -o scores
    """
    with ErrorReporter(debug):
        from blinkcore.evaluation.compare import score, summarize
        from blinkcore.evaluation.methods import load
        from blinkcore.evaluation.plots import plot
        from blinkcore.evaluation.scores import DEFAULT_CUTOFF
        from blinkcore.network.calibration import check_threshold

        if threshold is not None:
            check_threshold(threshold)
        check_folder(output)
        cutoffs = list(dict.fromkeys(cutoff or [DEFAULT_CUTOFF]))
        for distance in cutoffs:
            if not 0 < distance < float("inf"):
                raise ValueError(f"--cutoff must be a distance in px, got {distance}")
        methods = expanded(methods)
        if len(set(methods)) < len(methods):
            raise ValueError("a method is given twice")
        cases, found = load(
            truth,
            methods,
            split=split,
            threshold=threshold,
            unit=unit,
            pixel_size=parse_pixel_size(pixel_size),
            device=device,
        )
        tables = [score(cases, found, cutoff=c) for c in cutoffs]
        summaries = [
            {"cutoff": c} | summarize(table, seed=seed)
            for c, table in zip(cutoffs, tables, strict=True)
        ]
        _print(summaries)
        if output is not None:
            _write(output, tables, summaries)
            if find_spec("matplotlib") is not None:
                plot(cases, found, output / "plots.png")


def _print(summaries: list[dict[str, Any]]) -> None:
    first = summaries[0]
    print_line(
        f"{count_of(first['true_spots'], 'true spot')} in "
        f"{count_of(first['cases'], 'plane')} of {count_of(first['images'], 'image')}; "
        "mean and 95 % interval"
    )
    print_line()
    if first["images"] < _FEW_IMAGES:
        print_line(
            f"Note: {first['images']} labelled "
            f"{'image is' if first['images'] == 1 else 'images are'} too few to tell how "
            "sure these figures are."
        )
        print_line()
    width = max(12, *(len(name) + 2 for name in first["methods"]))
    for summary in summaries:
        titles = {
            "f1_integral": "F1 integral", "f1": f"F1 at {summary['cutoff']:g} px",
            "precision": "precision", "recall": "recall", "rmse": "RMSE px",
        }  # fmt: skip
        print_line(" " * width + "".join(f"{title:<22}" for title in titles.values()))
        for name, scores in summary["methods"].items():
            cells = "".join(f"{_interval(scores[score]):<22}" for score in titles)
            print_line(f"{name:<{width}}{cells}".rstrip())
        print_line()
    for difference in first["differences"]:
        a, b = difference["methods"]
        text = _interval(difference["f1_integral"], sign="+")
        print_line(f"F1 integral, {a} less {b}: {text}")


def _interval(values: Sequence[float | None], *, sign: str = "") -> str:
    if values[0] is None:
        return "-"
    mean, *ends = (f"{v:{sign}.3f}" for v in values if v is not None)
    return f"{mean} [{', '.join(ends)}]" if ends else mean


def _write(
    output: Path, tables: list[pd.DataFrame], summaries: list[dict[str, Any]]
) -> None:
    import pandas as pd

    from blinkcore.files import write_json
    from blinkcore.io.tables import write_csv

    output.mkdir(parents=True, exist_ok=True)
    cutoffs = [summary["cutoff"] for summary in summaries]
    all_ = pd.concat(
        [t.assign(cutoff=c) for t, c in zip(tables, cutoffs, strict=True)],
        ignore_index=True,
    )
    groups = pd.DataFrame(
        {
            "cutoff": summary["cutoff"],
            **{key: group[key] for key in ("group", "cases", "images")},
            "method": method,
            "score": score,
            **dict(zip(("mean", "low", "high"), values, strict=True)),
        }
        for summary in summaries
        for group in summary["groups"]
        for method, scores in group["methods"].items()
        for score, values in scores.items()
    )
    for name, table in (("scores.csv", all_), ("groups.csv", groups)):
        write_csv(table, output / name, float_format="%.6g")
    write_json(
        summaries[0] | {"further_cutoffs": summaries[1:]}, output / "summary.json"
    )
    plots = " and plots.png"
    if find_spec("matplotlib") is None:
        plots = "; plots need matplotlib: pip install 'blinkcore[plots]'"
    say(f"Wrote scores.csv, groups.csv, summary.json{plots} to {output}")
