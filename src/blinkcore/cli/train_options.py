"""Options of `blinkcore train`: their types with help, and the recipe that may hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from blinkcore.cli.app import WRITING
from blinkcore.cli.recipe_file import known_name, read_yaml
from blinkcore.files import error_sentence

# Groups of options.
SAMPLES, NETWORK, OPTIMIZATION = "Samples", "Network", "Optimization"
VALIDATION = "Validation"


def read_recipe(context: typer.Context, path: Path | None) -> Path | None:
    """Take a recipe's options as defaults; the command line overrides them."""
    if path is not None:
        try:
            context.default_map = _options_of(path, context)
        except (OSError, ValueError) as error:
            raise typer.BadParameter(error_sentence(error)) from error
    return path


Config = Annotated[
    Path | None,
    typer.Argument(
        help="YAML with the options below, each under its long name.",
        callback=read_recipe,
        is_eager=True,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Model file (.pt).", rich_help_panel=WRITING),
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Data set (.npz); without it, simulated scenes.", rich_help_panel=SAMPLES
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", help="Model to start from (fine-tuning).", rich_help_panel=NETWORK
    ),
]
AverageWith = Annotated[
    str | None,
    typer.Option(
        help="Model whose weights are averaged with those of --from.",
        rich_help_panel=NETWORK,
    ),
]
Simulated = Annotated[
    float,
    typer.Option(
        help="Share of simulated scenes beside --data.",
        min=0,
        max=1,
        rich_help_panel=SAMPLES,
    ),
]
Backgrounds = Annotated[
    Path | None,
    typer.Option(
        help="Folder of real images without spots; simulated spots are implanted "
        "into them.",
        rich_help_panel=SAMPLES,
    ),
]
Implanted = Annotated[
    float | None,
    typer.Option(
        help="Share of such samples, with --backgrounds; 0.4.",
        min=0,
        max=1,
        rich_help_panel=SAMPLES,
    ),
]
Preset = Annotated[
    str,
    typer.Option(
        help="Kind of the simulated scenes, as in simulate.", rich_help_panel=SAMPLES
    ),
]
Network = Annotated[
    str | None,
    typer.Option(
        help="blink or deepblink; blink, or that of --from.", rich_help_panel=NETWORK
    ),
]
Filters = Annotated[
    int | None,
    typer.Option(
        help="Channels of the first level; 16, or as in --from.",
        min=1,
        max=1024,
        rich_help_panel=NETWORK,
    ),
]
Depth = Annotated[
    int | None,
    typer.Option(
        help="Convolutions at a quarter of the resolution, for blink; 2, or as in "
        "--from.",
        min=1,
        max=64,
        rich_help_panel=NETWORK,
    ),
]
Levels = Annotated[
    int | None,
    typer.Option(
        help="Resolutions below a half, for blink; 3 (down to 1/16), or as in --from.",
        min=1,
        max=5,
        rich_help_panel=NETWORK,
    ),
]
Dropout = Annotated[
    float | None,
    typer.Option(
        help="Share of channels left out in a step, for deepblink; 0.3, or as in "
        "--from.",
        min=0,
        max=0.9,
        rich_help_panel=NETWORK,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        help="Optimizer steps; 20,000, or 2,000 with --from; 0 calibrates it.",
        min=0,
        max=100000000,
        rich_help_panel=OPTIMIZATION,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        help="Crops per step.", min=1, max=65536, rich_help_panel=OPTIMIZATION
    ),
]
Crop = Annotated[
    int,
    typer.Option(
        help="Side of a crop in px.", min=16, max=8192, rich_help_panel=OPTIMIZATION
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        help="Largest value; 0.002, or 0.0005 with --from.",
        rich_help_panel=OPTIMIZATION,
    ),
]
ValidateEvery = Annotated[
    int | None,
    typer.Option(
        help="Steps; 500, or 100 with --from.", min=1, rich_help_panel=VALIDATION
    ),
]
ValidScenes = Annotated[
    int | None,
    typer.Option(
        help="Simulated scenes to validate on, without --data; 100.",
        min=1,
        max=1000000,
        rich_help_panel=VALIDATION,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Default threshold of the model; if not given, validation chooses it.",
        rich_help_panel=VALIDATION,
    ),
]
Patience = Annotated[
    int,
    typer.Option(
        help="Stop after this many validations without progress.",
        min=0,
        rich_help_panel=VALIDATION,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        help="Seed of the first weights and of the samples.",
        min=0,
        max=2**63 - 1,
        rich_help_panel=OPTIMIZATION,
    ),
]
Resume = Annotated[
    bool, typer.Option(help="Continue from the checkpoint.", rich_help_panel=WRITING)
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace an existing model.", rich_help_panel=WRITING
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        help="Processes that make samples.",
        min=0,
        max=256,
        rich_help_panel=OPTIMIZATION,
    ),
]


def _options_of(path: Path, context: typer.Context) -> dict[str, Any]:
    """Read a recipe: values by the names of the parameters of `train`."""
    content = read_yaml(path, "options, each as 'name: value'")
    options = {
        str(p.name).rstrip("_").replace("_", "-"): p
        for p in context.command.params
        if p.name not in ("config", "debug", "help")
    }
    values = {}
    for key, value in content.items():
        name = known_name(key, options, f"{path}: '{key}' is not an option of train")
        option = options[name]
        is_switch = bool(getattr(option, "is_flag", False))
        if (
            isinstance(value, list | dict | type(None))
            or isinstance(value, bool) != is_switch
        ):
            wanted = "true or false" if is_switch else "one value"
            raise ValueError(f"{path}: '{key}' takes {wanted}, got {_as_yaml(value)}")
        values[str(option.name)] = value if is_switch else str(value)
        try:
            option.process_value(context, values[str(option.name)])
        except typer.BadParameter as error:
            raise ValueError(f"{path}: '{key}': {error.message}") from error
    return values


def _as_yaml(value: Any) -> str:
    return "nothing" if value is None else str(value).lower()
