"""Where training samples come from: labels, simulated scenes, spots in real planes.

Every sample is drawn from the seed and its number, so it is the same whatever came before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from blinkcore.datasets.backgrounds import (
    Background,
    load_backgrounds,
    split_backgrounds,
)
from blinkcore.datasets.dataset import Sample, inside, load_dataset
from blinkcore.network import grid, normalize
from blinkcore.network.networks import network_of
from blinkcore.simulation.implant import implant
from blinkcore.simulation.scenes import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from blinkcore.labelled import LabelledPlane
    from blinkcore.training.recipe import TrainConfig

_TRAINING, _VALIDATION = 0, 1  # second word of the seeds: no scene is in both


@dataclass(frozen=True)
class Source:
    """Where samples come from: each is a function of the recipe and its number."""

    config: TrainConfig
    train: tuple[Sample, ...] = ()
    valid: tuple[Sample, ...] = ()
    planes: tuple[Background, ...] = ()
    valid_planes: tuple[Background, ...] = ()

    @classmethod
    def of(cls, config: TrainConfig) -> Source:
        """Read the data set and the real planes that a recipe names."""
        source = cls(config)
        if config.data:
            data = load_dataset(config.data)
            source = replace(
                source, train=data.split("train"), valid=data.split("valid")
            )
        if config.backgrounds:
            planes, valid = split_backgrounds(load_backgrounds(config.backgrounds))
            source = replace(source, planes=planes, valid_planes=valid)
        return source

    def validation(self) -> Sequence[LabelledPlane]:
        """Return the images to validate on, from the data set or drawn once."""
        if self.valid:
            return self.valid
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
        """Return a normalized square of `crop` px, shape (crop, crop), and its spots (n, 2)."""
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

    def _simulated(self, seed: Sequence[int], side: int) -> LabelledPlane:
        rng = np.random.default_rng(seed)
        return simulate((side, side), rng, ranges=self.config.ranges)

    def _implanted(
        self, seed: Sequence[int], side: int, planes: Sequence[Background]
    ) -> LabelledPlane:
        rng = np.random.default_rng(seed)
        plane = planes[int(rng.integers(len(planes)))].pixels
        return implant(plane, (side, side), rng, ranges=self.config.ranges)


def _augmented_crop(
    sample: Sample, side: int, method: str, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Cut a random square, turn and mirror it, and vary its contrast and noise.

    The scaling is that of the whole sample, as in prediction.
    """
    largest_offset = np.maximum(np.array(sample.image.shape) - side, 0)
    top, left = (int(rng.integers(n + 1)) for n in largest_offset)
    scaling = normalize.plane_scaling(sample.image, method)
    window = sample.image[top : top + side, left : left + side]
    pixels = normalize.padded_to_multiple(normalize.normalized(window, scaling), side)
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

    def __init__(self, source: Source, first: int) -> None:
        self.source, self.first = source, first
        config = source.config
        self.length = config.steps * config.batch_size - first
        self.network = network_of(config.network, config.arguments)

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


def batches(
    source: Source, step: int, workers: int, device: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw the samples of a training run in batches, starting at a step.

    Parameters
    ----------
    source : Source
        Where they come from.
    step : int
        Steps done before.
    workers : int
        Processes that draw.
    device : str
        Device that they will be copied to.

    Yields
    ------
    images, grids : Tensor
        (N, 1, crop, crop) and (N, 3, crop / cell, crop / cell).
    """
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
