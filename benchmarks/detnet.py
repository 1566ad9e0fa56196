"""The peer DetNet (Wollmann et al., ISBI 2019), from its description.

An hourglass of residual blocks with instance norm, one probability a pixel, soft Dice over the
batch, AMSGrad 1e-3; spots are the centroids of connected pixels. Its parameter alpha shifts the
sigmoid: a pixel counts where its logit exceeds alpha.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional


class DetNet(nn.Module):
    def __init__(self, filters=(16, 32, 64)):
        super().__init__()
        a, b, c = filters
        self.down = nn.ModuleList([_Residual(1, a), _Residual(a, b), _Residual(b, c)])
        self.up = nn.ModuleList([_Plain(c, b), _Plain(b, a)])
        self.head = nn.Conv2d(a, 1, 1)

    def forward(self, x):
        """Map images (N, 1, H, W) to logits of the same shape."""
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
        for block in self.up:
            x = block(functional.interpolate(x, scale_factor=2.0, mode="bilinear"))
        return self.head(x)


class _Plain(nn.Sequential):
    def __init__(self, n_in, n_out):
        super().__init__(*(_conv(n_in if i == 0 else n_out, n_out) for i in range(3)))


class _Residual(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.first = _conv(n_in, n_out)
        self.others = nn.Sequential(_conv(n_out, n_out), _conv(n_out, n_out))

    def forward(self, x):
        x = self.first(x)
        return x + self.others(x)


def _conv(n_in, n_out):
    convolution = nn.Conv2d(n_in, n_out, 3, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), nn.InstanceNorm2d(n_out, affine=True))


def dice_loss(logits, mask):
    """Soft Dice over all pixels of a batch."""
    p = torch.sigmoid(logits)
    return 1.0 - 2.0 * (p * mask).sum() / (p.sum() + mask.sum() + 1e-7)


def mask_of(points, shape):
    """One pixel a spot."""
    mask = np.zeros(shape, np.float32)
    row, col = np.rint(points).astype(int).reshape(-1, 2).T
    mask[row.clip(0, shape[0] - 1), col.clip(0, shape[1] - 1)] = 1.0
    return mask


def spots_of(logits, alpha):
    """Centroids (n, 2) of connected pixels above alpha."""
    labels, n = ndimage.label(logits > alpha)
    centres = ndimage.center_of_mass(labels > 0, labels, range(1, n + 1))
    return np.array(centres).reshape(-1, 2)
