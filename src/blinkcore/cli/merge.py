"""`blinkcore merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blinkcore.cli.app import AFTERWARDS, Debug, app, expanded
from blinkcore.cli.console import ErrorReporter, count_of
from blinkcore.cli.messages import say, warn
from blinkcore.files import escaped

Tables = Annotated[
    list[str],
    typer.Argument(
        metavar="TABLE...",
        help="Results of predict, folders of them, or patterns such as part*.csv.",
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Table of all, .csv or .parquet.")
]


@app.command(rich_help_panel=AFTERWARDS)
def merge(sources: Tables, output: Output, debug: Debug = False) -> None:
    """Join tables of several runs, such as the jobs of an array, and their counts.

    For example: blinkcore merge part*.csv -o all.csv
    """
    with ErrorReporter(debug):
        from blinkcore.batch.merge import merge as merge_tables

        merged = merge_tables([Path(s) for s in expanded(sources)], output)
        for image in merged.failed:
            warn(
                f"{escaped(image['image'])} is missing, because its run could not "
                f"search it: {escaped(image['error'])}"
            )
        say(
            f"{count_of(merged.n_spots, 'spot')} in {count_of(merged.n_images, 'image')}; "
            f"written to {output}"
        )
