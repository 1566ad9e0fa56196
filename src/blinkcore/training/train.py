"""Train a network on own labels, simulated scenes or both: one loop, top to bottom.

Every sample is drawn from the seed and its number, so a training that was cut and resumed
ends, on a CPU, with the same bits as one that was not.
"""

from __future__ import annotations

import copy
import csv
import logging
import math
import pickle
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import optimize
from torch import Tensor
from torch.optim import swa_utils
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

import blinkcore
from blinkcore.datasets.backgrounds import (
    Background,
    describe_backgrounds,
    load_backgrounds,
    split_backgrounds,
)
from blinkcore.datasets.dataset import Sample, inside, load_dataset
from blinkcore.detection.refine import refined
from blinkcore.evaluation.scores import CUTOFF, evaluate, match
from blinkcore.files import whole_file
from blinkcore.network import grid, normalize
from blinkcore.network.calibration import fit_spread
from blinkcore.network.losses import grid_loss
from blinkcore.network.model import (
    Metadata,
    half_precision,
    load_weights,
    pick_device,
    read_metadata,
    save_model,
    whole_grid,
)
from blinkcore.network.networks import NETWORKS, Blink, DeepBlink
from blinkcore.simulation.implant import implant
from blinkcore.simulation.ranges import GENERAL, SceneRanges
from blinkcore.simulation.scenes import Scene, simulate

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_TRAINING, _VALIDATION = 0, 1  # second word of the seeds: no scene is in both
_LEAST = 0.02  # probability of the spots that calibration is fitted to
# Validation chooses among these: where most spots are dim, leaving out all that are likelier
# noise than not costs more F1 than it gains.
THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
SCORES = ("f1_integral", "f1", "precision", "recall", "rmse")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides how a training goes.

    Attributes
    ----------
    network : {"blink", "deepblink"}
        See `blinkcore.network.networks`.
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
    data : str
        Data set (.npz) to train and validate on; empty: simulated scenes only.
    data_sha256 : str
        Of that file: a checkpoint fits no other.
    simulated : float
        Share of simulated scenes among the training samples, where there are data.
    backgrounds : str
        Folder of real images without spots, into which simulated ones are implanted
        (`blinkcore.simulation.implant`); empty: none.
    backgrounds_sha256 : str
        Of these images: a checkpoint fits no others.
    implanted : float
        Share of such samples in training, and in validation where there are no data.
    start : str
        Model whose weights to begin with (fine-tuning); empty: random ones.
    patience : int
        Validations without a better one after which to stop; 0: never.
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
    patience: int = 0
    amp: bool = True


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
        Of the model (.pt). Beside it lie `<name>.csv`, one row a validation,
        `<name>.checkpoint` and, where TensorBoard is installed, `<name>.tensorboard`.
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
    source = _Source.of(config)
    state = _State.fresh(config, device)
    if resume and checkpoint.exists():
        state.load(checkpoint, config)
    log = output.with_suffix(".csv")
    if state.step == 0:
        _write_row(log, "w", ["step", "loss", "learning_rate", "seconds", *SCORES])
    valid = source.validation()
    board = _tensorboard(output.with_suffix(".tensorboard"), state.step)

    started, first = time.monotonic(), state.step
    losses: list[Tensor] = []
    for images, grids in _batches(source, state.step, workers, device):
        rate = learning_rate(state.step, config)
        torch.manual_seed(config.seed + state.step)  # of the dropout
        images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
        grids = grids.to(device, non_blocking=True)
        losses.append(_step(state, images, grids, rate))
        state.step += 1
        state.average(config.ema)
        if state.step % config.validate_every and state.step < config.steps:
            continue
        network = state.averaged
        result = validate(network, valid)
        scores = result.scores
        loss, seconds = float(torch.stack(losses).mean()), time.monotonic() - started
        _write_row(log, "a", [state.step, loss, rate, seconds, *scores.values()])
        if board is not None:
            for name, value in {"loss": loss, "learning_rate": rate, **scores}.items():
                board.add_scalar(name, value, state.step)
            board.flush()
        left = seconds / (state.step - first) * (config.steps - state.step)
        logger.info(
            "step %d of %d: loss %.5f, F1 integral %.3f, F1 %.3f, RMSE %.2f px, "
            "%.0f min left",
            *(state.step, config.steps, loss),
            *(scores["f1_integral"], scores["f1"], scores["rmse"], left / 60),
        )
        losses.clear()
        state.waited += 1
        if scores["f1_integral"] > state.best or not output.exists():
            state.best, state.waited = scores["f1_integral"], 0
            best = copy.deepcopy(network).cpu()
            metadata = _describe(best, config, state.step, result)
            save_model(best, metadata, output)
        state.save(checkpoint, config)
        if config.patience and state.waited >= config.patience:
            logger.info("no better validation for %d: stopped", state.waited)
            break
    return read_metadata(output)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate at a step (from 0): linear warm-up, then half a cosine down to zero."""
    warm_up = max(1, config.steps // 50)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, config.steps - warm_up)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Validation:
    """How a network does on scenes.

    Attributes
    ----------
    calibration : tuple of float
        See `blinkcore.network.grid.calibrated`.
    threshold : float
        The one of `THRESHOLDS` with the largest F1 integral.
    count_spread : float or None
        See `blinkcore.network.calibration.fit_spread`; at this threshold.
    scores : dict
        At this threshold, means over the scenes of the fields in `SCORES`; RMSE over the
        scenes with a match.
    """

    calibration: tuple[float, float]
    threshold: float
    count_spread: float | None
    scores: dict[str, float]


def validate(network: Blink | DeepBlink, scenes: Sequence[Scene]) -> Validation:
    """Score a network on scenes by the code that scores predictions.

    Parameters
    ----------
    network : Blink or DeepBlink
        Put into evaluation mode.
    scenes : sequence of Scene
        Of any size.

    Returns
    -------
    Validation
    """
    network.eval()
    found = [_find(network, scene.image) for scene in scenes]
    real = [_real(scene, spots) for scene, spots in zip(scenes, found, strict=True)]
    calibration = _fit_calibration(found, real)
    for spots in found:
        spots[:, 2] = grid.calibrated(spots[:, 2], calibration)
    results = {t: _mean_scores(scenes, found, t) for t in THRESHOLDS}
    best = max(THRESHOLDS, key=lambda t: results[t]["f1_integral"])
    kept = [spots[spots[:, 2] > best] for spots in found]
    spread = fit_spread(
        (spots[:, 2], int(_real(scene, spots).sum()))
        for scene, spots in zip(scenes, kept, strict=True)
    )
    return Validation(calibration, best, spread, results[best])


def _find(network: Blink | DeepBlink, image: NDArray[Any]) -> NDArray[np.float64]:
    """Find spots as `blinkcore.detection.predict` does, doubtful ones too, not calibrated yet."""
    pixels = _normalized(image, network.normalization)
    whole = torch.from_numpy(normalize.filled(pixels, network.stride))
    device = next(network.parameters()).device
    with torch.inference_mode():
        cells = whole_grid(network)(whole[None, None].to(device))
    spots = grid.decode(
        cells[0].cpu().numpy(),
        cell_size=network.cell_size,
        cell_map=network.cell_map,
        threshold=_LEAST,
        merge_distance=network.merge_distance,
    )
    return refined(pixels, spots) if network.predicts_error else spots


def _real(scene: Scene, spots: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each spot is matched to a true one."""
    is_real = np.zeros(len(spots), bool)
    if len(spots) and len(scene.points):
        is_real[match(scene.points, spots[:, :2], cutoff=CUTOFF)[:, 1]] = True
    return is_real


def _fit_calibration(
    found: Sequence[NDArray[np.float64]], real: Sequence[NDArray[np.bool_]]
) -> tuple[float, float]:
    """Fit how often spots are real to their probabilities, by maximum likelihood."""
    p = np.clip(np.concatenate(found)[:, 2], 1e-6, 1.0 - 1e-6)
    x, y = np.log(p / (1.0 - p)), np.concatenate(real).astype(float)
    if len(y) < 200 or not 0.02 < y.mean() < 0.98:
        return 0.0, 1.0  # too little to go by

    def cost(ab: NDArray[np.float64]) -> float:
        z = ab[0] + ab[1] * x
        return float((np.logaddexp(0.0, z) - y * z).mean())

    a, b = optimize.minimize(cost, (0.0, 1.0), bounds=((-5, 5), (0.2, 5))).x
    return float(a), float(b)


def _mean_scores(
    scenes: Sequence[Scene], found: Sequence[NDArray[np.float64]], threshold: float
) -> dict[str, float]:
    rows = []
    for scene, spots in zip(scenes, found, strict=True):
        kept = spots[spots[:, 2] > threshold, :2]
        scores = asdict(evaluate(scene.points, kept))
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
    averaged: Blink | DeepBlink
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    half: torch.dtype | None
    step: int = 0
    best: float = -1.0
    waited: int = 0

    @classmethod
    def fresh(cls, config: TrainConfig, device: str) -> _State:
        network = NETWORKS[config.network](**config.arguments).to(device)
        if config.start:
            network.load_state_dict(load_weights(config.start))
        network.to(memory_format=torch.channels_last)  # a sixth faster on a CPU
        optimizer = torch.optim.AdamW(
            network.parameters(),
            weight_decay=config.weight_decay,
            # In one kernel on a GPU, which then need not wait to see if gradients are finite.
            fused=device.startswith("cuda"),
        )
        half = half_precision(device) if config.amp else None
        # Gradients in float16 vanish unless scaled up; bfloat16 has the range of float32.
        scaler = torch.amp.GradScaler(enabled=half == torch.float16)
        return cls(network, copy.deepcopy(network), optimizer, scaler, half)

    @torch.no_grad()
    def average(self, ema: float) -> None:
        """Move the averaged weights towards those of this step."""
        # Young averages forget faster: the first weights are noise.
        keep = min(ema, self.step / (9.0 + self.step))
        old, new = (
            [value for value in n.state_dict().values() if value.is_floating_point()]
            for n in (self.averaged, self.network)
        )
        move = swa_utils.get_ema_multi_avg_fn(keep)  # type: ignore[no-untyped-call]
        move(old, new, None)

    def save(self, path: Path, config: TrainConfig) -> None:
        content = {name: getattr(self, name).state_dict() for name in _MODULES}
        content |= {name: getattr(self, name) for name in _NUMBERS}
        content["config"] = asdict(config)
        with whole_file(path) as temporary:
            torch.save(content, temporary)

    def load(self, path: Path, config: TrainConfig) -> None:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            recipe = content["config"]
        except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError) as error:
            raise ValueError(f"{path} is no checkpoint of a training") from error
        now = asdict(config)
        changed = [name for name, value in now.items() if recipe.get(name) != value]
        changed = [name for name in changed if name not in _MAY_CHANGE]
        if changed:
            raise ValueError(
                f"{path} was written with another recipe (its {', '.join(changed)} "
                "differs); resume with the same options or remove it"
            )
        for name in _MODULES:
            getattr(self, name).load_state_dict(content[name])
        for name in _NUMBERS:
            setattr(self, name, content[name])


_NUMBERS = ("step", "best", "waited")
_MAY_CHANGE = ("patience",)  # from one call to the next: it decides no weight
_MODULES = ("network", "averaged", "optimizer", "scaler")


def _step(state: _State, images: Tensor, grids: Tensor, rate: float) -> Tensor:
    """Take one optimizer step and give its loss, which a GPU may still be at."""
    network = state.network.train()
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(
        images.device.type, dtype=state.half, enabled=state.half is not None
    ):
        raw = network(images)
    raw = raw.float()
    loss = grid_loss(
        raw,
        grids,
        network.offsets(raw),
        network.log_error(raw),
        cell_size=network.cell_size,
    )
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    state.scaler.unscale_(state.optimizer)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return loss.detach()


@dataclass(frozen=True)
class _Source:
    """Where samples come from: each is a function of the recipe and its number."""

    config: TrainConfig
    train: tuple[Sample, ...] = ()
    valid: tuple[Sample, ...] = ()
    planes: tuple[Background, ...] = ()
    valid_planes: tuple[Background, ...] = ()

    @classmethod
    def of(cls, config: TrainConfig) -> _Source:
        source = cls(config)
        if config.data:
            data = load_dataset(config.data)
            source = replace(source, train=data.part("train"), valid=data.part("valid"))
        if config.backgrounds:
            planes, valid = split_backgrounds(load_backgrounds(config.backgrounds))
            source = replace(source, planes=planes, valid_planes=valid)
        return source

    def validation(self) -> list[Scene]:
        if self.valid:
            return [Scene(s.image, s.points, 0.0, np.empty(0)) for s in self.valid]
        n = self.config.n_valid
        n_implanted = round(n * self.config.implanted)
        seeds = [[self.config.seed, _VALIDATION, i] for i in range(n)]
        return [
            *(
                self._implanted(seed, 256, self.valid_planes)
                for seed in seeds[:n_implanted]
            ),
            *(self._simulated(seed, 256) for seed in seeds[n_implanted:]),
        ]

    def training(
        self, number: int, method: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Give a normalized square of `crop` px and its spots."""
        seed, side = [self.config.seed, _TRAINING, number], self.config.crop
        rng = np.random.default_rng([*seed, 1])
        share = rng.random()
        if share < self.config.implanted:
            scene = self._implanted(seed, side, self.planes)
            return _normalized(scene.image, method), scene.points
        if not self.train or share < self.config.implanted + self.config.simulated:
            scene = self._simulated(seed, side)
            return _normalized(scene.image, method), scene.points
        sample = self.train[rng.integers(len(self.train))]
        return _augmented_crop(sample, side, method, rng)

    def _simulated(self, seed: Sequence[int], side: int) -> Scene:
        rng = np.random.default_rng(seed)
        return simulate((side, side), rng, ranges=self.config.ranges)

    def _implanted(
        self, seed: Sequence[int], side: int, planes: Sequence[Background]
    ) -> Scene:
        rng = np.random.default_rng(seed)
        plane = planes[int(rng.integers(len(planes)))].pixels
        return implant(plane, (side, side), rng, ranges=self.config.ranges)


def _augmented_crop(
    sample: Sample, side: int, method: str, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Cut a random square, turn, mirror, and vary its contrast and noise.

    The scaling is that of the whole sample, as in prediction.
    """
    most = np.maximum(np.array(sample.image.shape) - side, 0)
    top, left = (int(rng.integers(n + 1)) for n in most)
    scaling = normalize.plane_scaling(sample.image, method)
    window = sample.image[top : top + side, left : left + side]
    pixels = normalize.filled(normalize.normalized(window, scaling), side)
    points = sample.points - [top, left]
    points = points[inside(points, window.shape)]
    if rng.random() < 0.5:
        pixels, points = pixels.T, points[:, ::-1]
    for axis in (0, 1):
        if rng.random() < 0.5:
            pixels = np.flip(pixels, axis)
            points = np.where(np.arange(2) == axis, side - 1 - points, points)
    pixels = pixels * np.float32(np.exp(rng.normal(0.0, 0.15)))
    if rng.random() < 0.3:
        noise = rng.standard_normal(pixels.shape, dtype=np.float32)
        pixels = pixels + np.float32(rng.uniform(0.0, 0.5)) * noise
    return np.ascontiguousarray(pixels), points


class _Samples(TorchDataset[tuple[Tensor, Tensor]]):
    """Normalized images and their grids, numbered through the whole training."""

    def __init__(self, source: _Source, first: int) -> None:
        self.source, self.first = source, first
        config = source.config
        self.length = config.steps * config.batch_size - first
        self.network = NETWORKS[config.network](**config.arguments)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        network = self.network
        pixels, points = self.source.training(self.first + index, network.normalization)
        shape = tuple(side // network.cell_size for side in pixels.shape)
        cells = grid.encode(
            points,
            (shape[0], shape[1]),
            cell_size=network.cell_size,
            cell_map=network.cell_map,
        )
        return torch.from_numpy(pixels)[None], torch.from_numpy(cells)


def _batches(
    source: _Source, step: int, workers: int, device: str
) -> Iterator[tuple[Tensor, Tensor]]:
    yield from DataLoader(
        _Samples(source, step * source.config.batch_size),
        batch_size=source.config.batch_size,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
        pin_memory=device.startswith("cuda"),
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _normalized(image: NDArray[Any], method: str) -> NDArray[np.float32]:
    return normalize.normalized(image, normalize.plane_scaling(image, method))


def _describe(
    network: Blink | DeepBlink,
    config: TrainConfig,
    step: int,
    validation: Validation,
) -> Metadata:
    return Metadata(
        architecture=config.network,
        arguments=network.arguments,
        cell_size=network.cell_size,
        cell_map=network.cell_map,
        stride=network.stride,
        receptive_field=network.receptive_field,
        normalization=network.normalization,
        threshold=validation.threshold,
        calibration=validation.calibration,
        count_spread=validation.count_spread,
        merge_distance=network.merge_distance,
        spot_sigma=None
        if config.data and not config.simulated
        else config.ranges.sigma,
        provenance={
            "data": _about_data(config),
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


def _about_data(config: TrainConfig) -> str:
    scenes = "simulated scenes of blinkcore.simulation, drawn on the fly"
    if config.backgrounds:
        planes = (
            f"simulated spots in the real planes of {Path(config.backgrounds).name}"
        )
        share = f"{config.implanted:.0%} {planes}"
        rest = _about_data(replace(config, backgrounds=""))
        return f"{share}, the rest {rest}"
    if not config.data:
        return scenes
    own = f"{Path(config.data).name} (sha256 {config.data_sha256[:16]})"
    return f"{own} and {config.simulated:.0%} {scenes}" if config.simulated else own


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


def _tensorboard(folder: Path, step: int) -> Any:
    """Open a log of TensorBoard from a step on, if it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=step)


def plot_log(log: Path, picture: Path) -> Path | None:
    """Draw the curves of a training as PNG, if matplotlib is installed.

    Parameters
    ----------
    log : Path
        CSV that `train` wrote.
    picture : Path
        PNG to write.

    Returns
    -------
    Path or None
        The picture; None without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with log.open(newline="", encoding="utf-8") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in rows]
    left.plot(steps, [row["loss"] for row in rows])
    left.set(xlabel="step", ylabel="loss")
    for name in ("f1_integral", "precision", "recall"):
        right.plot(steps, [row[name] for row in rows], label=name.replace("_", " "))
    right.set(xlabel="step", ylim=(0, 1), title="validation")
    right.legend()
    with whole_file(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return picture
