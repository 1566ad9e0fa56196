"""`blinkcore train`."""

from __future__ import annotations

import inspect
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blinkcore.cli.app import Amp, Debug, Device, app
from blinkcore.cli.console import INTERRUPTED, one_sentence

if TYPE_CHECKING:
    from blinkcore.training.recipe import TrainConfig
# Options that are arguments of one network alone; --filters is of both.
_OWNERS = {"depth": "blink", "levels": "blink", "dropout": "deepblink"}
_SIZES = ("filters", *_OWNERS)


Config = Annotated[
    Path | None,
    typer.Argument(help="YAML with the options below, each under its long name."),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Model file (.pt).")
]
Data = Annotated[
    Path | None,
    typer.Option(help="Data set (.npz); without it, simulated scenes."),
]
From = Annotated[
    str | None, typer.Option("--from", help="Model to go on from (fine-tuning).")
]
AverageWith = Annotated[
    str | None,
    typer.Option(help="Model whose weights are averaged with those of --from."),
]
Simulated = Annotated[
    float,
    typer.Option(help="Share of simulated scenes beside --data.", min=0, max=1),
]
Backgrounds = Annotated[
    Path | None,
    typer.Option(
        help="Folder of real images without spots; simulated spots are implanted "
        "into them."
    ),
]
Implanted = Annotated[
    float | None,
    typer.Option(help="Share of such samples, with --backgrounds; 0.4.", min=0, max=1),
]
Preset = Annotated[
    str, typer.Option(help="Kind of the simulated scenes, as in simulate.")
]
Network = Annotated[
    str | None,
    typer.Option(help="blink or deepblink; blink, or that of --from."),
]
Filters = Annotated[
    int | None,
    typer.Option(help="Channels of the first level; 16, or as in --from.", min=1),
]
Depth = Annotated[
    int | None,
    typer.Option(
        help="Convolutions at a quarter of the resolution, for blink; 2, or as in "
        "--from.",
        min=1,
    ),
]
Levels = Annotated[
    int | None,
    typer.Option(
        help="Resolutions below a half, for blink; 3 (down to 1/16), or as in --from.",
        min=1,
        max=5,
    ),
]
Dropout = Annotated[
    float | None,
    typer.Option(
        help="Share of channels left out in a step, for deepblink; 0.3, or as in "
        "--from.",
        min=0,
        max=0.9,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        help="Optimizer steps; 20,000, or 2,000 with --from; 0 calibrates it.",
        min=0,
    ),
]
BatchSize = Annotated[int, typer.Option(help="Crops a step.", min=1)]
Crop = Annotated[int, typer.Option(help="Side of a crop in px.", min=16)]
LearningRate = Annotated[
    float | None, typer.Option(help="The largest; 0.002, or 0.0005 with --from.")
]
ValidateEvery = Annotated[
    int | None, typer.Option(help="Steps; 500, or 100 with --from.", min=1)
]
ValidScenes = Annotated[
    int | None,
    typer.Option(help="Simulated scenes to validate on, without --data; 100.", min=1),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Default threshold of the model; if not given, validation chooses it."
    ),
]
Patience = Annotated[
    int,
    typer.Option(help="Stop after so many validations without a better one.", min=0),
]
Seed = Annotated[int, typer.Option(help="Of weights and samples.", min=0)]
Resume = Annotated[bool, typer.Option(help="Go on from the checkpoint.")]
Workers = Annotated[int, typer.Option(help="Processes that make samples.", min=0)]


@app.command()
def train(
    context: typer.Context,
    config: Config = None,
    output: Output = None,
    data: Data = None,
    from_: From = None,
    average_with: AverageWith = None,
    simulated: Simulated = 0.0,
    backgrounds: Backgrounds = None,
    implanted: Implanted = None,
    preset: Preset = "general",
    network: Network = None,
    filters: Filters = None,
    depth: Depth = None,
    levels: Levels = None,
    dropout: Dropout = None,
    steps: Steps = None,
    batch_size: BatchSize = 8,
    crop: Crop = 192,
    learning_rate: LearningRate = None,
    validate_every: ValidateEvery = None,
    valid_scenes: ValidScenes = None,
    threshold: Threshold = None,
    patience: Patience = 0,
    seed: Seed = 0,
    amp: Amp = True,
    resume: Resume = False,
    device: Device = "cpu",
    workers: Workers = 1,
    debug: Debug = False,
) -> None:
    """Train a network on own labels, on simulated scenes, or on both."""
    with one_sentence(debug):
        if config is not None:
            # What stands on the command line comes later and so wins.
            given = sys.argv[2:]
            del given[[Path(word) == config for word in given].index(True)]
            app(["train", *_words_of(config), *given])
        values = dict(context.params)
        if values["output"] is None:
            raise ValueError("say where the model goes: --output MODEL.pt")
        target = Path(values["output"])
        if target.suffix != ".pt":
            raise ValueError(f"--output of a model must end in .pt, got {target}")
        recipe = _recipe(values)
        logging.getLogger("blinkcore").setLevel(logging.INFO)
        _run(recipe, target, values)


def _run(recipe: TrainConfig, target: Path, values: dict[str, Any]) -> None:
    from blinkcore.training.log import plot_log
    from blinkcore.training.train import train as run

    try:
        made = run(
            recipe,
            target,
            resume=values["resume"],
            device=values["device"],
            workers=values["workers"],
        )
    except KeyboardInterrupt:
        kept = (
            f"{target} holds the best so far" if target.exists() else "nothing is kept"
        )
        typer.echo(f"Interrupted: {kept}; --resume goes on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    picture = plot_log(target.with_suffix(".csv"), target.with_suffix(".png"))
    score = made.scores["f1_integral"]
    typer.echo(
        f"Wrote {target}: F1 integral {score:.3f} on the validation part, threshold "
        f"{made.threshold:g}{'; curves: ' + str(picture) if picture else ''}",
        err=True,
    )


def _words_of(path: Path) -> list[str]:
    """Turn a recipe into options, so that both are checked by the same code."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        at = f" (line {where.line + 1})" if where else ""
        raise ValueError(f"{path} is not valid YAML{at}") from error
    if not isinstance(content, dict):
        raise ValueError(  # noqa: TRY004 (what a user wrote, not a wrong call)
            f"{path} must hold options, each as 'name: value'"
        )
    options = {
        n.rstrip("_").replace("_", "-"): parameter.default
        for n, parameter in inspect.signature(train).parameters.items()
        if n not in ("context", "config", "debug")
    }
    words = []
    for key, value in content.items():
        name = str(key).replace("_", "-")
        if name not in options:
            raise ValueError(
                f"{path}: '{key}' is no option of train; there are {', '.join(options)}"
            )
        is_switch = isinstance(options[name], bool)
        if (
            isinstance(value, list | dict | type(None))
            or isinstance(value, bool) != is_switch
        ):
            wanted = "true or false" if is_switch else "one value"
            raise ValueError(f"{path}: '{key}' takes {wanted}, got {_as_yaml(value)}")
        if is_switch:
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", str(value)]
    return words


def _as_yaml(value: Any) -> str:
    return "nothing" if value is None else str(value).lower()


def _recipe(values: dict[str, Any]) -> TrainConfig:
    start = values["from_"] or ""
    for name in ("network", *_SIZES):
        if start and values[name] is not None:
            raise ValueError(f"--{name} is that of --from {start}; leave it out")
    from blinkcore.datasets.backgrounds import sha256_of_backgrounds
    from blinkcore.files import sha256_of
    from blinkcore.network.model import read_metadata
    from blinkcore.network.networks import NETWORKS
    from blinkcore.simulation.presets import ranges_of
    from blinkcore.training.recipe import TrainConfig

    network = values["network"] or "blink"
    if network not in NETWORKS:
        known = " or ".join(NETWORKS)
        raise ValueError(f"--network must be {known}, got {network!r}")

    arguments = _sizes(network, values)
    if start:
        metadata = read_metadata(start)
        network, arguments = metadata.architecture, metadata.arguments
    elif values["average_with"]:
        raise ValueError("--average-with is beside a model to go on with: give --from")
    ranges = ranges_of(values["preset"])
    _check_recipe(values, NETWORKS[network](**arguments).stride)
    data, backgrounds = values["data"], values["backgrounds"]
    share = values["implanted"]
    share = (0.4 if backgrounds else 0.0) if share is None else share

    def chosen(name: str, fresh: float, tuned: float) -> Any:
        if values[name] is not None:
            return values[name]
        return tuned if start else fresh

    return TrainConfig(
        network=network,
        arguments=arguments,
        steps=chosen("steps", 20_000, 2_000),
        batch_size=values["batch_size"],
        crop=values["crop"],
        learning_rate=chosen("learning_rate", 2e-3, 5e-4),
        validate_every=chosen("validate_every", 500, 100),
        n_valid=values["valid_scenes"] or 100,
        seed=values["seed"],
        ranges=ranges,
        data=str(data or ""),
        data_sha256=sha256_of(data) if data else "",
        simulated=values["simulated"],
        backgrounds=str(backgrounds or ""),
        backgrounds_sha256=sha256_of_backgrounds(backgrounds) if backgrounds else "",
        implanted=share,
        start=start,
        average_with=values["average_with"] or "",
        threshold=values["threshold"],
        patience=values["patience"],
        amp=values["amp"],
    )


def _sizes(network: str, values: dict[str, Any]) -> dict[str, Any]:
    given = {n: values[n] for n in _SIZES if values[n] is not None}
    filters = given.pop("filters", 16)
    for name in given:
        if _OWNERS[name] != network:
            raise ValueError(f"--{name} is of {_OWNERS[name]}, not of {network}")
    return {"filters": filters if network == "blink" else [filters] * 3, **given}


def _check_recipe(values: dict[str, Any], stride: int) -> None:
    from blinkcore.network.calibration import check_threshold

    if values["crop"] % stride:
        raise ValueError(
            f"--crop must be a multiple of {stride} px for this network, got "
            f"{values['crop']}"
        )
    if values["steps"] == 0 and not values["from_"]:
        raise ValueError("--steps 0 calibrates a model: name it with --from")
    if values["threshold"] is not None:
        check_threshold(values["threshold"])
    rate = values["learning_rate"]
    if rate is not None and not 0 < rate < 1:
        raise ValueError(f"--learning-rate must be between 0 and 1, got {rate:g}")
    if values["implanted"] and values["backgrounds"] is None:
        raise ValueError(
            "--implanted is the share of samples from --backgrounds FOLDER"
        )
    if (values["implanted"] or 0) + values["simulated"] > 1:
        raise ValueError("--implanted and --simulated are shares: at most 1 together")
    if values["data"] is None and values["simulated"]:
        raise ValueError("--simulated is a share beside --data; without data all are")
    given = values["data"] is not None
    if given and values["valid_scenes"] is not None:
        raise ValueError("--valid-scenes are of a training without --data")
    if given and not values["simulated"] and values["preset"] != "general":
        raise ValueError("--preset is of simulated scenes: give --simulated a share")
