"""`blinkcore models`, `blinkcore export` and `blinkcore convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from blinkcore.cli.app import Axes, Debug, PixelSizes, Unit, app, parse_pixel_size
from blinkcore.cli.console import one_sentence

models_app = typer.Typer(help="List and inspect models.", rich_markup_mode=None)
app.add_typer(models_app, name="models", invoke_without_command=True)


@models_app.callback()
def models(
    context: typer.Context,
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """List the models: bundled, and of the registry if there is one."""
    if context.invoked_subcommand is not None:
        return
    with one_sentence(debug=False):
        if format_ not in ("text", "json"):
            raise ValueError(f"--format must be text or json, got {format_!r}")
        import json
        from dataclasses import asdict

        from blinkcore.network.model import bundled_models, read_metadata
        from blinkcore.network.registry import registered_models

        bundled = bundled_models()
        files = bundled | {
            n: path for n, path in registered_models().items() if n not in bundled
        }
        known = {n: read_metadata(path) for n, path in files.items() if path}
        if format_ == "json":
            records = {
                n: asdict(known[n]) if n in known else {"downloaded": False}
                for n in files
            }
            typer.echo(json.dumps(records, indent=1))
            return
        row = "{:<12}{:<11}{:>5}{:>14}  {}"
        typer.echo(row.format("name", "network", "cell", "spot sigma", "F1 integral"))
        for name in files:
            if name not in known:
                typer.echo(f"{name:<12}in the registry, downloaded when it is used")
                continue
            m = known[name]
            sigma = "{}-{} px".format(*m.spot_sigma) if m.spot_sigma else "not known"
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

        from blinkcore.network.model import read_metadata

        typer.echo(json.dumps(asdict(read_metadata(model)), indent=1))


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Bundled name or path of a .pt file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Package to write (.zip).")
    ],
    bioimageio: Annotated[
        bool, typer.Option("--bioimageio", help="As a package of BioImage.IO.")
    ] = False,
    image: Annotated[
        Path | None,
        typer.Option(
            help="Its middle is the test image; a simulated one if not given."
        ),
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option(help="Of the model; may be repeated.")
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="SPDX identifier.")
    ] = "MIT",
    debug: Debug = False,
) -> None:
    """Pack a model for other programs: deepImageJ, QuPath, ilastik."""
    with one_sentence(debug):
        if not bioimageio:
            raise ValueError("say as what to pack the model: --bioimageio")
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
        typer.echo(
            f"Wrote {output}: BioImage.IO accepts it and gets the test output", err=True
        )


def _scene() -> Any:
    """Draw a scene with cells and bright spots."""
    import numpy as np

    from blinkcore.simulation.presets import ranges_of
    from blinkcore.simulation.scenes import simulate

    return simulate(
        (256, 256), np.random.default_rng(1), ranges=ranges_of("smfish")
    ).image


def _axes_beside(source: Path) -> str | None:
    """Give the axes that the run was told that made a table, as its sidecar says."""
    from blinkcore import io

    sidecar = io.read_sidecar(source.with_suffix(".json"))
    axes = sidecar.get("options", {}).get("axes") if sidecar else None
    return str(axes) if axes else None


def _image_of(spots: Any, axes: str | None, size: Any) -> tuple[Path, Any] | None:
    """Give the image that a table of one image names, if it is there and has its spots."""
    from blinkcore import io
    from blinkcore.spots import PLACES

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
        for axis, name in PLACES.items()
    )
    return (path, image) if fits else None


@app.command()
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
    """Turn spots into another format, or a deepBlink model into one of blinkcore."""
    with one_sentence(debug):
        if not source.exists():
            raise FileNotFoundError(2, "there is no such file", str(source))
        if source.suffix.lower() in (".h5", ".hdf5"):
            from blinkcore.convert import convert_deepblink

            if output.suffix != ".pt":
                raise ValueError(f"--output of a model must end in .pt, got {output}")
            made = convert_deepblink(source, output)
            typer.echo(
                f"Wrote {output}: deepblink, filters {made.arguments['filters']}, cells "
                f"of {made.cell_size} px",
                err=True,
            )
            return
        from blinkcore import io

        size, sizes = parse_pixel_size(pixel_size), None
        axes = axes.upper() if axes else _axes_beside(source)
        if image is not None:
            about = io.read_image(image, axes=axes, pixel_size=size)
            size, sizes = about.pixel_size, about.sizes
        spots = io.read_labels(source, unit=unit, pixel_size=size, sizes=sizes)
        if image is None and (named := _image_of(spots, axes, size)) is not None:
            image, about = named
            size = about.pixel_size
            sizes = about.sizes
        lost = io.write_spots(spots, output, image=image, sizes=sizes, pixel_size=size)
        said = f"; it cannot hold {', '.join(lost)}" if lost else ""
        typer.echo(f"Wrote {output}: {len(spots)} spots{said}", err=True)
