"""`blinkcore convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from blinkcore.cli.app import (
    PROGRAMS,
    Axes,
    Debug,
    PixelSizes,
    Unit,
    app,
    parse_pixel_size,
)
from blinkcore.cli.console import ErrorReporter, count_of
from blinkcore.cli.messages import say


@app.command(rich_help_panel=PROGRAMS)
def convert(
    source: Annotated[
        Path, typer.Argument(help="Spots of any format, or a deepBlink model (.h5).")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Its suffix chooses the format.")
    ],
    image: Annotated[
        Path | None,
        typer.Option(help="The image of the spots: stack positions, sizes, links."),
    ] = None,
    axes: Axes = None,
    pixel_size: PixelSizes = None,
    unit: Unit = "auto",
    debug: Debug = False,
) -> None:
    """Turn spots into another format, or a deepBlink model into one of blinkcore.

    For example: blinkcore convert results/a.csv -o a.geojson
    """
    with ErrorReporter(debug):
        if not source.exists():
            raise FileNotFoundError(2, "there is no such file", str(source))
        if source.suffix.lower() in (".h5", ".hdf5"):
            from blinkcore.convert import convert_deepblink

            if output.suffix != ".pt":
                raise ValueError(f"--output of a model must end in .pt, got {output}")
            made = convert_deepblink(source, output)
            say(
                f"Wrote {output}: deepblink, filters {made.arguments['filters']}, cells "
                f"of {made.cell_size} px"
            )
            return
        from blinkcore import io

        size, sizes = parse_pixel_size(pixel_size), None
        axes = axes or _axes_beside(source)
        if image is not None:
            about = io.read_image(image, axes=axes, pixel_size=size)
            size, sizes = about.pixel_size, about.sizes
        spots = io.read_labels(source, unit=unit, pixel_size=size, sizes=sizes)
        if image is None and (named := _image_of(spots, axes, size)) is not None:
            image, about = named
            size = about.pixel_size
            sizes = about.sizes
        lost = io.write_spots(spots, output, image=image, sizes=sizes, pixel_size=size)
        note = f"; it cannot hold {', '.join(lost)}" if lost else ""
        say(f"Wrote {output}: {count_of(len(spots), 'spot')}{note}")


def _axes_beside(source: Path) -> str | None:
    """Return the --axes of the run that made a table, from the table's sidecar."""
    from blinkcore import io

    sidecar = io.description_of(source)
    axes = sidecar.get("options", {}).get("axes") if sidecar else None
    return str(axes) if axes else None


def _image_of(spots: Any, axes: str | None, size: Any) -> tuple[Path, Any] | None:
    """Read the one image that a table names, if it exists and the spots fit in it."""
    from blinkcore import io
    from blinkcore.io.scenes import file_and_scene
    from blinkcore.spots import AXIS_COLUMNS

    names = set(spots["image"]) - {""} if "image" in spots.columns else set()
    if len(names) != 1:
        return None
    path = Path(names.pop())
    try:
        image = io.read_image(path, axes=axes, pixel_size=size)
    except (OSError, ValueError):
        return None
    fits = all(
        name not in spots.columns or (spots[name] <= image.size(axis) - 0.5).all()
        for axis, name in AXIS_COLUMNS.items()
    )
    return (file_and_scene(path)[0], image) if fits else None
