"""Train a network on simulated scenes: one loop that reads from top to bottom.

Every sample is drawn from the seed and its number, so a training that was cut and resumed
ends, on a CPU, with the same bits as one that was not.
"""

from __future__ import annotations

import copy
import csv
import logging
import math
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

import blinkcore
from blinkcore import grid, normalize
from blinkcore.evaluate import evaluate
from blinkcore.files import whole_file
from blinkcore.losses import grid_loss
from blinkcore.model import Metadata, pick_device, read_metadata, save_model
from blinkcore.networks import NETWORKS, Blink, DeepBlink
from blinkcore.simulate import GENERAL, Scene, SceneRanges, simulate

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_TRAINING, _VALIDATION = 0, 1  # second word of the seeds: no scene is in both
THRESHOLD = 0.5
SCORES = ("f1_integral", "f1", "precision", "recall", "rmse")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides how a training goes.

    Attributes
    ----------
    network : {"blink", "deepblink"}
        See `blinkcore.networks`.
    arguments : dict
        Sizes of the network, for example ``{"filters": 24}``.
    steps : int
        Optimizer steps.
    batch_size, crop : int
        Scenes a step, and their side in px.
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


def train(
    config: TrainConfig,
    output: str | os.PathLike[str],
    *,
    resume: bool = False,
    device: str = "cpu",
    workers: int = 1,
) -> Metadata:
    """Train a network and write the best model that validation saw.

    Parameters
    ----------
    config : TrainConfig
        The recipe.
    output : str or path
        Of the model (.pt). Beside it lie `<name>.csv`, one row a validation, and
        `<name>.checkpoint`.
    resume : bool
        Go on from the checkpoint beside `output`, if there is one.
    device : str
        For PyTorch.
    workers : int
        Processes that draw scenes.

    Returns
    -------
    Metadata
        Of the written model.

    Raises
    ------
    ValueError
        If the checkpoint was written with another recipe, or the device is not there.
    """
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    device = pick_device(device)
    checkpoint = output.with_suffix(".checkpoint")
    torch.manual_seed(config.seed)
    state = _State.fresh(config, device)
    if resume and checkpoint.exists():
        state.load(checkpoint, config)
    log = output.with_suffix(".csv")
    if state.step == 0:
        _write_row(log, "w", ["step", "loss", "learning_rate", "seconds", *SCORES])
    valid = [_sample(config, _VALIDATION, i, 256) for i in range(config.n_valid)]

    started = time.monotonic()
    losses: list[float] = []
    for images, grids in _batches(config, state.step, workers):
        rate = learning_rate(state.step, config)
        torch.manual_seed(config.seed + state.step)  # of the dropout
        losses.append(_step(state, images.to(device), grids.to(device), rate))
        state.step += 1
        if state.step % config.validate_every and state.step < config.steps:
            continue
        network = state.averaged_network
        scores = validate(network, valid)
        loss, seconds = float(np.mean(losses)), time.monotonic() - started
        _write_row(log, "a", [state.step, loss, rate, seconds, *scores.values()])
        logger.info("step %d: loss %.5f, %s", state.step, loss, scores)
        losses.clear()
        if scores["f1_integral"] > state.best or not output.exists():
            state.best = scores["f1_integral"]
            best = copy.deepcopy(network).cpu()
            save_model(best, _describe(best, config, state.step, scores), output)
        state.save(checkpoint, config)
    return read_metadata(output)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate at a step (from 0): linear warm-up, then half a cosine down to zero."""
    warm_up = max(1, config.steps // 50)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, config.steps - warm_up)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def validate(network: Blink | DeepBlink, scenes: Sequence[Scene]) -> dict[str, float]:
    """Score a network on scenes by the code that scores predictions.

    Parameters
    ----------
    network : Blink or DeepBlink
        Put into evaluation mode.
    scenes : sequence of Scene
        Sides are multiples of the network's stride.

    Returns
    -------
    dict
        Means over the scenes of the fields in `SCORES`; RMSE over the scenes with a match.
    """
    network.eval()
    device = next(network.parameters()).device
    rows = []
    for scene in scenes:
        pixels = torch.from_numpy(_normalized(scene, network.normalization))
        with torch.inference_mode():
            raw = network(pixels[None, None].to(device))
            cells = network.activate(raw)[0].cpu().numpy()
        spots = grid.decode(
            cells,
            cell_size=network.cell_size,
            cell_map=network.cell_map,
            threshold=THRESHOLD,
            merge_distance=network.merge_distance,
        )
        scores = asdict(evaluate(scene.points, spots[:, :2]))
        rows.append([scores[name] for name in SCORES])
    table = np.array(rows)
    has_match = np.isfinite(table).all(axis=1)
    means = table.mean(axis=0)
    means[-1] = table[has_match, -1].mean() if has_match.any() else 0.0
    return {name: float(mean) for name, mean in zip(SCORES, means, strict=True)}


@dataclass
class _State:
    """What a checkpoint holds."""

    network: Blink | DeepBlink
    averaged: torch.optim.swa_utils.AveragedModel
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    best: float = -1.0

    @classmethod
    def fresh(cls, config: TrainConfig, device: str) -> _State:
        network = NETWORKS[config.network](**config.arguments).to(device)

        def average(old: Tensor, new: Tensor, n: Tensor | int) -> Tensor:
            # Young averages forget faster: the first weights are noise.
            keep = min(config.ema, (1.0 + float(n)) / (10.0 + float(n)))
            return old + (1.0 - keep) * (new - old)

        averaged = torch.optim.swa_utils.AveragedModel(
            network, avg_fn=average, use_buffers=True
        )
        optimizer = torch.optim.AdamW(
            network.parameters(), weight_decay=config.weight_decay
        )
        scaler = torch.amp.GradScaler(enabled=device.startswith("cuda"))
        return cls(network, averaged, optimizer, scaler)

    @property
    def averaged_network(self) -> Blink | DeepBlink:
        return cast("Blink | DeepBlink", self.averaged.module)

    def save(self, path: Path, config: TrainConfig) -> None:
        content = {name: getattr(self, name).state_dict() for name in _MODULES}
        content |= {"step": self.step, "best": self.best, "config": asdict(config)}
        with whole_file(path) as temporary:
            torch.save(content, temporary)

    def load(self, path: Path, config: TrainConfig) -> None:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["config"] != asdict(config):
            raise ValueError(
                f"{path} was written with another recipe; resume with the same options "
                "or remove it"
            )
        for name in _MODULES:
            getattr(self, name).load_state_dict(content[name])
        self.step, self.best = content["step"], content["best"]


_MODULES = ("network", "averaged", "optimizer", "scaler")


def _step(state: _State, images: Tensor, grids: Tensor, rate: float) -> float:
    """Take one optimizer step and give its loss."""
    network = state.network.train()
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(images.device.type, enabled=state.scaler.is_enabled()):
        raw = network(images).float()
        offsets = network.offsets(raw)
        loss = grid_loss(raw, grids, offsets, cell_size=network.cell_size)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    state.scaler.unscale_(state.optimizer)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.averaged.update_parameters(network)
    return float(loss.detach())


class _Scenes(TorchDataset[tuple[Tensor, Tensor]]):
    """Normalized scenes and their grids, numbered through the whole training."""

    def __init__(self, config: TrainConfig, first: int) -> None:
        self.config, self.first = config, first
        self.network = NETWORKS[config.network](**config.arguments)

    def __len__(self) -> int:
        return self.config.steps * self.config.batch_size - self.first

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        side, network = self.config.crop, self.network
        scene = _sample(self.config, _TRAINING, self.first + index, side)
        cells = grid.encode(
            scene.points,
            (side // network.cell_size, side // network.cell_size),
            cell_size=network.cell_size,
            cell_map=network.cell_map,
        )
        pixels = torch.from_numpy(_normalized(scene, network.normalization))
        return pixels[None], torch.from_numpy(cells)


def _batches(
    config: TrainConfig, step: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    scenes = _Scenes(config, step * config.batch_size)
    yield from DataLoader(
        scenes,
        batch_size=config.batch_size,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _sample(config: TrainConfig, part: int, number: int, side: int) -> Scene:
    rng = np.random.default_rng([config.seed, part, number])
    return simulate((side, side), rng, ranges=config.ranges)


def _normalized(scene: Scene, method: str) -> NDArray[np.float32]:
    return normalize.normalized(
        scene.image, normalize.plane_scaling(scene.image, method)
    )


def _describe(
    network: Blink | DeepBlink,
    config: TrainConfig,
    step: int,
    scores: dict[str, float],
) -> Metadata:
    return Metadata(
        architecture=config.network,
        arguments=network.arguments,
        cell_size=network.cell_size,
        cell_map=network.cell_map,
        stride=network.stride,
        receptive_field=network.receptive_field,
        normalization=network.normalization,
        threshold=THRESHOLD,
        merge_distance=network.merge_distance,
        spot_sigma=config.ranges.sigma,
        provenance={
            "data": "simulated scenes of blinkcore.simulate, drawn on the fly",
            "command": shlex.join(["blinkcore", *sys.argv[1:]]),
            "recipe": asdict(config),
            "best_step": step,
            "blinkcore": blinkcore.__version__,
            "revision": _revision(),
            "torch": torch.__version__,
        },
        scores=scores,
    )


def _revision() -> str | None:
    """Commit of the source, if it is a git checkout."""
    folder = Path(blinkcore.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _write_row(path: Path, mode: str, values: Sequence[object]) -> None:
    with path.open(mode, newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(values)
