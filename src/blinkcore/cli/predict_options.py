"""Options of `blinkcore predict`: their types with help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blinkcore.cli.app import READING, WRITING
from blinkcore.cli.messages import RUNNING

_SPOTS = "Which spots"

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...", help="Images, folders or patterns like 'day1/*.tif'."
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        help="Folder for one table per image; or one table of all, .csv or .parquet; "
        "or - for standard output.",
        rich_help_panel=WRITING,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        "-t",
        help="Keep spots with a probability above this, 0 to 1 (the model's own if not given).",
        rich_help_panel=_SPOTS,
    ),
]
Fdr = Annotated[
    float | None,
    typer.Option(
        help="Share of false spots to expect, instead of a threshold.",
        rich_help_panel=_SPOTS,
    ),
]
Radius = Annotated[
    float | None,
    typer.Option(
        help="Measure intensity in a disk of this radius, px; 3 is usual.",
        rich_help_panel=_SPOTS,
    ),
]
Measure = Annotated[
    str | None,
    typer.Option(
        help="Fit a Gaussian to each spot: poisson (photons) or lsq (least squares).",
        rich_help_panel=_SPOTS,
    ),
]
CameraOption = Annotated[
    str | None,
    typer.Option(
        "--camera",
        help="For --measure: OFFSET,GAIN in counts and counts per photon, optionally "
        ",READ_NOISE in photons.",
        rich_help_panel=_SPOTS,
    ),
]
Molecules = Annotated[
    bool,
    typer.Option(
        "--molecules",
        help="Molecules in each spot: its intensity over the channel's median.",
        rich_help_panel=_SPOTS,
    ),
]
Scale = Annotated[
    str,
    typer.Option(
        help="Resample by this factor for the model, or auto, if spots are wider or "
        "narrower than its own.",
        rich_help_panel=_SPOTS,
    ),
]
Dim = Annotated[
    bool,
    typer.Option(
        "--dim",
        help="Keep dim specks of another class of brightness than the image's spots.",
        rich_help_panel=_SPOTS,
    ),
]
Z = Annotated[
    str,
    typer.Option(
        help="For a stack: objects (one row per spot), planes (one row for each plane "
        "in which it is seen) or max (the maximum projection).",
        rich_help_panel=_SPOTS,
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        help="Label image of cells, or a folder of them with the names of the images; "
        "NAME=PATH for parts of the cells. Spots are counted in each cell.",
        rich_help_panel=_SPOTS,
    ),
]
Channel = Annotated[
    int | None,
    typer.Option(
        help="Only this channel, from 0; of an RGB image its colour.",
        rich_help_panel=READING,
    ),
]
Level = Annotated[
    int,
    typer.Option(
        help="Resolution of OME-Zarr, from 0, the finest.", rich_help_panel=READING
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="For files in a folder, one or several: csv, parquet, roi, zip, xml "
        "(TrackMate), isbi.xml, geojson (QuPath), napari.csv, spots.zarr (SpatialData); "
        "as in csv,roi.",
        rich_help_panel=WRITING,
    ),
]
List = Annotated[
    Path | None,
    typer.Option(
        "--list",
        help="File with more inputs, one path per line.",
        rich_help_panel=READING,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Many processes: local, their number, or the address of a dask scheduler, "
        "like tcp://host:8786.",
        rich_help_panel=RUNNING,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        help="Only part I of N of the inputs, like 3/100, for array jobs.",
        rich_help_panel=READING,
    ),
]
Recursive = Annotated[
    bool,
    typer.Option(
        "--recursive",
        "-r",
        help="Look into folders of folders.",
        rich_help_panel=READING,
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing", help="Leave finished images alone.", rich_help_panel=WRITING
    ),
]
Overlay = Annotated[
    Path | None,
    typer.Option(
        help="Folder for pictures with the spots circled.", rich_help_panel=WRITING
    ),
]
ReportPage = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Page about the results (.html), see report.",
        rich_help_panel=WRITING,
    ),
]
Status = Annotated[
    Path | None,
    typer.Option(help="File for a JSON summary at the end.", rich_help_panel=WRITING),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        help="Memory for the pixels of an image, like 8G; if not given, what is free.",
        rich_help_panel=READING,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        help="Seconds after which an image is given up.", rich_help_panel=READING
    ),
]
AllowTruncated = Annotated[
    bool,
    typer.Option(
        "--allow-truncated",
        help="Read what is left of files that were cut off.",
        rich_help_panel=READING,
    ),
]
Progress = Annotated[
    str | None,
    typer.Option(
        help="bar, json or none; if not given, bar on a terminal.",
        rich_help_panel=RUNNING,
    ),
]
