"""`blinkcore train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from blinkcore.cli.app import MODELS, Amp, Debug, Device, app
from blinkcore.cli.console import INTERRUPTED, ErrorReporter, Report
from blinkcore.cli.train_options import (
    AverageWith,
    Backgrounds,
    BatchSize,
    Config,
    Crop,
    Data,
    Depth,
    Dropout,
    Filters,
    From,
    Implanted,
    LearningRate,
    Levels,
    Network,
    Output,
    Overwrite,
    Patience,
    Preset,
    Resume,
    Seed,
    Simulated,
    Steps,
    Threshold,
    ValidateEvery,
    ValidScenes,
    Workers,
)

if TYPE_CHECKING:
    from blinkcore.training.recipe import TrainConfig
# Options that only one of the networks has; --filters is for both.
_OWNERS = {"depth": "blink", "levels": "blink", "dropout": "deepblink"}
_SIZES = ("filters", *_OWNERS)


@app.command(rich_help_panel=MODELS)
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
    overwrite: Overwrite = False,
    device: Device = "auto",
    workers: Workers = 1,
    debug: Debug = False,
) -> None:
    """Train a network on your own labels, on simulated scenes, or on both.

    For example: blinkcore train -o own.pt --from general --data labels.npz
    """
    report = Report("none", None)
    with ErrorReporter(debug, report, verbose=True):
        values = dict(context.params)
        if values["output"] is None:
            raise ValueError("name the model file to write: --output MODEL.pt")
        target = Path(values["output"])
        if target.suffix != ".pt":
            raise ValueError(f"--output of a model must end in .pt, got {target}")
        if target.exists() and not resume and not overwrite:
            goes_on = "--resume continues its training, "
            has_checkpoint = target.with_suffix(".checkpoint").exists()
            raise ValueError(
                f"{target} exists already: {goes_on if has_checkpoint else ''}"
                "--overwrite replaces it"
            )
        recipe = _recipe(values)
        _run(recipe, target, values, report)


def _run(
    recipe: TrainConfig, target: Path, values: dict[str, Any], report: Report
) -> None:
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
        report.tell(
            f"Interrupted: {kept}; --resume continues the training", is_warning=False
        )
        raise typer.Exit(INTERRUPTED) from None
    picture = plot_log(target.with_suffix(".csv"), target.with_suffix(".png"))
    score = made.scores["f1_integral"]
    if recipe.start and recipe.steps and made.provenance["best_step"] == 0:
        report.tell(
            f"no step was better than the start: {target} holds {recipe.start}, "
            "calibrated on the validation split",
            is_warning=True,
        )
    report.tell(
        f"Wrote {target}: F1 integral {score:.3f} on the validation split, threshold "
        f"{made.threshold:g}{'; curves: ' + str(picture) if picture else ''}",
        is_warning=False,
    )


def _recipe(values: dict[str, Any]) -> TrainConfig:
    start = values["from_"] or ""
    for name in ("network", *_SIZES):
        if start and values[name] is not None:
            raise ValueError(
                f"--{name} cannot be combined with --from {start}, whose network it would change"
            )
    from blinkcore.datasets.backgrounds import sha256_of_backgrounds
    from blinkcore.files import sha256_of
    from blinkcore.network.model import read_metadata
    from blinkcore.network.networks import NETWORKS, network_of
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
        raise ValueError("--average-with needs a model to start from: give --from")
    ranges = ranges_of(values["preset"])
    _check_recipe(values, network_of(network, arguments).stride)
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
            raise ValueError(
                f"--{name} is an option of the network {_OWNERS[name]} only"
            )
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
    _check_sources(values)


def _check_sources(values: dict[str, Any]) -> None:
    """Refuse shares of samples, and options of simulated scenes, that have no effect."""
    if values["implanted"] and values["backgrounds"] is None:
        raise ValueError(
            "--implanted is the share of samples from --backgrounds FOLDER"
        )
    if (values["implanted"] or 0) + values["simulated"] > 1:
        raise ValueError("--implanted and --simulated are shares: at most 1 together")
    if values["data"] is None and values["simulated"]:
        raise ValueError("--simulated needs --data; without it all are simulated")
    given = values["data"] is not None
    if given and values["valid_scenes"] is not None:
        raise ValueError("--valid-scenes has no effect with --data")
    if given and not values["simulated"] and values["preset"] != "general":
        raise ValueError("--preset is for simulated scenes: give --simulated a share")
