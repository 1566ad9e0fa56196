"""The loss that training minimizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


_SPREAD = 0.1  # px, of the Laplace distribution


def grid_loss(
    raw: Tensor,
    grid: Tensor,
    offsets: Tensor,
    log_error: Tensor | None,
    *,
    cell_size: int,
) -> Tensor:
    """Compute the negative log likelihood of which cells hold spots, and where.

    Cross entropy of the probability, and a normal distribution of the position whose
    width the network predicts too. Both are proper scoring rules: at the optimum a cell's
    probability is that of a spot being in it, its offset the mean position given that it
    is, and its error the standard deviation. So the probabilities of neighbouring
    cells that share a spot add up to one, and spots are weighted by their precision.

    For a network that predicts no error it is a Laplace distribution, whose gradient
    does not fade near the true position: bright spots, which are nearer, still count.

    Parameters
    ----------
    raw : Tensor, shape (N, 3 or 4, rows, cols)
        Of the network, before `activate`; the first value is the logit.
    grid : Tensor, shape (N, 3, rows, cols)
        Truth, as from `blinkcore.network.grid.encode`.
    offsets : Tensor, shape (N, 2, rows, cols)
        The activated offsets: linear ones may leave [0, 1] in training.
    log_error : Tensor, shape (N, rows, cols), or None
        Logarithm of the standard error of y and of x in px; None: not predicted.
    cell_size : int
        In px, so that distances are in px.

    Returns
    -------
    Tensor, shape ()
        Mean over all cells, of which perhaps one in a thousand holds a spot.
    """
    is_spot = grid[:, 0]
    entropy = functional.binary_cross_entropy_with_logits(raw[:, 0], is_spot)
    squared_distance = ((offsets - grid[:, 1:]) * cell_size).square().sum(dim=1)
    if log_error is None:
        position = torch.sqrt(squared_distance + 1e-4) / _SPREAD
    else:
        position = (
            0.5 * squared_distance * torch.exp(-2.0 * log_error) + 2.0 * log_error
        )
    return entropy + (is_spot * position).mean()
