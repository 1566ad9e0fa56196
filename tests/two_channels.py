"""Places of spots in two channels, half of them shared."""

import numpy as np

SHAPE = (256, 256)


def places(n=30, seed=0, apart=14.0):
    """Places that are a distance apart: a jittered grid, in random order."""
    rng = np.random.default_rng(seed)
    side = int(SHAPE[0] // apart)
    cells = rng.permutation(side * side)[:n]
    grid = np.stack(np.divmod(cells, side), axis=1) * apart + apart / 2
    return grid + rng.uniform(-1.5, 1.5, (n, 2))


def two_channels(n=30, n_shared=15, shift=(0.0, 0.0), seed=0):
    """Fifteen of thirty spots in both channels, at the same places but for noise."""
    rng = np.random.default_rng(seed + 1)
    every = places(2 * n - n_shared, seed)
    first, second = every[:n], every[n - n_shared :]
    return first, second + rng.normal(0, 0.2, second.shape) + shift
