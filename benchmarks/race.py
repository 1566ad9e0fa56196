"""Network designs and losses at equal training: F1 integral against milliseconds.

    python benchmarks/race.py FOLDER [NAME ...]

Every run has the same scenes, steps and seed as `blinkcore train --steps 1500 --seed 7` and
differs in the one thing that its name says. Results are kept in FOLDER: a second call trains
only what is missing, and prints the table of all.
"""

import json
import sys
from pathlib import Path

import torch
from timing import machine, seconds, table
from torch import nn
from torch.nn import functional

import blinkcore.train
from blinkcore.losses import grid_loss
from blinkcore.model import load_model
from blinkcore.networks import NETWORKS, Blink, _conv_norm
from blinkcore.train import TrainConfig, train

STEPS, SEED = 1500, 7


class Parts(Blink):
    """Blink in parts, for variants to change one of them."""

    def forward(self, x):
        x = self.compress(self.contrast(functional.pixel_unshuffle(x, 2)))
        high = functional.relu(self.encoder(functional.relu(self.stem(x))))
        x = functional.interpolate(self.reduce(self.lower(high)), scale_factor=2.0)
        return self.head(functional.relu(self.decoder(high + x)))

    def compress(self, x):
        return x * torch.rsqrt(1.0 + x.abs())

    def lower(self, high):
        x = functional.relu(self.down(high))
        for convolution in self.middle:
            x = x + functional.relu(convolution(x))
        return x


class Asinh(Parts):
    """Compress the range by asinh."""

    def compress(self, x):
        return torch.asinh(x)


class Linear(Parts):
    """Never compress the range."""

    def compress(self, x):
        return x


class NoWayUp(Blink):
    """The lower level gives the values of its four cells; nothing is computed above."""

    def __init__(self, filters=16, depth=4):
        super().__init__(filters, depth)
        self.reduce = self.decoder = nn.Identity()
        self.head = nn.Conv2d(3 * filters, 16, 1)
        with torch.no_grad():
            start = torch.tensor([-4.0, 0.5, 0.5, -0.7]).repeat_interleave(4)
            self.head.bias.copy_(start)

    def forward(self, x):
        x = self.contrast(functional.pixel_unshuffle(x, 2))
        x = x * torch.rsqrt(1.0 + x.abs())
        x = functional.relu(self.encoder(functional.relu(self.stem(x))))
        x = functional.relu(self.down(x))
        for convolution in self.middle:
            x = x + functional.relu(convolution(x))
        return functional.pixel_shuffle(self.head(x), 2)


class Standard(Blink):
    """Mean and standard deviation instead of median and noise."""

    normalization = "standard"


class CellFour(Parts):
    """Cells of 4 px, predicted at the lower level."""

    cell_size = 4
    merge_distance = 2.0

    def __init__(self, filters=16, depth=3):
        super().__init__(filters, depth)
        self.reduce = self.decoder = nn.Identity()
        self.last = _conv_norm(3 * filters, 3 * filters)
        self.head = nn.Conv2d(3 * filters, 4, 1)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([-3.0, 0.5, 0.5, -0.7]))

    def forward(self, x):
        x = self.compress(self.contrast(functional.pixel_unshuffle(x, 2)))
        high = functional.relu(self.encoder(functional.relu(self.stem(x))))
        return self.head(functional.relu(self.last(self.lower(high))))


class Dilated(Blink):
    """Dilations 1, 2, 4 at the lower level."""

    def __init__(self, filters=16, depth=3):
        super().__init__(filters, depth)
        for block, dilation in zip(self.middle, (1, 2, 4), strict=True):
            block[0].dilation = block[0].padding = (dilation, dilation)


class Excited(Parts):
    """Squeeze-and-excitation at the end of the lower level."""

    def __init__(self, filters=16, depth=3):
        super().__init__(filters, depth)
        low = 3 * filters
        self.squeeze = nn.Linear(low, low // 8)
        self.excite = nn.Linear(low // 8, low)

    def lower(self, high):
        x = functional.relu(self.down(high))
        for convolution in self.middle:
            x = x + functional.relu(convolution(x))
        weight = functional.relu(self.squeeze(x.mean(dim=(2, 3))))
        return x * torch.sigmoid(self.excite(weight))[:, :, None, None]


class TwoLevels(Parts):
    """A second lower level, at an eighth."""

    stride = 8

    def __init__(self, filters=16, depth=2):
        super().__init__(filters, depth)
        low = 3 * filters
        self.deeper = _conv_norm(low, low, stride=2)
        self.deepest = _conv_norm(low, low)

    def lower(self, high):
        x = functional.relu(self.down(high))
        deep = functional.relu(self.deepest(functional.relu(self.deeper(x))))
        x = x + functional.interpolate(deep, scale_factor=2.0)
        for convolution in self.middle:
            x = x + functional.relu(convolution(x))
        return x


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


RUNS = {
    "blink": (Blink, {}, grid_loss),
    "no way up": (NoWayUp, {}, grid_loss),
    "dilations 1 2 4": (Dilated, {}, grid_loss),
    "position x 0.25": (Blink, {}, lighter),
    "24 filters": (Blink, {"filters": 24}, grid_loss),
    "32 filters": (Blink, {"filters": 32}, grid_loss),
    "depth 1": (Blink, {"depth": 1}, grid_loss),
    "depth 6": (Blink, {"depth": 6}, grid_loss),
    "asinh": (Asinh, {}, grid_loss),
    "no compression": (Linear, {}, grid_loss),
    "two lower levels": (TwoLevels, {}, grid_loss),
    "cell 4": (CellFour, {}, grid_loss),
    "mean and std": (Standard, {}, grid_loss),
    "squeeze-and-excitation": (Excited, {}, grid_loss),
    "squared distance": (Blink, {}, squared),
    "L1 distance": (Blink, {}, absolute),
    "dice + RMSE": (Blink, {}, dice_rmse),
    "focal": (Blink, {}, focal),
    "smooth F1": (Blink, {}, smooth_f1),
    "entropy + dice": (Blink, {}, entropy_and_dice),
}


def run(name, folder):
    network, arguments, loss = RUNS[name]
    NETWORKS["race"] = network
    blinkcore.train.grid_loss = loss
    config = TrainConfig(
        network="race",
        arguments=arguments,
        steps=STEPS,
        seed=SEED,
        ema=0.99,
        validate_every=STEPS,
        n_valid=200,
    )
    path = folder / f"{name.replace(' ', '_')}.pt"
    metadata = train(config, path, workers=1)
    (folder / f"{path.stem}.json").write_text(json.dumps(metadata.scores))


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or RUNS:
        if not (folder / f"{name.replace(' ', '_')}.json").exists():
            run(name, folder)
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
        time = seconds(load_model(folder / f"{stem}.pt", device="cpu"), image)
        rows.append(
            [name, f"{n / 1000:.0f} k", f"{1000 * time:.1f}"]
            + [f"{scores[s]:.3f}" for s in ("f1_integral", "f1", "precision", "recall")]
            + [f"{scores['rmse']:.2f}"]
        )
    rows.sort(key=lambda row: row[3], reverse=True)
    print(f"{STEPS} steps, seed {SEED}, 200 validation scenes:\n")
    table(
        ["run", "weights", "ms, 512 x 512", "F1 integral", "F1", "precision", "recall",
         "RMSE px"], rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
