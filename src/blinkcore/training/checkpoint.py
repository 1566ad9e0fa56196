"""The state of a training run, and checkpoints that continue it bit for bit."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch.optim import swa_utils

from blinkcore.files import atomic_write
from blinkcore.network.device import half_precision
from blinkcore.network.model import load_weights
from blinkcore.network.networks import AnyNetwork, network_of

if TYPE_CHECKING:
    from pathlib import Path

    from blinkcore.training.recipe import TrainConfig


def _weights_to_start(config: TrainConfig) -> dict[str, torch.Tensor]:
    """Read the weights of the model to start from, averaged with another's if asked for."""
    weights = load_weights(config.start)
    if not config.average_with:
        return weights
    other = load_weights(config.average_with)
    if {n: w.shape for n, w in weights.items()} != {
        n: w.shape for n, w in other.items()
    }:
        raise ValueError(
            f"{config.average_with} and {config.start} have different networks: their "
            "weights cannot be averaged"
        )
    return {
        name: (weight + other[name]) / 2 if weight.is_floating_point() else weight
        for name, weight in weights.items()
    }


@dataclass
class State:
    """State of a training between two steps, as a checkpoint keeps it."""

    network: AnyNetwork
    averaged: AnyNetwork
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    half: torch.dtype | None
    step: int = 0
    best: float = -1.0
    waited: int = 0

    @classmethod
    def fresh(cls, config: TrainConfig, device: str) -> State:
        """Make the state before the first step."""
        network = network_of(config.network, config.arguments).to(device)
        if config.start:
            network.load_state_dict(_weights_to_start(config))
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
        """Write a checkpoint, whole or not at all."""
        content = {name: getattr(self, name).state_dict() for name in _MODULES}
        content |= {name: getattr(self, name) for name in _NUMBERS}
        content["config"] = asdict(config)
        with atomic_write(path) as temporary:
            torch.save(content, temporary)

    def load(self, path: Path, config: TrainConfig) -> None:
        """Continue from a checkpoint; ValueError if it is none or of another recipe."""
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            recipe = content["config"]
            missing = [n for n in (*_MODULES, *_NUMBERS) if n not in content]
            if missing:
                raise KeyError(missing[0])
        except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError) as error:
            raise ValueError(f"{path} is not a checkpoint of a training") from error
        now = asdict(config)
        changed = [name for name, value in now.items() if recipe.get(name) != value]
        changed = [name for name in changed if name not in _MAY_CHANGE]
        if changed:
            raise ValueError(
                f"{path} was written with another recipe (its {', '.join(changed)} "
                "differs); resume with the same options or remove it"
            )
        for name in _MODULES:
            # A scaler that was off, as on a CPU, has no state to restore.
            if content[name]:
                getattr(self, name).load_state_dict(content[name])
        for name in _NUMBERS:
            setattr(self, name, content[name])


_NUMBERS = ("step", "best", "waited")
_MAY_CHANGE = ("patience",)  # between calls, because it does not affect the weights
_MODULES = ("network", "averaged", "optimizer", "scaler")
