"""Networks that are compared with `blink`, each different from it in one thing."""

import torch
from torch import nn
from torch.nn import functional

from blinkcore.network.networks import Blink, _conv_norm, _enlarged


class Asinh(Blink):
    """Compress the range by asinh."""

    def compress(self, x):
        return torch.asinh(x)


class Linear(Blink):
    """Never compress the range."""

    def compress(self, x):
        return x


class Standard(Blink):
    """Mean and standard deviation instead of median and noise."""

    normalization = "standard"


class Dilated(Blink):
    """One level below a half, with dilations 1, 2, 4 instead of those further down."""

    def __init__(self, filters=16, depth=3, levels=1):
        super().__init__(filters, depth, levels)
        for block, dilation in zip(self.middle, (1, 2, 4), strict=True):
            block[0].dilation = block[0].padding = (dilation, dilation)


class Surroundings(Blink):
    """One level below a half, and means over about 160 px instead of those further down."""

    def __init__(self, filters=16, depth=3, levels=1):
        super().__init__(filters, depth, levels)
        low = 3 * filters
        self.look = nn.Conv2d(low, 32, 1)
        self.think = nn.Conv2d(32, 32, 1)
        self.tell = nn.Conv2d(32, low, 1)

    def lower(self, high):
        x = functional.relu(self.down(high))
        for i, convolution in enumerate(self.middle):
            if i == 2:
                x = x + self.around(x)
            x = x + functional.relu(convolution(x))
        return x

    def around(self, x):
        y = functional.relu(self.look(x))
        y = functional.avg_pool2d(y, 8, ceil_mode=True, count_include_pad=False)
        y = functional.avg_pool2d(y, 5, 1, 2, count_include_pad=False)
        y = self.tell(functional.relu(self.think(y)))
        y = functional.interpolate(y, scale_factor=8.0, mode="bilinear")
        return y[:, :, : x.shape[2], : x.shape[3]]


class Excited(Blink):
    """Squeeze-and-excitation at a quarter: each spot depends on the whole image."""

    def __init__(self, filters=16, depth=2, levels=3):
        super().__init__(filters, depth, levels)
        self.reduce = nn.Sequential(_Excitation(3 * filters), self.reduce)


class _Excitation(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.squeeze = nn.Linear(n, n // 8)
        self.excite = nn.Linear(n // 8, n)

    def forward(self, x):
        weight = functional.relu(self.squeeze(x.mean(dim=(2, 3))))
        return x * torch.sigmoid(self.excite(weight))[:, :, None, None]


class Reparametrized(Blink):
    """Beside each convolution in the middle a 1 x 1 and an identity branch, to fold.

    They are not folded here, so the time is too long.
    """

    def __init__(self, filters=16, depth=2, levels=3):
        super().__init__(filters, depth, levels)
        self.middle = nn.ModuleList(_Branches(3 * filters) for _ in range(depth))
        self.below = nn.ModuleList(_Branches(4 * filters) for _ in range(levels - 1))


class _Branches(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.square = _conv_norm(n, n)
        self.point = nn.Sequential(nn.Conv2d(n, n, 1, bias=False), nn.BatchNorm2d(n))
        self.none = nn.BatchNorm2d(n)

    def forward(self, x):
        return self.square(x) + self.point(x) + self.none(x)


class Strided(Blink):
    """A convolution of 3 x 3 with a stride instead of 2 x 2 pixels as channels."""

    def __init__(self, filters=16, depth=2, levels=3):
        super().__init__(filters, depth, levels)
        self.contrast = nn.Conv2d(1, 8, 3, stride=2, padding=1)

    def forward(self, x):
        x = functional.relu(self.stem(self.compress(self.contrast(x))))
        high = functional.relu(self.encoder(x))
        x = high + _enlarged(self.reduce(self.lower(high)))
        return self.head(functional.relu(self.decoder(x)))


class _Quarter(Blink):
    """Values at a quarter of the resolution; nothing is computed above."""

    n_values = 4

    def __init__(self, filters=16, depth=3, levels=3):
        super().__init__(filters, depth, levels)
        self.reduce = self.decoder = nn.Identity()
        self.head = nn.Conv2d(3 * filters, self.n_values, 1)
        start = torch.tensor([-4.0, 0.5, 0.5, -0.7])
        with torch.no_grad():
            self.head.bias.copy_(start.repeat_interleave(self.n_values // 4))

    def forward(self, x):
        x = self.compress(self.contrast(functional.pixel_unshuffle(x, 2)))
        high = functional.relu(self.encoder(functional.relu(self.stem(x))))
        return self.unfold(self.head(self.lower(high)))

    def unfold(self, x):
        return x


class CellFour(_Quarter):
    """Cells of 4 px."""

    cell_size = 4
    merge_distance = 2.0


class NoWayUp(_Quarter):
    """Each quarter pixel gives the values of its four cells: up to four spots in 4 px."""

    n_values = 16

    def unfold(self, x):
        return functional.pixel_shuffle(x, 2)


class CellOne(Blink):
    """Cells of 1 px: a heat map, whose maxima the decoder takes."""

    cell_size = 1

    def __init__(self, filters=16, depth=2, levels=3):
        super().__init__(filters, depth, levels)
        head = nn.Conv2d(filters, 16, 1)
        start = torch.tensor([-5.4, 0.5, 0.5, -0.7]).repeat_interleave(4)
        with torch.no_grad():
            head.bias.copy_(start)
        self.head = nn.Sequential(head, nn.PixelShuffle(2))


CENTRES = torch.linspace(-0.125, 1.125, 8)  # of bins, in cells


class Bins(Blink):
    """Offsets as the mean of a distribution over 8 bins each."""

    def __init__(self, filters=16, depth=2, levels=3):
        super().__init__(filters, depth, levels)
        head = nn.Conv2d(filters, 18, 1)
        with torch.no_grad():
            head.bias.zero_()
            head.bias[:2] = torch.tensor([-4.0, -0.7])
        self.head = nn.Sequential(head, _Means())


class _Means(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("centres", CENTRES)

    def forward(self, x):
        share = torch.softmax(x[:, 2:].unflatten(1, (2, 8)), dim=2)
        mean = (share * self.centres[:, None, None]).sum(dim=2)
        return torch.cat([x[:, :1], mean, x[:, 1:2], x[:, 2:]], dim=1)
