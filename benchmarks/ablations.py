"""What each part of the paper's network and its loss are worth: one changed at a time.

    python benchmarks/ablations.py FOLDER [--steps 1500] [--presets smfish,vesicle] [--seeds 0,1]

`deepblink` with 16 filters on the images of `table1.py`, trained as `blinkcore train
--network deepblink --steps 1500 --batch-size 2 --crop 128 --learning-rate 0.004` does,
each with two seeds, to show the effect of chance; on one core. Results are kept in
FOLDER, and those that are there are not computed again.
"""

import argparse
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from peers import quiet
from race import dice_rmse, squared
from table1 import PARTS, behind, mean, samples
from timing import machine, table
from torch import Tensor, nn
from torch.nn import functional

from blinkcore.datasets.dataset import Dataset
from blinkcore.detection.predict import find_spots
from blinkcore.evaluation.scores import evaluate
from blinkcore.network.losses import grid_loss
from blinkcore.network.model import load_model
from blinkcore.network.networks import NETWORKS, DeepBlink
from blinkcore.training.recipe import TrainConfig
from blinkcore.training.train import train

SCORES = ("f1_integral", "f1", "rmse")


class PlainBlock(nn.Module):
    """A conv block without squeeze-and-excitation."""

    def __init__(self, block):
        super().__init__()
        self.convolutions = block.convolutions

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = functional.leaky_relu(convolution(x), 0.2)
        return x


class NoExcitation(DeepBlink):
    """Conv blocks without squeeze-and-excitation."""

    def __init__(self, filters, dropout=0.3):
        super().__init__(filters, dropout)
        for blocks in (self.encoder, self.decoder, self.second):
            for i, block in enumerate(blocks):
                blocks[i] = PlainBlock(block)
        self.bottleneck, self.last = PlainBlock(self.bottleneck), PlainBlock(self.last)


class PlainStride(DeepBlink):
    """From full resolution to cells by one convolution instead of a second encoder."""

    def __init__(self, filters, dropout=0.3):
        super().__init__(filters, dropout)
        self.second = nn.ModuleList()
        side = self.cell_size
        self.stride_down = nn.Conv2d(filters[0], filters[-2], side, stride=side)

    def forward(self, x: Tensor) -> Tensor:
        x, pooled = self.down_and_up(x)
        x = functional.leaky_relu(self.stride_down(self.dropout(x)), 0.2)
        return self.head(self.last(torch.cat([pooled, x], dim=1)))


class NoBottomSkip(DeepBlink):
    """The end of the first encoder is not concatenated with that of the second."""

    def __init__(self, filters, dropout=0.3):
        super().__init__(filters, dropout)
        self.last = type(self.last)(filters[-2], filters[-1])

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.down_and_up(x)
        x = functional.max_pool2d(self.dropout(x), 2)
        for block in self.second:
            x = functional.max_pool2d(self.dropout(block(x)), 2)
        return self.head(self.last(x))


class OldStart(DeepBlink):
    """PyTorch's own initial weights."""

    def __init__(self, filters, dropout=0.3):
        super().__init__(filters, dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()


RUNS = {
    "deepblink, 16 filters": (DeepBlink, {}, grid_loss),
    "PyTorch's first weights": (OldStart, {}, grid_loss),
    "no squeeze-and-excitation": (NoExcitation, {}, grid_loss),
    "no dropout": (DeepBlink, {"dropout": 0.0}, grid_loss),
    "plain stride, no second encoder": (PlainStride, {}, grid_loss),
    "no bottom skip": (NoBottomSkip, {}, grid_loss),
    "dice + 2 RMSE": (DeepBlink, {}, dice_rmse),
    "squared distances": (DeepBlink, {}, squared),
}


def run(name, kind, seed, steps, folder):
    network, arguments, loss = RUNS[name]
    NETWORKS["ablation"] = network
    data = folder / "data.npz"
    if not data.exists():
        parts = ("train", "valid")
        labelled = [
            replace(s, split=p) for p in parts for s in samples(kind, p, PARTS[p])
        ]
        Dataset(tuple(labelled)).save(data)
    config = TrainConfig(
        network="ablation", arguments={"filters": [16] * 3} | arguments, steps=steps,
        batch_size=2, crop=128, learning_rate=4e-3, seed=seed, data=str(data),
        validate_every=-(-steps // 2),
    )  # fmt: skip
    path = folder / "model.pt"
    train(config, path, workers=0, loss=loss)
    model = load_model(path, device="cpu")
    threshold = model.metadata.threshold
    scores = [
        evaluate(s.points, find_spots(s.image, model, threshold=threshold)[:, :2])
        for s in samples(kind, "test", PARTS["test"])
    ]
    return {n: [getattr(s, n) for s in scores] for n in SCORES}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--presets", default="smfish,vesicle")
    parser.add_argument("--seeds", default="0,1")
    options = parser.parse_args()
    quiet()
    machine()
    kinds, seeds = options.presets.split(","), options.seeds.split(",")
    results = {}
    for seed, name, kind in product(map(int, seeds), RUNS, kinds):
        folder = options.folder / kind
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}, {seed}.json"
        if not file.exists():
            result = run(name, kind, seed, options.steps, folder)
            file.write_text(json.dumps(result))
            print(kind, name, seed, f"{mean(result['f1_integral']):.3f}", flush=True)
        results.setdefault((name, kind), []).append(json.loads(file.read_text()))
    rows = []
    for name in RUNS:
        cells = []
        for kind in kinds:
            each = results[name, kind]
            of_images, first = (
                np.mean([r["f1_integral"] for r in results[n, kind]], axis=0)
                for n in (name, next(iter(RUNS)))
            )
            low, high = behind(of_images, first)
            alone = ", ".join(f"{mean(r['f1_integral']):.3f}" for r in each)
            others = (f"{mean([r[n] for r in each]):.3f}" for n in SCORES[1:])
            cells += [
                f"{mean(of_images):.3f} ({alone})", " / ".join(others),
                f"{low:+.3f} to {high:+.3f}" if rows else "",
            ]  # fmt: skip
        rows.append([name, *cells])
    print(f"\n{options.steps} steps, seeds {options.seeds}:\n")
    columns = (
        "F1 integral (of each seed)",
        "F1 / RMSE px",
        "less the first row's, 95 %",
    )
    table(["network", *(f"{kind}: {c}" for kind in kinds for c in columns)], rows)


if __name__ == "__main__":
    main()
