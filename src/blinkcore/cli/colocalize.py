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
    check_distance,
    check_folder,
    check_own_folder,
    options_of,
    parse_distance,
    parse_pixel_size,
    warn_of_depth,
)
from blinkcore.cli.console import ErrorReporter
from blinkcore.cli.messages import say

if TYPE_CHECKING:
    from blinkcore.colocalization.channels import Channels
    from blinkcore.colocalization.results import ImagePairs
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
    """Pair the spots of two channels, and compare with what chance would give.

    For example: blinkcore colocalize red green -o pairs --distance 2
    """
    with ErrorReporter(debug):
        check_folder(output)
        check_own_folder(output, first, second)
        check_options(context.params)
        pair = _channels(channels)
        if second is not None and second.resolve() == first.resolve():
            raise ValueError(f"{first} is given twice; give the other channel")
        from blinkcore.colocalization import channels as reading
        from blinkcore.colocalization import results

        size = parse_pixel_size(pixel_size)
        images = reading.read_channels(first, second, pair, size)
        reaches = [_reach(distance, both) for both in images]
        found = _shift(
            images, pair, calibration, shift, size, largest=largest_shift,
            distance=reaches[0],
        )  # fmt: skip
        if found is not None:
            found.save(output / "shift.json")
            say(_shift_sentence(found))
            if not found.z_unit and any(both.first.has_depth for both in images):
                say("the shift has no part along z: its spots have no z")
        pairs, recorded = [], options_of(context)
        for both, reach in zip(images, reaches, strict=True):
            mask = None if labels is None else reading.label_of(both, labels)
            pairs.append(
                results.colocalize_image(
                    both, output, distance=reach, shift=found, labels=mask,
                    recorded=recorded,
                )
            )  # fmt: skip
            say(_sentence(pairs[-1:]))
        if len(pairs) > 1:
            say(_sentence(pairs))
        results.write_summary(pairs, output, recorded)
        say(f"Written to {output}")


def check_options(values: dict[str, Any]) -> None:
    """Raise ValueError if an option makes no sense, whatever the spots are."""
    from blinkcore.colocalization.shift import MODELS

    shift, largest = values["shift"], values["largest_shift"]
    if shift not in ("none", *MODELS):
        known = " or ".join(["none", *MODELS])
        raise ValueError(f"--shift must be {known}, got {shift!r}")
    if not 0 < largest < float("inf"):
        raise ValueError(f"--largest-shift must be above 0 px, got {largest}")
    first, second = _channels(values["channels"])
    if first == second:
        raise ValueError(f"--channels must be two different ones, got {first} twice")
    check_distance("--distance", values["distance"])
    parse_pixel_size(values["pixel_size"])


def _reach(distance: str, both: Channels) -> float:
    """Return the largest distance of a pair in px of an image."""
    depth = both.first.has_depth and both.second.has_depth
    size = both.first.pixel_size
    reach = parse_distance("--distance", distance, size, in_depth=depth)
    if depth:
        warn_of_depth(both.name, size)
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
        known = Shift.load(calibration)
        if model not in ("none", known.model):
            raise ValueError(f"--shift {model}: {calibration} holds a {known.model}")
        return known
    beads = read_beads(calibration, pair, pixel_size)
    return shift_between(beads, "affine" if model == "none" else model, **limits)


def _shift_sentence(shift: Shift) -> str:
    """Describe a shift in a line."""
    y, x = shift.offset
    unit = shift.z_unit.replace("um", "µm")
    along_z = f", {shift.offset_z:+.2f} {unit} in z" if shift.z_unit else ""
    return (
        f"shift of the second channel: {y:+.2f} px in y, {x:+.2f} px in x{along_z} "
        f"({shift.model}, {shift.n_pairs} pairs, {shift.residual:.2f} px left)"
    )


def _sentence(pairs: list[ImagePairs]) -> str:
    """Say how many spots of one or all images are pairs, and what chance gives."""
    import numpy as np

    from blinkcore.colocalization.colocalize import Chance

    n, n_first, n_second = (
        sum(one.total[key] for one in pairs)
        for key in ("n_pairs", "n_first", "n_second")
    )
    chance = Chance.of(np.sum([one.by_chance for one in pairs], axis=0))
    name = pairs[0].name if len(pairs) == 1 else f"all {len(pairs)} images"
    return (
        f"{name}: {n} of {n_first} and {n_second} spots are pairs; by chance "
        f"{chance.mean:.1f} ({chance.low:.0f} to {chance.high:.0f})"
    )
