"""Networks that others write pass the check of model files, and load again."""

import io
from typing import List, Tuple  # noqa: UP035 (TorchScript reads them)

import pytest
import torch
from torch import nn
from torch.nn import functional

from blinkcore.network.archive import checked
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


def layers(*after):
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *after)


@pytest.mark.parametrize(
    "network",
    [
        UNet(), Decoder(), layers(nn.LayerNorm([64, 64]), nn.PixelShuffle(2)),
        layers(nn.InstanceNorm2d(8), nn.PReLU()), layers(nn.CELU(inplace=True)),
        layers(nn.Dropout2d(), nn.Upsample(scale_factor=2.0)), layers(nn.GLU(1)),
        layers(nn.AdaptiveAvgPool2d(8), nn.Hardswish()), layers(nn.ChannelShuffle(2)),
    ],
    ids=lambda network: "".join(str(network).split())[-30:],
)  # fmt: skip
def test_networks_of_others_pass(network):
    content = io.BytesIO()
    with SilencedDeprecation():
        torch.jit.save(torch.jit.script(network.eval()), content)
        script, _ = checked(content.getvalue(), "blinkcore.json")
        again = torch.jit.load(io.BytesIO(script))
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(again(image), network(image))
