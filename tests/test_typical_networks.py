"""Networks that others write pass the check of model files, and load again."""

import io
import warnings
from typing import List, Tuple  # noqa: UP035 (TorchScript reads them)

import pytest
import torch
from torch import nn
from torch.nn import functional

from blinkcore.model_files.archive import checked
from blinkcore.network.torchscript import SilencedDeprecation


def block(n_in, n_out, norm):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), norm, nn.GELU())


class UNet(nn.Module):
    """Skip connections in a list, sizes from shapes, group norms."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(
            [block(1, 8, nn.GroupNorm(2, 8)), block(8, 8, nn.BatchNorm2d(8))]
        )
        self.up = nn.ModuleList([nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 1)])
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips: List[torch.Tensor] = []  # noqa: UP006
        for down in self.down:
            x = down(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        for number, up in enumerate(self.up):
            skip = skips[len(skips) - 1 - number]
            size = skip.shape[-2:]
            x = functional.interpolate(
                x, size=size, mode="bilinear", align_corners=False
            )
            x = up(torch.cat([x, skip], 1))
        return torch.sigmoid(self.head(x))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 2, 2)

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, List[torch.Tensor]]:  # noqa: UP006
        first = self.first(x)
        return self.second(first), [x, first]


class Decoder(nn.Module):
    """A part gives a tensor and a list; another is cropped to its size."""

    def __init__(self):
        super().__init__()
        self.encoder, self.up = Encoder(), nn.ConvTranspose2d(4, 4, 2, 2)
        self.register_buffer("weights", torch.ones(1, 1, 1, 1))
        self.shape = (3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, skips = self.encoder(x)
        y = self.up(y)
        height = min(y.shape[2], x.shape[2])
        both = [y[:, :, :height]] + skips  # noqa: RUF005
        return torch.cat(both, 1)[:, : self.shape[0]] * self.weights


class Attention(nn.Module):
    """Between the pixels, of channels and of places (as in CBAM and in transformers)."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.places = nn.Conv2d(2, 1, 7, padding=3)
        self.parts, self.heads = nn.Conv2d(8, 24, 1), 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        both = [x.mean(1, keepdim=True), torch.max(x, 1, keepdim=True)[0]]
        x = x * torch.sigmoid(self.places(torch.cat(both, 1)))
        x = functional.pad(x, (1, 1, 1, 1))[:, :, 1:-1, 1:-1]
        small = functional.max_pool2d(x, 8)
        n, c, h, w = small.shape
        parts = self.parts(small).view(n, 3, self.heads, c // self.heads, h * w)
        q, k, v = parts.flatten(2, 3).unbind(1)
        shares = torch.softmax(torch.bmm(q.transpose(1, 2), k), dim=-1)
        y = torch.bmm(v, shares.transpose(1, 2)).reshape(n, c, h, w)
        return x + functional.interpolate(y, size=x.shape[-2:], mode="nearest")


def layers(*after):
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *after)


@pytest.mark.parametrize(
    "network",
    [
        UNet(), Decoder(), Attention(), layers(nn.SELU(inplace=True), nn.Hardsigmoid(True)), layers(nn.LayerNorm([64, 64]), nn.PixelShuffle(2)),
        layers(nn.InstanceNorm2d(8), nn.PReLU()), layers(nn.CELU(inplace=True)),
        layers(nn.Dropout2d(), nn.Upsample(scale_factor=2.0)), layers(nn.GLU(1)),
        layers(nn.AdaptiveAvgPool2d(8), nn.Hardswish()), layers(nn.ChannelShuffle(2)),
    ],
    ids=lambda network: "".join(str(network).split())[-45:],
)  # fmt: skip
@pytest.mark.parametrize("is_traced", [False, True], ids=["scripted", "traced"])
def test_networks_of_others_pass(network, is_traced):
    content = io.BytesIO()
    image = torch.rand(1, 1, 64, 64)
    with SilencedDeprecation(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        network.eval()
        script = (
            torch.jit.trace(network, image) if is_traced else torch.jit.script(network)
        )
        torch.jit.save(script, content)
        text, _ = checked(content.getvalue(), "blinkcore.json")
        again = torch.jit.load(io.BytesIO(text))
    with torch.inference_mode():
        torch.testing.assert_close(again(image), network(image))
