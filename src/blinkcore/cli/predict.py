"""The command line: one thin function a command.

torch and pandas take seconds to import, so commands import what they need themselves.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blinkcore import __version__
from blinkcore.console import Report, one_sentence

if TYPE_CHECKING:
    from collections.abc import Generator

    from blinkcore.batch import Event, Options
    from blinkcore.image import PixelSize

app = typer.Typer(
    name="blinkcore",
    help="Find fluorescent spots in microscopy images, threshold-free and sub-pixel.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="List and inspect models.", rich_markup_mode=None)
app.add_typer(models_app, name="models", invoke_without_command=True)

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"blinkcore {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version),
    ] = False,
) -> None:
    pass


@app.command()
def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...", help="Images, folders or patterns like 'day1/*.tif'."
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="Folder for one table an image; or one table of all, .csv or .parquet; "
            "or - for standard output.",
        ),
    ] = "spots",
    model: Annotated[
        str, typer.Option("--model", "-m", help="Bundled name or path of a .pt file.")
    ] = "general",
    threshold: Annotated[
        float | None, typer.Option(help="Least probability of a spot, 0 to 1.")
    ] = None,
    fdr: Annotated[
        float | None,
        typer.Option(help="Share of false spots to expect, instead of a threshold."),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(help="Only this channel, from 0; of an RGB image its colour."),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            help="What the dimensions are, like TYX, if the file does not say."
        ),
    ] = None,
    pixel_size: Annotated[
        str | None,
        typer.Option(help="µm: one number for y and x, or three for z,y,x."),
    ] = None,
    device: Device = "auto",
    format_: Annotated[
        str, typer.Option("--format", help="Of tables in a folder: csv or parquet.")
    ] = "csv",
    list_: Annotated[
        Path | None,
        typer.Option("--list", help="File with more inputs, one path a line."),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into folders of folders.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave finished images alone.")
    ] = False,
    overlay: Annotated[
        Path | None, typer.Option(help="Folder for pictures with the spots circled.")
    ] = None,
    status: Annotated[
        Path | None, typer.Option(help="File for a JSON summary at the end.")
    ] = None,
    progress: Annotated[
        str | None,
        typer.Option(help="bar, json or none; if not given, bar on a terminal."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Find spots in images and write them as tables."""
    report = Report(progress, status)
    with one_sentence(debug, report):
        names = [*(inputs or []), *_listed(list_)]
        if not names:
            raise ValueError("there is no input; give images, folders or --list FILE")
        _check_usage(progress, format_, axes, channel)
        _check_probabilities(threshold, fdr)
        size = _parse_pixel_size(pixel_size)
        target = None if output == "-" else Path(output)
        _check_format(target, format_, status)

        from blinkcore.batch import Options, find_inputs
        from blinkcore.model import load_model

        loaded = load_model(model, device=device)
        _check_writable(target, overlay)
        options = Options(
            model=loaded,
            output=target,
            format=f".{format_}",
            threshold=threshold,
            fdr=fdr,
            channel=channel,
            axes=axes.upper() if axes else None,
            pixel_size=size,
            overlay=overlay,
            skip_existing=skip_existing,
        )
        found, errors = find_inputs(names, recursive=recursive)
        report.start(len(found) + len(errors))
        # Closed whatever happens, because closing writes what is done.
        with closing(_events(found, errors, options)) as events:
            for event in events:
                report.add(event)
    report.finish()


@app.command()
def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file (.pt).")],
    network: Annotated[str, typer.Option(help="blink or deepblink.")] = "blink",
    filters: Annotated[
        int, typer.Option(help="Channels of the first level.", min=1)
    ] = 24,
    steps: Annotated[int, typer.Option(help="Optimizer steps.", min=1)] = 20_000,
    seed: Annotated[int, typer.Option(help="Of weights and scenes.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint.")
    ] = False,
    device: Device = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that draw scenes.")] = 1,
    debug: Debug = False,
) -> None:
    """Train a network on simulated scenes."""
    with one_sentence(debug):
        if network not in ("blink", "deepblink"):
            raise ValueError(f"--network must be blink or deepblink, got {network!r}")
        from blinkcore.train import TrainConfig
        from blinkcore.train import train as run

        logging.getLogger("blinkcore").setLevel(logging.INFO)
        sizes: Any = filters if network == "blink" else [filters] * 3
        config = TrainConfig(
            network=network, arguments={"filters": sizes}, steps=steps, seed=seed
        )
        run(config, output, resume=resume, device=device, workers=workers)


@app.command()
def simulate(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for images and truth.")
    ],
    count: Annotated[int, typer.Option(help="Number of scenes.", min=1)] = 10,
    size: Annotated[int, typer.Option(help="Height and width in px.", min=8)] = 256,
    seed: Annotated[int, typer.Option(help="One seed, one set of scenes.")] = 0,
    debug: Debug = False,
) -> None:
    """Draw random scenes: TIFF images, each with a table of its true spots."""
    with one_sentence(debug):
        import numpy as np
        import pandas as pd

        from blinkcore import io
        from blinkcore.simulate import simulate as draw

        for number in range(count):
            scene = draw((size, size), np.random.default_rng([seed, number]))
            base = output / f"scene{number:05d}"
            io.write_image(scene.image, base.with_suffix(".tif"))
            truth = pd.DataFrame(scene.points, columns=["y", "x"])
            truth["sigma"], truth["snr"] = scene.sigma, scene.snr
            io.write_spots(truth, base.with_suffix(".csv"))
        typer.echo(f"Wrote {count} scenes to {output}", err=True)


@models_app.callback()
def models(context: typer.Context) -> None:
    """List the bundled models."""
    if context.invoked_subcommand is not None:
        return
    with one_sentence(debug=False):
        from blinkcore.model import bundled_models, read_metadata

        row = "{:<12}{:<11}{:>5}{:>14}  {}"
        typer.echo(row.format("name", "network", "cell", "spot sigma", "F1 integral"))
        for name in bundled_models():
            m = read_metadata(name)
            sigma = "{}-{} px".format(*m.spot_sigma)
            score = f"{m.scores.get('f1_integral', float('nan')):.3f}"
            typer.echo(
                row.format(name, m.architecture, f"{m.cell_size} px", sigma, score)
            )


@models_app.command("show")
def show(
    model: Annotated[str, typer.Argument(help="Bundled name or path of a .pt file.")],
    debug: Debug = False,
) -> None:
    """Show what a model says about itself, as JSON."""
    with one_sentence(debug):
        import json
        from dataclasses import asdict

        from blinkcore.model import read_metadata

        typer.echo(json.dumps(asdict(read_metadata(model)), indent=1))


def main() -> None:
    """Run the command line."""
    # A host that cancels sends SIGTERM; finished results are kept as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):  # consoles that cannot show µ
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _forget_old_status(sys.argv)
    app()


def _forget_old_status(words: list[str]) -> None:
    """Remove an older run's status: wrong usage may end this one before it writes its."""
    for word, following in pairwise([*words, ""]):
        name, _, value = word.partition("=")
        if name == "--status":
            with suppress(OSError):
                Path(value or following).unlink()


# What the commands share.


def _events(
    found: list[Any], errors: list[Event], options: Options
) -> Generator[Event]:
    from blinkcore.batch import predict_files

    yield from errors
    yield from predict_files(found, options)


def _listed(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"--list {path} is not a UTF-8 text file") from error
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return [line for line in lines if line.strip()]


def _check_usage(
    progress: str | None,
    format_: str,
    axes: str | None,
    channel: int | None,
) -> None:
    """Refuse before anything is read what no image could make right."""
    if progress not in (None, "bar", "json", "none"):
        raise ValueError(f"--progress must be bar, json or none, got {progress!r}")
    if format_ not in ("csv", "parquet"):
        raise ValueError(f"--format must be csv or parquet, got {format_!r}")
    if channel is not None and channel < 0:
        raise ValueError(f"--channel counts from 0, got {channel}")
    if axes is not None:
        from blinkcore.image import check_axes

        try:
            check_axes(axes.upper(), (1,) * len(axes))
        except ValueError as error:
            raise ValueError(f"--{error}") from error


def _check_probabilities(threshold: float | None, fdr: float | None) -> None:
    from blinkcore.fdr import check_fdr
    from blinkcore.grid import check_threshold

    if threshold is not None:
        check_threshold(threshold)
    if fdr is not None:
        check_fdr(fdr, threshold)


def _check_format(target: Path | None, format_: str, status: Path | None) -> None:
    """Refuse a format that cannot be written, and a status in the place of a result."""
    from blinkcore.io import tables

    one_table = target is not None and tables.is_table(target)
    tables.check_format(target.suffix if target and one_table else f".{format_}")
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


def _parse_pixel_size(text: str | None) -> PixelSize | None:
    if text is None:
        return None
    from blinkcore.image import PixelSize

    try:
        sizes = [float(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in (1, 3) or not all(0 < size < float("inf") for size in sizes):
        raise ValueError(
            f"--pixel-size must be one number in µm, or three for z,y,x, got {text!r}"
        )
    z, y, x = sizes if len(sizes) == 3 else (None, sizes[0], sizes[0])
    return PixelSize(z, y, x)
