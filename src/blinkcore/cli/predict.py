"""`blinkcore predict`."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blinkcore import limits
from blinkcore.cli.app import (
    Amp,
    Axes,
    Debug,
    Device,
    ModelName,
    PixelSizes,
    app,
    parse_pixel_size,
)
from blinkcore.cli.console import Report, one_sentence

if TYPE_CHECKING:
    from blinkcore.batch.run import Options
    from blinkcore.detection.options import PredictOptions


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
        help="Folder for one table an image; or one table of all, .csv or .parquet; "
        "or - for standard output.",
    ),
]
Threshold = Annotated[
    float | None, typer.Option(help="Smallest probability of a spot, 0 to 1.")
]
Fdr = Annotated[
    float | None,
    typer.Option(help="Share of false spots to expect, instead of a threshold."),
]
Radius = Annotated[
    float | None,
    typer.Option(help="Measure intensity in a disk of this radius, px; 3 is usual."),
]
Scale = Annotated[
    str,
    typer.Option(
        help="Resample by this factor for the model, or auto, if spots are wider or "
        "narrower than its own."
    ),
]
Dim = Annotated[
    bool,
    typer.Option(
        "--dim",
        help="Keep dim specks of another class of brightness than the image's spots.",
    ),
]
Channel = Annotated[
    int | None,
    typer.Option(help="Only this channel, from 0; of an RGB image its colour."),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="Of files in a folder, one or several: csv, parquet, roi, zip, xml "
        "(TrackMate), isbi.xml, geojson (QuPath), napari.csv; as in csv,roi.",
    ),
]
List = Annotated[
    Path | None,
    typer.Option("--list", help="File with more inputs, one path a line."),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Look into folders of folders.")
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave finished images alone.")
]
Overlay = Annotated[
    Path | None, typer.Option(help="Folder for pictures with the spots circled.")
]
Status = Annotated[
    Path | None, typer.Option(help="File for a JSON summary at the end.")
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        help="Memory for the pixels of an image, like 8G; if not given, what is free."
    ),
]
Progress = Annotated[
    str | None,
    typer.Option(help="bar, json or none; if not given, bar on a terminal."),
]


@app.command()
def predict(
    inputs: Inputs = None,
    output: Output = "spots",
    model: ModelName = "general",
    threshold: Threshold = None,
    fdr: Fdr = None,
    radius: Radius = None,
    scale: Scale = "1",
    dim: Dim = False,
    channel: Channel = None,
    axes: Axes = None,
    pixel_size: PixelSizes = None,
    device: Device = "auto",
    amp: Amp = True,
    format_: Format = "csv",
    list_: List = None,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    overlay: Overlay = None,
    max_memory: MaxMemory = None,
    status: Status = None,
    progress: Progress = None,
    debug: Debug = False,
) -> None:
    """Find spots in images and write them as tables."""
    report = Report(progress, status)
    with one_sentence(debug, report):
        names = _names(inputs, list_)
        _limit_memory(max_memory)
        formats = tuple(f".{name.strip()}" for name in format_.split(","))
        _check_usage(progress, formats)
        target = None if output == "-" else Path(output)
        _check_format(target, formats, status)
        how = _options(
            threshold=threshold,
            fdr=fdr,
            radius=radius,
            scale=_parse_scale(scale),
            dim=dim,
            channel=channel,
            axes=axes.upper() if axes else None,
            pixel_size=parse_pixel_size(pixel_size),
        )

        from blinkcore.batch.run import Options
        from blinkcore.network.model import load_model

        loaded = load_model(model, device=device, amp=amp)
        _check_writable(target, overlay)
        options = Options(
            model=loaded,
            output=target,
            formats=formats,
            overlay=overlay,
            skip_existing=skip_existing,
            **vars(how),
        )
        _run(names, recursive, options, report)
    report.finish()


def _run(names: list[str], recursive: bool, options: Options, report: Report) -> None:
    from blinkcore.batch.run import find_inputs, predict_files

    found, errors = find_inputs(names, recursive=recursive)
    report.start(len(found) + len(errors))
    for error in errors:
        report.add(error)
    # Closed whatever happens, because closing writes what is done.
    with closing(predict_files(found, options)) as events:
        for event in events:
            report.add(event)


def _names(inputs: list[str] | None, list_: Path | None) -> list[str]:
    names = [*(inputs or []), *_listed(list_)]
    if not names:
        raise ValueError("there is no input; give images, folders or --list FILE")
    return names


def _listed(path: Path | None) -> list[str]:
    if path is None:
        return []
    if path.exists() and not path.is_file():  # a pipe may never end
        raise ValueError(f"--list {path} is not a file")
    try:
        limits.check(path.stat().st_size, limits.LIST, f"--list {path} has {{}} bytes")
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"--list {path} is not a UTF-8 text file") from error
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return [line for line in lines if line.strip()]


def _limit_memory(text: str | None) -> None:
    """Set what --max-memory says, in bytes or with K, M, G or T behind it."""
    if text is None:
        return
    found = re.fullmatch(
        r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE
    )
    if found is None:
        raise ValueError(f"--max-memory must be like 500M or 8G, got {text!r}")
    unit = 1 << 10 * " KMGT".index(found[2].upper() or " ")
    limits.set_max_memory(int(float(found[1]) * unit))


def _options(**values: Any) -> PredictOptions:
    """Check the options of finding spots; an error names the one of the command line."""
    from blinkcore.detection.options import PredictOptions

    try:
        return PredictOptions(**values)
    except ValueError as error:
        raise ValueError(f"--{error}") from error


def _check_usage(progress: str | None, formats: tuple[str, ...]) -> None:
    """Refuse before anything is read what no image could make right."""
    if progress not in (None, "bar", "json", "none"):
        raise ValueError(f"--progress must be bar, json or none, got {progress!r}")
    from blinkcore.io.suffixes import WRITERS

    for name in formats:
        # The description of a result is its .json.
        if name not in WRITERS or name == ".json":
            others = [w for w in WRITERS if w not in (".csv", ".parquet", ".json")]
            known = "csv or parquet, or " + ", ".join(w[1:] for w in others)
            raise ValueError(f"--format must be {known}; got {name[1:]!r}")


def _parse_scale(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


# Of files that people mean by an output, and that are not written.
_FILE_SUFFIXES = frozenset(
    [
        ".tsv",
        ".txt",
        ".xls",
        ".xlsx",
        ".json",
        ".tif",
        ".tiff",
        ".png",
        ".jpg",
        ".npz",
        ".npy",
        ".h5",
        ".zarr",
        ".pkl",
    ]
)


def _check_format(
    target: Path | None, formats: tuple[str, ...], status: Path | None
) -> None:
    """Refuse a format that cannot be written, and a status in the place of a result."""
    from blinkcore.io import tables
    from blinkcore.io.suffixes import WRITERS

    one_table = target is not None and tables.is_table(target)
    if target and not one_table and target.suffix in WRITERS and not target.is_dir():
        raise ValueError(
            f"--output {target}: one table of all is .csv or .parquet; for others give a "
            f"folder and --format {target.suffix[1:]}"
        )
    looks_like_file = target is not None and target.suffix.lower() in _FILE_SUFFIXES
    if target and looks_like_file and not one_table and not target.is_dir():
        raise ValueError(
            f"--output {target}: no table is written as {target.suffix}; one table of all "
            "is .csv or .parquet, anything else is a folder"
        )
    if (target is None or one_table) and len(formats) > 1:
        raise ValueError("--format of several needs a folder as --output")
    if target and one_table and formats not in ((".csv",), (target.suffix.lower(),)):
        raise ValueError(
            f"--output {target} is one table of all, and --format {formats[0][1:]} is of "
            "files in a folder; leave one of them out"
        )
    if target is None or one_table:
        tables.check_format(target.suffix if target else formats[0])
    elif ".parquet" in formats:
        tables.check_format(".parquet")
    if (
        status
        and target
        and status.absolute() == target.with_suffix(".json").absolute()
    ):
        raise ValueError(f"--status {status} is where the table's own .json goes")


def _check_writable(target: Path | None, overlay: Path | None) -> None:
    """Refuse before anything is computed where nothing could be written."""
    from blinkcore.io import tables

    one_table = target is not None and tables.is_table(target)
    if target and one_table and target.is_dir():
        raise ValueError(f"--output {target} is a folder, and a table is to go there")
    for place in (target.parent if target and one_table else target, overlay):
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
            if not os.access(place, os.W_OK):
                raise PermissionError(
                    13, "this folder cannot be written to", str(place)
                )
