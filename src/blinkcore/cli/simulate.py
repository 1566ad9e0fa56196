"""`blinkcore simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from blinkcore.cli.app import MODELS, Debug, app, check_folder, parse_split
from blinkcore.cli.console import ErrorReporter, count_of
from blinkcore.cli.messages import say


@app.command(rich_help_panel=MODELS)
def simulate(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for images and truth, or a data set (.npz)."
        ),
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="Kind of scenes: general, smfish, suntag, particle, microtubule, receptor, vesicle."
        ),
    ] = "general",
    count: Annotated[int, typer.Option(help="Number of scenes.", min=1)] = 10,
    size: Annotated[int, typer.Option(help="Height and width in px.", min=8)] = 256,
    split: Annotated[
        str, typer.Option(help="Shares of a data set: train/valid/test.")
    ] = "0.6/0.2/0.2",
    seed: Annotated[int, typer.Option(help="Same seed, same scenes.", min=0)] = 0,
    debug: Debug = False,
) -> None:
    """Draw random scenes: images with their true spots.

    For example: blinkcore simulate -o scenes --count 10 --preset smfish
    """
    with ErrorReporter(debug):
        import numpy as np

        from blinkcore.simulation.presets import ranges_of
        from blinkcore.simulation.scenes import simulate as draw

        ranges = ranges_of(preset)
        scenes = [
            draw((size, size), np.random.default_rng([seed, i]), ranges=ranges)
            for i in range(count)
        ]
        if output.suffix == ".npz":
            from blinkcore.datasets.dataset import of_scenes

            of_scenes(scenes, parse_split(split), seed).save(output)
        else:
            check_folder(output)
            _write_scenes(scenes, output)
        say(f"Wrote {count_of(count, 'scene')} to {output}")


def _write_scenes(scenes: list[Any], folder: Path) -> None:
    import pandas as pd

    from blinkcore import io

    for number, scene in enumerate(scenes):
        base = folder / f"scene{number:05d}"
        io.write_image(scene.image, base.with_suffix(".tif"))
        truth = pd.DataFrame(scene.points, columns=["y", "x"])
        truth["sigma"], truth["snr"] = scene.sigma, scene.snr
        truth["cramer_rao"] = scene.cramer_rao()
        io.write_spots(truth, base.with_suffix(".csv"))
