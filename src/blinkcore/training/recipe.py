"""The recipe of a training run: everything that its result depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from blinkcore.simulation.ranges import GENERAL, SceneRanges


@dataclass(frozen=True)
class TrainConfig:
    """Everything that the result of a training run depends on.

    Attributes
    ----------
    network : {"blink", "deepblink"}
        See `blinkcore.network.networks`.
    arguments : dict
        Sizes of the network, for example ``{"filters": 24}``.
    steps : int
        Optimizer steps.
    batch_size, crop : int
        Scenes per step, and their side in px.
    learning_rate : float
        The largest one; it warms up over the first 2 % and falls as a cosine.
    weight_decay : float
        Of AdamW.
    ema : float
        Share that the averaged weights keep at each step.
    validate_every : int
        Steps between two validations, which also write the checkpoint.
    n_valid : int
        Validation scenes, 256 x 256 px.
    seed : int
        Of weights and scenes.
    ranges : SceneRanges
        What the scenes are drawn from.
    data : str
        Data set (.npz) to train and validate on; empty: simulated scenes only.
    data_sha256 : str
        SHA-256 of that file; a checkpoint cannot be resumed with another file.
    simulated : float
        Share of simulated scenes among the training samples, where there are data.
    backgrounds : str
        Folder of real images without spots, into which simulated ones are implanted
        (`blinkcore.simulation.implant`); empty: none.
    backgrounds_sha256 : str
        SHA-256 of these images; a checkpoint cannot be resumed with others.
    implanted : float
        Share of such samples in training, and in validation where there are no data.
    start : str
        Model whose weights to begin with (fine-tuning); empty: random ones.
    average_with : str
        Model of the same network whose weights are averaged with those of `start` before
        the first step (Wortsman et al. 2022, arXiv:2203.05482); empty: none.
    threshold : float or None
        Default threshold of the model; None: the one of
        `blinkcore.training.validation.CANDIDATE_THRESHOLDS` with the largest F1 integral.
    patience : int
        Stop after this many validations without an improvement; 0: never.
    amp : bool
        Compute in half precision where the device is faster in it (see `half_precision`);
        weights, losses and the exported model stay in single.
    """

    network: str = "blink"
    arguments: dict[str, Any] = field(default_factory=dict)
    steps: int = 20_000
    batch_size: int = 8
    crop: int = 192
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    ema: float = 0.999
    validate_every: int = 500
    n_valid: int = 100
    seed: int = 0
    ranges: SceneRanges = GENERAL
    data: str = ""
    data_sha256: str = ""
    simulated: float = 0.0
    backgrounds: str = ""
    backgrounds_sha256: str = ""
    implanted: float = 0.0
    start: str = ""
    average_with: str = ""
    threshold: float | None = None
    patience: int = 0
    amp: bool = True


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the rate at a step (from 0): linear warm-up, then cosine decay to 0."""
    warm_up = max(1, config.steps // 50)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, config.steps - warm_up)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
