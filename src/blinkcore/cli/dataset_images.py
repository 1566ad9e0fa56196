"""`blinkcore dataset backgrounds` and `suggest`: images that nobody has labelled yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blinkcore.cli.app import Axes, Debug, Device, ModelName
from blinkcore.cli.console import ErrorReporter, count_of
from blinkcore.cli.dataset import check_picture, dataset_app, image_files
from blinkcore.cli.messages import print_line, say


@dataset_app.command()
def backgrounds(
    folder: Annotated[Path, typer.Argument(help="Images without spots.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Contact sheet of training samples (.png)."
        ),
    ] = None,
    model: ModelName = "general",
    count: Annotated[int, typer.Option(help="Samples to draw.", min=1)] = 16,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Check images for `train --backgrounds`; ends with 1 if some seem to have spots.

    For example: blinkcore dataset backgrounds empty/ -o samples.png
    """
    with ErrorReporter(debug):
        from blinkcore.datasets import backgrounds as module
        from blinkcore.detection import overlay
        from blinkcore.network.model import load_model

        if output is not None:
            check_picture(output)
        planes = module.load_backgrounds(folder)
        found = module.spots_in_backgrounds(planes, load_model(model, device=device))
        for plane in found:
            mark = "  <- look at it: are these spots?" if plane.has_spots else ""
            print_line(
                f"{plane.name}: {count_of(plane.n_spots, 'spot')} found, "
                f"{plane.per_megapixel:.0f} per megapixel{mark}"
            )
        if output is not None:
            overlay.write_sheet(module.training_samples(planes, count), output)
            say(f"Wrote {output}: {count_of(count, 'training sample')}")
        n_wrong = sum(plane.has_spots for plane in found)
        say(f"{n_wrong} of {len(found)} planes seem to have spots")
        if n_wrong:
            raise typer.Exit(1)


@dataset_app.command()
def suggest(
    images: Annotated[Path, typer.Argument(help="Folder of images without labels.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for crops and suggest.csv.")
    ],
    model: ModelName = "general",
    data: Annotated[
        Path | None, typer.Option(help="Data set that is labelled already (.npz).")
    ] = None,
    count: Annotated[int, typer.Option(help="Crops to choose.", min=1)] = 10,
    crop: Annotated[int, typer.Option(help="Side of a crop in px.", min=32)] = 128,
    axes: Axes = None,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Choose the crops whose labels would teach a model most.

    For example: blinkcore dataset suggest images -o suggested
    """
    with ErrorReporter(debug):
        from blinkcore.datasets import suggest as module
        from blinkcore.datasets.dataset import load_dataset
        from blinkcore.network.model import load_model

        known = load_dataset(data).samples if data else ()
        chosen = module.suggest(
            image_files(images),
            load_model(model, device=device),
            known=known,
            count=count,
            crop=crop,
            axes=axes,
        )
        module.write(chosen, output)
        say(f"Wrote {count_of(len(chosen), 'crop')} and suggest.csv to {output}")
