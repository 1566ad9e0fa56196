"""What training minimizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def grid_loss(raw: Tensor, grid: Tensor, offsets: Tensor, *, cell_size: int) -> Tensor:
    """Cross entropy of the probability and squared distance of the position.

    Both are proper scoring rules: at the optimum a cell's probability is that of a spot
    being in it, and its offset the mean position given that it is. So the parts of a spot
    that neighbouring cells claim add up to the whole.

    Parameters
    ----------
    raw : Tensor, shape (N, 3, rows, cols)
        Of the network, before `activate`.
    grid : Tensor, shape (N, 3, rows, cols)
        Truth, as from `blinkcore.grid.encode`.
    offsets : Tensor, shape (N, 2, rows, cols)
        The activated offsets: linear ones may leave [0, 1] in training.
    cell_size : int
        In px, so that distances are in px.

    Returns
    -------
    Tensor, shape ()
        Mean over all cells, of spots a thousandth or so of the cells.
    """
    is_spot = grid[:, 0]
    entropy = functional.binary_cross_entropy_with_logits(raw[:, 0], is_spot)
    square = ((offsets - grid[:, 1:]) * cell_size).square().sum(dim=1)
    # The likelihood of a normal error of 0.5 px: 1 / (2 * 0.5²).
    return entropy + 2.0 * (is_spot * square).mean()
