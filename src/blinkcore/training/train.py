"""Train a network on your own labels, simulated scenes, real planes, or all of them.

On a CPU, an interrupted and resumed run gives the same bits as an uninterrupted one.
"""

from __future__ import annotations

import copy
import logging
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from blinkcore.network.device import pick_device
from blinkcore.network.losses import grid_loss
from blinkcore.network.model import read_metadata, save_model
from blinkcore.training.checkpoint import State
from blinkcore.training.log import Log, check_own_log
from blinkcore.training.provenance import about_data, describe
from blinkcore.training.recipe import learning_rate
from blinkcore.training.samples import Source, batches
from blinkcore.training.validation import validate

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from blinkcore.labelled import LabelledPlane
    from blinkcore.network.metadata import Metadata
    from blinkcore.training.recipe import TrainConfig

logger = logging.getLogger(__name__)

_FEW_IMAGES, _FEW_SPOTS = 5, 200  # of a validation split


def train(
    config: TrainConfig,
    output: str | os.PathLike[str],
    *,
    resume: bool = False,
    device: str = "auto",
    workers: int = 1,
    loss: Callable[..., Tensor] = grid_loss,
    on_step: Callable[[State], None] | None = None,
) -> Metadata:
    """Train a network and write the best model that validation saw.

    Parameters
    ----------
    config : TrainConfig
        The recipe. With 0 steps the initial model is validated, calibrated and written.
    output : str or path
        The model (.pt). Beside it are written `<name>.csv`, one row per validation,
        `<name>.checkpoint` and, if TensorBoard is installed, `<name>.tensorboard`.
    resume : bool
        Continue from the checkpoint beside `output`, if there is one.
    device : {"auto", "cpu", "cuda", "mps"}
        Where it trains.
    workers : int
        Processes that draw samples.
    loss, on_step : callable
        Function to minimize, called like `blinkcore.network.losses.grid_loss`; function
        that is called with the state after each step.

    Returns
    -------
    Metadata
        Of the written model.

    Raises
    ------
    ValueError
        If device or checkpoint are missing or do not fit, or the log would replace others' files.
    """
    output, device = Path(output), pick_device(device)
    check_own_log(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = output.with_suffix(".checkpoint")
    torch.manual_seed(config.seed)
    source, state = Source.of(config), State.fresh(config, device)
    if resume:
        _resume(state, config, output, checkpoint)
    log, scenes = Log(output, state.step), source.validation()
    _say_what_is_trained(state, config, scenes, device)
    if state.step == 0 and config.start:
        _validate_start(state, config, scenes, output, log)
    samples = iter(batches(source, state.step, workers, device))
    while state.step < config.steps:
        mean_loss = _until_validation(state, samples, config, loss, on_step)
        _validate(state, config, scenes, output, log, mean_loss)
        state.save(checkpoint, config)
        if _is_no_better(state, config):
            break
    log.close()
    return read_metadata(output)


def _validate_start(
    state: State,
    config: TrainConfig,
    scenes: Sequence[LabelledPlane],
    output: Path,
    log: Log,
) -> None:
    """Validate the initial model; its checkpoint comes first, so that training can go on."""
    if config.steps:
        state.save(output.with_suffix(".checkpoint"), config)
    _validate(state, config, scenes, output, log, float("nan"))


def _is_no_better(state: State, config: TrainConfig) -> bool:
    """Return whether the last validations were no better than an earlier one."""
    stops = 0 < config.patience <= state.waited
    if stops:
        logger.info("stopped: the last %d validations were no better", state.waited)
    return stops


def _resume(state: State, config: TrainConfig, output: Path, checkpoint: Path) -> None:
    """Load the checkpoint; a model without one is not trained over."""
    if checkpoint.exists():
        state.load(checkpoint, config)
    elif output.exists():
        raise ValueError(
            f"{output} has no {checkpoint.name} beside it to continue from; train it anew "
            "under another name, or overwrite it"
        )


def _say_what_is_trained(
    state: State, config: TrainConfig, scenes: Sequence[LabelledPlane], device: str
) -> None:
    """Log device, network and data; warn if the validation split is too small."""
    n_weights = sum(p.numel() for p in state.network.parameters())
    n_spots = sum(len(scene.points) for scene in scenes)
    logger.info(
        "Training %s (%s weights) on %s with %s; validated on %d images with %d spots",
        config.network,
        f"{n_weights:,}",
        device,
        about_data(config),
        len(scenes),
        n_spots,
    )
    if len(scenes) < _FEW_IMAGES or n_spots < _FEW_SPOTS:
        logger.warning(
            "the validation split is small: which step is best, the threshold and the "
            "calibration depend on chance; %s",
            "label more images, or make a data set with a larger share for it"
            if config.data
            else "validate on more scenes",
        )


def _until_validation(
    state: State,
    samples: Iterator[tuple[Tensor, Tensor]],
    config: TrainConfig,
    loss: Callable[..., Tensor],
    on_step: Callable[[State], None] | None,
) -> float:
    """Take the steps up to the next validation, and give their mean loss."""
    losses: list[Tensor] = []
    n_steps = config.validate_every - state.step % config.validate_every
    for images, grids in islice(samples, n_steps):
        losses.append(_step(state, images, grids, config, loss))
        if on_step is not None:
            on_step(state)
    return float(torch.stack(losses).mean())


def _validate(
    state: State,
    config: TrainConfig,
    scenes: Sequence[LabelledPlane],
    output: Path,
    log: Log,
    mean_loss: float,
) -> None:
    """Score the averaged network, log it, and write it if it is the best so far."""
    result = validate(state.averaged, scenes, config.threshold)
    rate = learning_rate(max(state.step - 1, 0), config)
    log.add(state.step, config.steps, mean_loss, rate, result.scores)
    state.waited += 1
    if result.scores["f1_integral"] > state.best or not output.exists():
        state.best, state.waited = result.scores["f1_integral"], 0
        best = copy.deepcopy(state.averaged).cpu()
        save_model(best, describe(best, config, state.step, result), output)


def _step(
    state: State,
    images: Tensor,
    grids: Tensor,
    config: TrainConfig,
    loss_function: Callable[..., Tensor],
) -> Tensor:
    """Take one optimizer step; give its loss, which a GPU may still be computing."""
    network = state.network.train()
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(state.step, config)
    torch.manual_seed(config.seed + state.step)  # of the dropout
    device = next(network.parameters()).device
    images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
    grids = grids.to(device, non_blocking=True)
    with torch.autocast(device.type, dtype=state.half, enabled=state.half is not None):
        raw = network(images)
    raw = raw.float()
    loss = loss_function(
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
    state.step += 1
    state.average(config.ema)
    return loss.detach()
