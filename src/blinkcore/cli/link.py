"""`blinkcore link`."""

from __future__ import annotations

import math
from dataclasses import replace
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
from blinkcore.cli.console import ErrorReporter, count_of
from blinkcore.cli.messages import say

if TYPE_CHECKING:
    from blinkcore.io.results import ImageSpots
    from blinkcore.tracking.results import Summary


Source = Annotated[
    Path, typer.Argument(help="Table of spots, or a folder of results of predict.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for tables and tracks.")
]
Radius = Annotated[
    str, typer.Option(help="Largest step of a spot between frames: px, or like 0.5um.")
]
Gap = Annotated[int, typer.Option(min=0, help="Frames in which a spot may be missing.")]
Splitting = Annotated[bool, typer.Option("--splitting", help="Tracks may split.")]
Merging = Annotated[bool, typer.Option("--merging", help="Tracks may merge.")]
MinSpots = Annotated[
    int, typer.Option(min=1, help="Leave out tracks with fewer spots.")
]
Format = Annotated[
    str, typer.Option("--format", help="One or several of csv, xml (TrackMate), geff.")
]
FrameInterval = Annotated[
    float | None, typer.Option(help="Seconds between frames, if the image did not say.")
]


@app.command(rich_help_panel=AFTERWARDS)
def link(
    context: typer.Context,
    source: Source,
    output: Output = Path("tracks"),
    radius: Radius = "5",
    gap: Gap = 2,
    splitting: Splitting = False,
    merging: Merging = False,
    min_spots: MinSpots = 1,
    format_: Format = "csv,xml",
    pixel_size: PixelSizes = None,
    frame_interval: FrameInterval = None,
    debug: Debug = False,
) -> None:
    """Link the spots of movies to tracks, and measure how they move.

    For example: blinkcore link results -o tracks --radius 3
    """
    with ErrorReporter(debug):
        check_folder(output)
        check_own_folder(output, source)
        check_options(context.params)
        formats = _formats(format_)
        size = parse_pixel_size(pixel_size)
        from blinkcore.io.results import read_results
        from blinkcore.tracking.link import LinkOptions
        from blinkcore.tracking.results import link_movie

        movies = _movies(list(read_results(source, pixel_size=size)), source)
        for movie in movies:
            known = replace(movie, interval=frame_interval or movie.interval)
            options = LinkOptions(
                _reach(radius, known),
                gap,
                splitting,
                merging,
            )
            try:
                found = link_movie(
                    known, output, options, formats=formats, min_spots=min_spots,
                    recorded=options_of(context),
                )  # fmt: skip
            except ValueError as error:
                raise ValueError(f"{movie.image or source}: {error}") from error
            for summary in found:
                say(_sentence(summary))
            if not found:
                say(f"{known.name}: no spots to link")
            elif known.spots["frame"].nunique() == 1:
                say(f"{known.name} has spots in one frame only")
        say(f"Written to {output}")


def check_options(values: dict[str, Any]) -> None:
    """Raise ValueError if an option makes no sense, whatever the spots are."""
    from blinkcore.tracking.results import FORMATS

    interval = values["frame_interval"]
    if interval is not None and not 0 < interval < float("inf"):
        raise ValueError(f"--frame-interval must be above 0 s, got {interval}")
    unknown = [name for name in _formats(values["format_"]) if name not in FORMATS]
    if unknown:
        raise ValueError(f"--format must be csv, xml or geff, got {unknown[0][1:]!r}")
    check_distance("--radius", values["radius"])
    parse_pixel_size(values["pixel_size"])


def _formats(text: str) -> tuple[str, ...]:
    return tuple(f".{name.strip()}" for name in text.split(","))


def _reach(radius: str, movie: ImageSpots) -> float:
    """Return the largest step in px of a movie's x."""
    depth = movie.has_depth
    reach = parse_distance("--radius", radius, movie.pixel_size, in_depth=depth)
    if depth:
        warn_of_depth(movie.name, movie.pixel_size)
    return reach


def _movies(images: list[ImageSpots], source: Path) -> list[ImageSpots]:
    """Leave out single images, each with a sentence, if there are movies."""
    movies = [image for image in images if "frame" in image.spots]
    for image in images if movies else []:
        if "frame" not in image.spots:
            say(f"{image.image or image.name} is not a movie: left out")
    if not movies:
        raise ValueError(
            f"{source}: the table has no column 'frame': tracks need a movie"
        )
    return movies


def _sentence(summary: Summary) -> str:
    tracks = summary.tracks
    text = (
        f"{summary.name}: {count_of(len(tracks), 'track')} of {summary.n_spots} spots"
    )
    mean, low, high = summary.diffusion
    if math.isfinite(mean):
        length, time = summary.units
        text += f", diffusion {mean:.3g} ({low:.3g} to {high:.3g}) {length}²/{time}"
    return text
