"""Metadata of a trained model: data, recipe, revision, scores."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import blinkcore
from blinkcore.datasets.backgrounds import describe_backgrounds
from blinkcore.network.metadata import Metadata

if TYPE_CHECKING:
    from blinkcore.network.networks import AnyNetwork
    from blinkcore.training.recipe import TrainConfig
    from blinkcore.training.validation import Validation


def describe(
    network: AnyNetwork,
    config: TrainConfig,
    step: int,
    validation: Validation,
) -> Metadata:
    """Make the record of a trained network.

    Parameters
    ----------
    network : AnyNetwork
        As it will be saved.
    config : TrainConfig
        The recipe.
    step : int
        Steps after which the network was best.
    validation : Validation
        Its scores, calibration and threshold there.

    Returns
    -------
    Metadata
    """
    return Metadata.of(
        network,
        threshold=validation.threshold,
        calibration=validation.calibration,
        count_spread=validation.count_spread,
        spot_sigma=None
        if config.data and not config.simulated
        else config.ranges.sigma,
        provenance={
            "data": about_data(config),
            "backgrounds": describe_backgrounds(config.backgrounds),
            "command": shlex.join(["blinkcore", *sys.argv[1:]]),
            "recipe": asdict(config),
            "best_step": step,
            "blinkcore": blinkcore.__version__,
            "revision": _revision(),
            "torch": torch.__version__,
        },
        scores=validation.scores,
    )


def about_data(config: TrainConfig) -> str:
    """Say what a recipe trains on."""
    scenes = "simulated scenes of blinkcore.simulation, drawn on the fly"
    if config.backgrounds:
        planes = (
            f"simulated spots in the real planes of {Path(config.backgrounds).name}"
        )
        share = f"{config.implanted:.0%} {planes}"
        rest = about_data(replace(config, backgrounds=""))
        return f"{share}, the rest {rest}"
    if not config.data:
        return scenes
    own = f"{Path(config.data).name} (sha256 {config.data_sha256[:16]})"
    return f"{own} and {config.simulated:.0%} {scenes}" if config.simulated else own


def _revision() -> str | None:
    """Read the commit of the source, if it is a git checkout."""
    folder = Path(blinkcore.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
