"""What the parts of the paper's network are worth, and its loss: one left out at a time.

    python benchmarks/ablations.py FOLDER [--steps 1000] [--presets smfish,vesicle]

`deepblink` with 16 filters on the images of `table1.py`, equally many steps, batch, crop and seed
as `blinkcore train --steps 1000 --batch-size 8 --crop 128`; the first row twice, with another seed,
to show what chance does. Results are kept in FOLDER, and what is there is not run again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from peers import quiet
from race import dice_rmse
from table1 import PARTS, behind, mean, samples
from timing import machine, table
from torch import Tensor, nn
from torch.nn import functional

import blinkcore.train
from blinkcore.dataset import Dataset
from blinkcore.evaluate import evaluate
from blinkcore.losses import grid_loss
from blinkcore.model import load_model
from blinkcore.networks import NETWORKS, DeepBlink
from blinkcore.predict import find_spots
from blinkcore.train import TrainConfig, train


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
    """The first encoder's end is not put beside that of the second."""

    def __init__(self, filters, dropout=0.3):
        super().__init__(filters, dropout)
        self.last = type(self.last)(filters[-2], filters[-1])

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.down_and_up(x)
        x = functional.max_pool2d(self.dropout(x), 2)
        for block in self.second:
            x = functional.max_pool2d(self.dropout(block(x)), 2)
        return self.head(self.last(x))


RUNS = {
    "deepblink, 16 filters": (DeepBlink, {}, grid_loss, 0),
    "the same, another seed": (DeepBlink, {}, grid_loss, 1),
    "no squeeze-and-excitation": (NoExcitation, {}, grid_loss, 0),
    "no dropout": (DeepBlink, {"dropout": 0.0}, grid_loss, 0),
    "plain stride, no second encoder": (PlainStride, {}, grid_loss, 0),
    "no bottom skip": (NoBottomSkip, {}, grid_loss, 0),
    "dice + 2 RMSE instead of the likelihood": (DeepBlink, {}, dice_rmse, 0),
}


def run(name, kind, steps, folder):
    network, arguments, loss, seed = RUNS[name]
    NETWORKS["ablation"] = network
    blinkcore.train.grid_loss = loss
    data = folder / "data.npz"
    parts = ("train", "valid")
    Dataset(
        tuple(replace(s, part=p) for p in parts for s in samples(kind, p, PARTS[p]))
    ).save(data)
    config = TrainConfig(
        network="ablation", arguments={"filters": [16] * 3} | arguments, steps=steps,
        crop=128, seed=seed, ema=0.99, data=str(data), validate_every=-(-steps // 2),
    )  # fmt: skip
    path = folder / "model.pt"
    train(config, path, workers=0)
    model = load_model(path, device="cpu")
    threshold = model.metadata.threshold
    scores = [
        evaluate(s.points, find_spots(s.image, model, threshold=threshold)[:, :2])
        for s in samples(kind, "test", PARTS["test"])
    ]
    names = ("f1_integral", "f1", "rmse")
    return {n: [getattr(s, n) for s in scores] for n in names}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--presets", default="smfish,vesicle")
    options = parser.parse_args()
    quiet()
    machine()
    kinds = options.presets.split(",")
    rows, first = [], {}
    for name in RUNS:
        cells = []
        for kind in kinds:
            folder = options.folder / kind
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{name}.json"
            if not file.exists():
                result = run(name, kind, options.steps, folder)
                file.write_text(json.dumps(result))
                print(kind, name, f"{mean(result['f1_integral']):.3f}", flush=True)
            result = json.loads(file.read_text())
            first.setdefault(kind, result)
            low, high = behind(result["f1_integral"], first[kind]["f1_integral"])
            cells += [
                " / ".join(
                    f"{mean(result[n]):.3f}" for n in ("f1_integral", "f1", "rmse")
                ),
                f"{low:+.3f} to {high:+.3f}" if result is not first[kind] else "",
            ]
        n = sum(p.numel() for p in RUNS[name][0]([16] * 3).parameters())
        rows.append([name, f"{n / 1000:.0f} k", *cells])
    print(f"\n{options.steps} steps; F1 integral / F1 at 3 px / RMSE px:\n")
    header = [c for kind in kinds for c in (kind, "F1 integral less the first's, 95 %")]
    table(["network", "weights", *header], rows)


if __name__ == "__main__":
    main()
