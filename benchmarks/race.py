"""Network designs and losses at equal training: F1 integral against milliseconds.

    python benchmarks/race.py FOLDER [--seed 7] [NAME ...]

Every run has the same scenes, steps and seed as `blinkcore train --steps 1500 --seed 7`
and differs in the one thing that its name states. Results are kept in FOLDER by seed: a
second call trains only what is missing, and prints the table of all.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from race_networks import (
    CENTRES,
    Asinh,
    Bins,
    CellFour,
    CellOne,
    Dilated,
    Excited,
    Linear,
    NoWayUp,
    Reparametrized,
    Standard,
    Strided,
    Surroundings,
)
from timing import machine, seconds, table
from torch.nn import functional

from blinkcore.network.calibration import UNCALIBRATED
from blinkcore.network.losses import grid_loss
from blinkcore.network.model import load_model, save_model
from blinkcore.network.networks import NETWORKS, Blink
from blinkcore.training.provenance import describe
from blinkcore.training.recipe import TrainConfig
from blinkcore.training.train import train
from blinkcore.training.validation import Validation

STEPS = 1500


def _position(grid, offsets, cell_size):
    """Sum of squared distances in px² over the true spots, and their number."""
    square = ((offsets - grid[:, 1:]) * cell_size).square().sum(dim=1)
    return (grid[:, 0] * square).sum(), grid[:, 0].sum()


def squared(raw, grid, offsets, log_error, *, cell_size):
    """The same error for all: squared distances."""
    same = torch.full_like(raw[:, 0], -0.693)  # 0.5 px
    return grid_loss(raw, grid, offsets, same, cell_size=cell_size)


def absolute(raw, grid, offsets, log_error, *, cell_size):
    """Absolute distances."""
    entropy = functional.binary_cross_entropy_with_logits(raw[:, 0], grid[:, 0])
    distance = ((offsets - grid[:, 1:]) * cell_size).abs().sum(dim=1)
    return entropy + 2.0 * (grid[:, 0] * distance).mean()


def lighter(raw, grid, offsets, log_error, *, cell_size):
    """The likelihood of the position at a quarter of its weight."""
    entropy = functional.binary_cross_entropy_with_logits(raw[:, 0], grid[:, 0])
    whole = grid_loss(raw, grid, offsets, log_error, cell_size=cell_size)
    return entropy + 0.25 * (whole - entropy)


def dice_rmse(raw, grid, offsets, log_error, *, cell_size):
    """The paper's loss: dice and twice the RMSE."""
    p, t = torch.sigmoid(raw[:, 0]), grid[:, 0]
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    square, n = _position(grid, offsets, cell_size)
    return dice + 2 * torch.sqrt(square / (n + 1) + 1e-6)


def focal(raw, grid, offsets, log_error, *, cell_size):
    """Focal loss (gamma 2) instead of cross entropy."""
    entropy = functional.binary_cross_entropy_with_logits(
        raw[:, 0], grid[:, 0], reduction="none"
    )
    whole = grid_loss(raw, grid, offsets, log_error, cell_size=cell_size)
    weight = (1 - torch.exp(-entropy)) ** 2
    return whole - entropy.mean() + (weight * entropy).mean()


def smooth_f1(raw, grid, offsets, log_error, *, cell_size):
    """F1 of probabilities, matched within the neighbouring cells, and the RMSE."""
    p, t = torch.sigmoid(raw[:, :1]), grid[:, :1]
    near_truth = functional.max_pool2d(t, 3, 1, 1)
    found = functional.avg_pool2d(p, 3, 1, 1) * 9
    recall = ((found.clamp(max=1) * t).sum() + 1) / (t.sum() + 1)
    extra = (found - 1).clamp(min=0)
    true = ((p * near_truth).sum() - (extra * t).sum()).clamp(min=0)
    precision = (true + 1) / (p.sum() + 1)
    square, n = _position(grid, offsets, cell_size)
    rmse = torch.sqrt(square / (n + 1) + 1e-6)
    return 1 - 2 * precision * recall / (precision + recall) + 0.5 * rmse


def entropy_and_dice(raw, grid, offsets, log_error, *, cell_size):
    """The likelihood and a little dice."""
    p, t = torch.sigmoid(raw[:, 0]), grid[:, 0]
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    whole = grid_loss(raw, grid, offsets, log_error, cell_size=cell_size)
    return whole + 0.02 * dice


def bins(raw, grid, offsets, log_error, *, cell_size):
    """The likelihood, and cross entropy of the bins of `Bins`."""
    # Shared between the two nearest, whose centres are 1 / 5.6 apart.
    distance = (grid[:, 1:, None] - CENTRES.to(raw)[:, None, None]).abs()
    near = (1 - 5.6 * distance).clamp(min=0)
    log_share = torch.log_softmax(raw[:, 4:].unflatten(1, (2, 8)), dim=2)
    entropy = -(near * log_share).sum(dim=(1, 2))
    whole = grid_loss(raw, grid, offsets, log_error, cell_size=cell_size)
    return whole + 0.5 * (grid[:, 0] * entropy).mean()


RUNS = {
    "blink": (Blink, {}, grid_loss),
    "one level": (Blink, {"levels": 1, "depth": 3}, grid_loss),
    "two levels": (Blink, {"levels": 2}, grid_loss),
    "four levels": (Blink, {"levels": 4}, grid_loss),
    "one level, dilations 1 2 4": (Dilated, {}, grid_loss),
    "one level, means over 160 px": (Surroundings, {}, grid_loss),
    "squeeze-and-excitation": (Excited, {}, grid_loss),
    "24 filters": (Blink, {"filters": 24}, grid_loss),
    "32 filters": (Blink, {"filters": 32}, grid_loss),
    "depth 1": (Blink, {"depth": 1}, grid_loss),
    "depth 4": (Blink, {"depth": 4}, grid_loss),
    "re-parametrized": (Reparametrized, {}, grid_loss),
    "3 x 3 with a stride": (Strided, {}, grid_loss),
    "no way up": (NoWayUp, {}, grid_loss),
    "cells of 4 px": (CellFour, {}, grid_loss),
    "cells of 1 px": (CellOne, {}, grid_loss),
    "offsets in bins": (Bins, {}, bins),
    "asinh": (Asinh, {}, grid_loss),
    "no compression": (Linear, {}, grid_loss),
    "mean and std": (Standard, {}, grid_loss),
    "position x 0.25": (Blink, {}, lighter),
    "squared distance": (Blink, {}, squared),
    "L1 distance": (Blink, {}, absolute),
    "dice + RMSE": (Blink, {}, dice_rmse),
    "focal": (Blink, {}, focal),
    "smooth F1": (Blink, {}, smooth_f1),
    "entropy + dice": (Blink, {}, entropy_and_dice),
}


def run(name, folder, seed, device="auto", workers=1):
    network, arguments, loss = RUNS[name]
    NETWORKS["race"] = network
    config = TrainConfig(
        network="race",
        arguments=arguments,
        steps=STEPS,
        seed=seed,
        ema=0.99,
        validate_every=STEPS,
        n_valid=200,
    )
    path = folder / f"{name.replace(' ', '_')}.pt"
    metadata = train(config, path, device=device, workers=workers, loss=loss)
    (folder / f"{path.stem}.json").write_text(json.dumps(metadata.scores))


def untrained(network):
    """Run a network as `blinkcore predict` does; weights make no difference to the time."""
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(network="blink")
        nothing = Validation(UNCALIBRATED, 0.5, None, {})
        path = Path(folder) / "untrained.pt"
        save_model(
            network,
            describe(network, config, 0, nothing),
            path,
        )
        return load_model(path, device="cpu", amp=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    folder = options.folder / f"seed{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or RUNS:
        if not (folder / f"{name.replace(' ', '_')}.json").exists():
            run(name, folder, options.seed)
    machine()
    torch.set_num_threads(2)
    image = torch.zeros(1, 1, 512, 512).numpy()
    rows = []
    for name, (network, arguments, _) in RUNS.items():
        stem = name.replace(" ", "_")
        if not (folder / f"{stem}.json").exists():
            continue
        scores = json.loads((folder / f"{stem}.json").read_text())
        n = sum(p.numel() for p in network(**arguments).parameters())
        time = seconds(untrained(network(**arguments)), image)
        rows.append(
            [name, f"{n / 1000:.0f} k", f"{1000 * time:.1f}"]
            + [f"{scores[s]:.3f}" for s in ("f1_integral", "f1", "precision", "recall")]
            + [f"{scores['rmse']:.2f}"]
        )
    rows.sort(key=lambda row: row[3], reverse=True)
    print(f"{STEPS} steps, seed {options.seed}, 200 validation scenes:\n")
    table(
        ["run", "weights", "ms in float32, 512 x 512", "F1 integral", "F1", "precision", "recall",
         "RMSE px"], rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
