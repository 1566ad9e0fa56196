"""`blinkcore colocalize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blinkcore.cli.app import (
    AFTERWARDS,
    Debug,
    PixelSizes,
    app,
    check_folder,
    parse_distance,
    parse_pixel_size,
    record_step,
)
from blinkcore.cli.console import one_sentence

if TYPE_CHECKING:
    from blinkcore.colocalization.channels import Channels
    from blinkcore.colocalization.shift import Shift
    from blinkcore.image import PixelSize

First = Annotated[
    Path, typer.Argument(help="Table of spots, or a folder of results of predict.")
]
Second = Annotated[
    Path | None,
    typer.Argument(help="The same for the other channel; else --channels of one."),
]
ChannelPair = Annotated[str, typer.Option(help="Two channels of one table, from 0.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the tables.")]
Distance = Annotated[
    str, typer.Option(help="Largest distance of a pair: px, or like 0.25um.")
]
ShiftModel = Annotated[
    str,
    typer.Option(
        "--shift", help="Correct the shift between channels: none, translation, affine."
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        help="Estimate the shift from this image of beads in both channels (or a folder "
        "of such images, or a table of their spots), or take it from a shift.json; "
        "without it, from the pair itself."
    ),
]
LargestShift = Annotated[float, typer.Option(help="Largest shift to look for, px.")]
Labels = Annotated[
    Path | None,
    typer.Option(help="Label image of cells, or a folder: chance within the cells."),
]


@app.command(rich_help_panel=AFTERWARDS)
def colocalize(
    context: typer.Context,
    first: First,
    second: Second = None,
    output: Output = Path("colocalization"),
    channels: ChannelPair = "0,1",
    distance: Distance = "2",
    shift: ShiftModel = "none",
    calibration: Calibration = None,
    largest_shift: LargestShift = 10.0,
    labels: Labels = None,
    pixel_size: PixelSizes = None,
    debug: Debug = False,
) -> None:
    """Pair the spots of two channels, and compare with what chance would give."""
    with one_sentence(debug):
        check_folder(output)
        pair = _channels(channels)
        from blinkcore.colocalization import channels as reading
        from blinkcore.colocalization import results
        from blinkcore.colocalization.shift import MODELS

        if shift not in ("none", *MODELS):
            known = " or ".join(["none", *MODELS])
            raise ValueError(f"--shift must be {known}, got {shift!r}")
        size = parse_pixel_size(pixel_size)
        images = reading.read_channels(first, second, pair, size)
        reaches = [_reach(distance, both) for both in images]
        found = _shift(
            images, pair, calibration, shift, size, largest=largest_shift,
            distance=reaches[0],
        )  # fmt: skip
        if found is not None:
            found.save(output / "shift.json")
            y, x = found.offset
            along_z = f", {found.offset_z:+.2f} px in z" if found.offset_z else ""
            typer.echo(
                f"shift of the second channel: {y:+.2f} px in y, {x:+.2f} px in x{along_z} "
                f"({found.model}, {found.n_pairs} pairs, {found.residual:.2f} px left)",
                err=True,
            )
        tables = []
        for both, reach in zip(images, reaches, strict=True):
            mask = None if labels is None else reading.label_of(both, labels)
            table = results.colocalize_image(
                both, output, distance=reach, shift=found, labels=mask
            )
            tables.append(table)
            typer.echo(_sentence(both.name, table), err=True)
        results.write_summary(tables, output)
        record_step(context, output)
        typer.echo(f"Written to {output}", err=True)


def _reach(distance: str, both: Channels) -> float:
    """Give the largest distance of a pair in px of an image."""
    reach = parse_distance("--distance", distance, both.first.pixel_size)
    if not reach > 0:
        raise ValueError(f"--distance must be above 0, got {distance}")
    return reach


def _channels(text: str) -> tuple[int, int]:
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(
            f"--channels must be two numbers like 0,1, got {text!r}"
        ) from error
    return first, second


def _shift(
    images: list[Channels],
    pair: tuple[int, int],
    calibration: Path | None,
    model: str,
    pixel_size: PixelSize | None,
    **limits: float,
) -> Shift | None:
    """Read the shift, or estimate it from beads or from the images themselves."""
    from blinkcore.colocalization.channels import read_beads
    from blinkcore.colocalization.results import shift_between
    from blinkcore.colocalization.shift import Shift

    if calibration is None:
        return None if model == "none" else shift_between(images, model, **limits)
    if calibration.suffix.lower() == ".json":
        return Shift.load(calibration)
    beads = read_beads(calibration, pair, pixel_size)
    return shift_between(beads, "affine" if model == "none" else model, **limits)


def _sentence(name: str, table: Any) -> str:
    whole = table[table["cell"].isna()] if "cell" in table else table
    n = int(whole["n_pairs"].sum())
    chance = float(whole["chance"].sum())
    # Frames are independent: their intervals add up as standard errors do.
    spread = float(
        (((whole["chance_high"] - whole["chance_low"]) / 2) ** 2).sum() ** 0.5
    )
    return (
        f"{name}: {n} of {int(whole['n_first'].sum())} and "
        f"{int(whole['n_second'].sum())} spots are pairs; by chance "
        f"{chance:.1f} ({max(0.0, chance - spread):.0f} to {chance + spread:.0f})"
    )
