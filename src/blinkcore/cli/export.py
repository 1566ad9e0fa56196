"""`blinkcore export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from blinkcore.cli.app import PROGRAMS, Debug, app
from blinkcore.cli.console import ErrorReporter
from blinkcore.cli.messages import say


@app.command(rich_help_panel=PROGRAMS)
def export(
    model: Annotated[str, typer.Argument(help="Name of a model, or path.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Package (.zip) or model (.onnx) to write."
        ),
    ],
    bioimageio: Annotated[
        bool, typer.Option("--bioimageio", help="As a package of BioImage.IO.")
    ] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="As ONNX, which predict runs, too.")
    ] = False,
    image: Annotated[
        Path | None,
        typer.Option(
            help="Image whose middle is the test image; if not given, simulated."
        ),
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option(help="Author of the model; may be repeated.")
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="SPDX identifier.")
    ] = "MIT",
    debug: Debug = False,
) -> None:
    """Pack a model for other programs: deepImageJ, QuPath, ilastik, onnxruntime.

    For example: blinkcore export general -o general.onnx --onnx
    """
    with ErrorReporter(debug):
        if bioimageio == onnx:
            raise ValueError("choose the format of the model: --bioimageio or --onnx")
        if onnx:
            _export_onnx(model, output)
            return
        if output.suffix != ".zip":
            raise ValueError(f"--output of a package must end in .zip, got {output}")
        from blinkcore import io
        from blinkcore.export import export_bioimageio

        pixels = io.read_image(image).middle_plane().data if image else _scene()
        export_bioimageio(
            model,
            output,
            pixels,
            authors=author or ["The blinkcore developers"],
            license_=license_,
        )
        say(f"Wrote {output}: BioImage.IO accepts it and gets the test output")


def _export_onnx(model: str, output: Path) -> None:
    """Write a model as ONNX, and say how near its grids are to those of TorchScript."""
    if output.suffix != ".onnx":
        raise ValueError(f"--output of ONNX must end in .onnx, got {output}")
    from blinkcore.export import export_onnx

    difference = export_onnx(model, output)
    say(f"Wrote {output}: onnxruntime gives the same grids within {difference:.1g}")


def _scene() -> Any:
    """Draw a scene with cells and bright spots."""
    import numpy as np

    from blinkcore.simulation.presets import ranges_of
    from blinkcore.simulation.scenes import simulate

    return simulate(
        (256, 256), np.random.default_rng(1), ranges=ranges_of("smfish")
    ).image
