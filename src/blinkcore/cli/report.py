"""`blinkcore report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from blinkcore.cli.app import (
    AFTERWARDS,
    Contrast,
    Debug,
    PixelSizes,
    app,
    parse_contrast,
    parse_pixel_size,
)
from blinkcore.cli.console import ErrorReporter, count_of
from blinkcore.cli.messages import say

Source = Annotated[
    Path, typer.Argument(help="Folder of results of predict, or one table.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The page (.html).")]
Samples = Annotated[
    Path | None, typer.Option(help="Sample sheet: CSV with columns image, condition.")
]
Pictures = Annotated[int, typer.Option(min=1, help="Largest number of pictures.")]


Tracks = Annotated[
    Path | None, typer.Option(help="Folder that link wrote for these results.")
]
Pairs = Annotated[
    Path | None, typer.Option(help="Folder that colocalize wrote for these results.")
]


@app.command(rich_help_panel=AFTERWARDS)
def report(
    context: typer.Context,
    source: Source,
    output: Output = Path("report.html"),
    samples: Samples = None,
    contrast: Contrast = "run",
    pictures: Pictures = 60,
    pixel_size: PixelSizes = None,
    tracks: Tracks = None,
    pairs: Pairs = None,
    debug: Debug = False,
) -> None:
    """Write a page with the spots on their images, counts and distributions.

    For example: blinkcore report results -o report.html
    """
    with ErrorReporter(debug):
        if output.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"--output must end in .html, got {output}")
        check_options(context.params)
        limits = parse_contrast(contrast)
        from blinkcore.report.conditions import read_sample_sheet
        from blinkcore.report.page import write_report

        conditions = None if samples is None else read_sample_sheet(samples)
        n = write_report(
            source,
            output,
            conditions=conditions,
            contrast=limits,
            max_pictures=pictures,
            pixel_size=parse_pixel_size(pixel_size),
            tracks=tracks,
            pairs=pairs,
        )
        say(f"Wrote {output}: {count_of(n, 'picture')}")


def check_options(values: dict[str, Any]) -> None:
    """Raise ValueError if an option makes no sense, whatever the results are."""
    parse_contrast(values["contrast"])
    parse_pixel_size(values["pixel_size"])
