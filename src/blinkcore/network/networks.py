"""The networks: `DeepBlink`, as published, and `Blink`, the fast default.

Both map normalized images (N, 1, H, W) to raw values (N, 3, H / cell, W / cell);
`activate` turns these into a grid: probability, row offset, column offset in [0, 1].
The loss wants raw values, an exported model gives the grid.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class Blink(nn.Module):
    """Stride-first network: half resolution at once, levels below, cells of 2 px.

    Most is computed at half and quarter resolution, where a spot is a few pixels wide. The
    levels below take less than a third of the arithmetic and see the context of a spot:
    how many spots there are, how bright, on what background.

    Parameters
    ----------
    filters : int
        Channels at half resolution; three times as many at quarter resolution, four times
        below. Multiples of 16 fill a CPU's vectors.
    depth : int
        Residual convolutions at quarter resolution, on the way up.
    levels : int
        Resolutions below a half: 3 go down to 1/16.
    """

    cell_size = 2
    cell_map = "center"
    normalization = "texture"
    merge_distance = 1.5  # px
    predicts_error = True

    def __init__(self, filters: int = 16, depth: int = 2, levels: int = 3) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {
            "filters": filters,
            "depth": depth,
            "levels": levels,
        }
        self.stride = 2 ** (levels + 1)
        # Layers that need single precision; the others may run in half precision.
        self.exact = ("contrast", "head")
        # Pixels that a cell sees on each side, one term for each part:
        # 16: input filters, stem, encoder, decoder and head, at a half and a quarter;
        # 4 * depth: each block at a quarter adds one pixel of 4 px;
        # 3 * 4 * 2**level: each lower level adds three of its pixels, by two convolutions,
        # one of which halves, and by the pixel that four cells share.
        pixels = [4 * 2**level for level in range(1, levels)]
        self.receptive_field = 16 + 4 * depth + 3 * sum(pixels)
        low, lower = 3 * filters, 4 * filters
        steps = list(pairwise([low] + [lower] * (levels - 1)))
        self.contrast = nn.Conv2d(4, 8, 3, padding=1)
        self.stem = _conv_norm(8, filters)
        self.encoder = _conv_norm(filters, filters)
        self.down = _conv_norm(filters, low, stride=2)
        self.further_down = nn.ModuleList(_conv_norm(a, b, stride=2) for a, b in steps)
        self.below = nn.ModuleList(_conv_norm(b, b) for _, b in steps)
        self.up = nn.ModuleList(_conv_norm(b, a) for a, b in reversed(steps))
        self.middle = nn.ModuleList(_conv_norm(low, low) for _ in range(depth))
        self.reduce = nn.Conv2d(low, filters, 1)
        self.decoder = _conv_norm(filters, filters)
        self.head = nn.Conv2d(filters, 4, 1)
        with torch.no_grad():
            # Probability 0.02, the centre of the cell, an error of 0.5 px.
            start = torch.tensor([-4.0, 0.5, 0.5, -0.7])
            self.head.bias.copy_(start)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """Map images to raw grids.

        Parameters
        ----------
        x : Tensor of float32, shape (N, 1, H, W)
            Normalized; H and W are multiples of `stride`.

        Returns
        -------
        Tensor of float32, shape (N, 4, H / 2, W / 2)
            Logit of the probability, offsets of row and column, and the logarithm of the
            standard error in px.
        """
        x = functional.pixel_unshuffle(x, 2)  # (N, 4, H/2, W/2)
        # Linear filters take differences of the measured values first. Then the range
        # is compressed, so that bright objects do not drown dim ones.
        x = self.compress(self.contrast(x))  # (N, 8, H/2, W/2)
        x = x.to(self.stem[0].weight.dtype)  # type: ignore[arg-type]
        x = functional.relu(self.stem(x))
        high = functional.relu(self.encoder(x))  # (N, F, H/2, W/2)
        x = high + _enlarged(self.reduce(self.lower(high)))
        x = functional.relu(self.decoder(x))
        x = x.to(self.contrast.weight.dtype)
        raw: Tensor = self.head(x)  # (N, 4, H/2, W/2)
        return raw

    def compress(self, x: Tensor) -> Tensor:
        """Compress values, of any shape, like a root: x / sqrt(1 + |x|).

        A root evens out shot noise; asinh is far slower.
        """
        return x * torch.rsqrt(1.0 + x.abs())

    def lower(self, high: Tensor) -> Tensor:
        """Go down and up again, to a quarter of the resolution (N, 3F, H/4, W/4)."""
        x = functional.relu(self.down(high))
        levels: list[Tensor] = []
        for smaller, again in zip(self.further_down, self.below):  # noqa: B905
            levels.append(x)
            x = functional.relu(smaller(x))  # (N, 4F, H/8, W/8) and so on
            x = x + functional.relu(again(x))
        for convolution in self.up:
            x = levels.pop() + _enlarged(functional.relu(convolution(x)))
        for convolution in self.middle:
            x = x + functional.relu(convolution(x))
        return x

    def activate(self, raw: Tensor) -> Tensor:
        """Turn raw values into a grid, of the same shape (N, 4, h, w) without the error."""
        return torch.cat(
            [torch.sigmoid(raw[:, :1]), raw[:, 1:3].clamp(0.0, 1.0)], dim=1
        )

    def offsets(self, raw: Tensor) -> Tensor:
        """Return the offsets (N, 2, h, w) for the loss: linear, also beyond the cell."""
        return raw[:, 1:3]

    def log_error(self, raw: Tensor) -> Tensor:
        """Return the logarithm of the standard error in px (N, h, w), from 0.01 to 3 px."""
        return raw[:, 3].clamp(-4.6, 1.1)


class DeepBlink(nn.Module):
    """deepBlink's network (Eichenberger et al. 2021), layer by layer.

    Encoder and decoder of conv blocks, then a second encoder down to one value per
    cell, where the pooled output of the first encoder is concatenated.

    Parameters
    ----------
    filters : sequence of int
        Channels of each level, one more than the halvings down to a cell. The paper has
        (64, 64, 64), the package doubles from level to level.
    dropout : float
        Of whole channels, in training.
    """

    cell_map = "center"
    normalization = "standard"
    merge_distance = 1.5  # px
    predicts_error = False
    receptive_field = None  # squeeze-and-excitation sees the whole image

    def __init__(
        self, filters: Sequence[int] = (64, 64, 64), dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {"filters": list(filters), "dropout": dropout}
        levels, bottom = list(filters[:-1]), filters[-1]
        self.cell_size = self.stride = 2 ** len(levels)
        self.encoder = nn.ModuleList(
            _ConvBlock(a, b) for a, b in zip([1, *levels[:-1]], levels, strict=True)
        )
        self.bottleneck = _ConvBlock(levels[-1], bottom)
        below = [bottom, *reversed(levels[1:])]
        self.decoder = nn.ModuleList(
            _ConvBlock(b + a, b) for a, b in zip(below, reversed(levels), strict=True)
        )
        self.second = nn.ModuleList(_ConvBlock(a, b) for a, b in pairwise(levels))
        self.last = _ConvBlock(2 * levels[-1], bottom)
        self.head = nn.Conv2d(bottom, 3, 1)
        self.dropout = nn.Dropout2d(dropout)

    def down_and_up(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 1, H, W) through the first encoder and the decoder.

        Returns the output of the decoder (N, F_0, H, W), and the pooled one of the encoder
        (N, F_n, H / cell, W / cell).
        """
        skips: list[Tensor] = []
        for block in self.encoder:
            x = self.dropout(block(x))  # (N, F_i, H / 2^i, W / 2^i)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        pooled = x
        x = self.bottleneck(x)
        for block in self.decoder:
            x = _enlarged(x)
            x = block(torch.cat([skips.pop(), x], dim=1))
        return x, pooled

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized images (N, 1, H, W) to raw grids (N, 3, H / cell, W / cell)."""
        x, pooled = self.down_and_up(x)
        x = functional.max_pool2d(self.dropout(x), 2)  # (N, F_0, H / 2, W / 2)
        for block in self.second:
            x = functional.max_pool2d(self.dropout(block(x)), 2)
        x = self.last(torch.cat([pooled, x], dim=1))  # (N, F_n, H / cell, W / cell)
        raw: Tensor = self.head(x)
        return raw

    def activate(self, raw: Tensor) -> Tensor:
        """Turn raw values into a grid of the same shape (N, 3, h, w)."""
        return torch.sigmoid(raw)

    def offsets(self, raw: Tensor) -> Tensor:
        """Return the offsets (N, 2, h, w) for the loss."""
        return torch.sigmoid(raw[:, 1:])

    def log_error(self, raw: Tensor) -> None:
        """Return None for raw values (N, 3, h, w): this network predicts no uncertainty."""


AnyNetwork: TypeAlias = Blink | DeepBlink
# Largest sizes of a network that is read from a file.
_MAX_SIZES = {"filters": 4_096, "depth": 64, "levels": 10}
_MAX_FILTERS = 10  # numbers of channels, of a network with one for each level
NETWORKS: dict[str, type[AnyNetwork]] = {"blink": Blink, "deepblink": DeepBlink}


def network_of(architecture: str, arguments: dict[str, Any]) -> AnyNetwork:
    """Build a network as a model's metadata describe it.

    Raises
    ------
    ValueError
        If it is not one of blinkcore's own: its file can be run, but not trained further or
        exported as ONNX.
    """
    try:
        return NETWORKS[architecture](**arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"the model's network is {architecture!r} with {arguments}, which is not one of "
            f"blinkcore's ({', '.join(NETWORKS)})"
        ) from error


def network_with(
    architecture: str, arguments: dict[str, Any], weights: Mapping[str, NDArray[Any]]
) -> AnyNetwork:
    """Build a network of blinkcore around weights that were read from a file.

    Parameters
    ----------
    architecture, arguments : str, dict
        As for `network_of`.
    weights : mapping of ndarray
        By the names, and with the shapes and types, of the network's `state_dict`.

    Raises
    ------
    ValueError
        If there is no such network, or it has other weights.
    """
    _check_sizes(arguments)
    try:
        with torch.device("meta"):  # sizes without memory
            network = network_of(architecture, arguments)
    except (ArithmeticError, AttributeError, IndexError, RuntimeError) as error:
        raise ValueError(f"there is no {architecture} of such sizes") from error
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    expected = {n: (t.shape, t.dtype) for n, t in network.state_dict().items()}
    if expected != {n: (t.shape, t.dtype) for n, t in tensors.items()}:
        raise ValueError(f"its weights are not those of a {architecture}")
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _check_sizes(arguments: dict[str, Any]) -> None:
    """Raise ValueError unless the sizes of a network are whole numbers within limits."""
    for name, largest in _MAX_SIZES.items():
        value = arguments.get(name, 1)
        values = value if isinstance(value, list) else [value]
        smallest = 0 if name == "depth" else 1
        if not 0 < len(values) <= _MAX_FILTERS or not all(
            type(n) is int and smallest <= n <= largest for n in values
        ):
            raise ValueError(f"{name} of a network must be {smallest} to {largest:,}")


class _ConvBlock(nn.Module):
    """Three convolutions 3 x 3, each with a leaky ReLU, and squeeze-and-excitation."""

    def __init__(self, n_in: int, n_out: int, ratio: int = 8) -> None:
        super().__init__()
        sizes = [n_in, n_out, n_out]
        convolutions = [nn.Conv2d(n, n_out, 3, padding=1) for n in sizes]
        for convolution in convolutions:
            # "he_normal", as in deepBlink's code: PyTorch's default lets so little
            # through twenty layers that learning starts only after hundreds of steps.
            nn.init.kaiming_normal_(convolution.weight, a=0.2)
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
        self.convolutions = nn.ModuleList(convolutions)
        squeezed = max(1, n_out // ratio)
        # The slope of TensorFlow, which deepBlink has throughout.
        self.activation = nn.LeakyReLU(0.2)
        self.squeeze = nn.Linear(n_out, squeezed)
        self.excite = nn.Linear(squeezed, n_out)

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = self.activation(convolution(x))
        weight = self.activation(self.squeeze(x.mean(dim=(2, 3))))
        weight = torch.sigmoid(self.excite(weight))  # (N, F)
        return x * weight[:, :, None, None]

    def children_in_order(self) -> list[nn.Module]:
        """List the layers with weights, as they are run."""
        return [*self.convolutions, self.squeeze, self.excite]


def _enlarged(x: Tensor) -> Tensor:
    """Double the resolution by repetition.

    `functional.interpolate` does the same, but puts all its branches into a TorchScript
    file, among them operators that versions of PyTorch older than the writer's lack.
    """
    larger: Tensor = torch.ops.aten.upsample_nearest2d(x, None, [2.0, 2.0])
    return larger


def _conv_norm(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    """Make a convolution 3 x 3 and batch norm, which freezing folds into one."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
    )
