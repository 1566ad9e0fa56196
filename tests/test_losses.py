import math

import pytest
import torch

from blinkcore.network import grid
from blinkcore.network.losses import grid_loss


def raw_of(cells, sharpness=20.0):
    raw = cells.clone()
    raw[:, 0] = (cells[:, 0] - 0.5) * sharpness
    return raw


SAME = torch.full((1, 8, 8), -0.6931)  # an error of 0.5 px


def loss_of(raw, cells, offsets, log_error=SAME):
    return grid_loss(raw, cells, offsets, log_error, cell_size=2)


def truth():
    points = [(3.0, 5.0), (10.2, 1.7)]
    return torch.from_numpy(grid.encode(points, (8, 8), cell_size=2))[None]


def test_the_true_grid_costs_only_what_its_error_says():
    cells = truth()
    loss = float(loss_of(raw_of(cells), cells, cells[:, 1:]))
    assert loss == pytest.approx(2 * math.log(0.5) * 2 / 64, abs=1e-4)


def test_a_miss_a_false_spot_and_a_wrong_position_cost():
    cells = truth()
    best = loss_of(raw_of(cells), cells, cells[:, 1:])
    for change in ((0, 0, 1, 2), (0, 0, 7, 7)):
        wrong = raw_of(cells)
        wrong[change] = -wrong[change]
        assert loss_of(wrong, cells, cells[:, 1:]) > best
    moved = cells[:, 1:] + 0.25  # half a px in y and x: 0.5 px² a spot
    cost = loss_of(raw_of(cells), cells, moved) - best
    torch.testing.assert_close(
        cost, torch.tensor(2.0 * 0.5 * 2 / 64), rtol=1e-3, atol=1e-5
    )


def test_offsets_of_empty_cells_do_not_matter():
    cells = truth()
    moved = cells[:, 1:] + 5 * (1 - cells[:, :1])
    best = loss_of(raw_of(cells), cells, cells[:, 1:])
    torch.testing.assert_close(loss_of(raw_of(cells), cells, moved), best)


def test_the_best_error_is_the_distance_itself():
    cells = truth()
    moved = cells[:, 1:] + 0.15  # 0.3 px in y and in x
    raw = raw_of(cells)
    losses = {
        error: float(loss_of(raw, cells, moved, torch.full((1, 8, 8), math.log(error))))
        for error in (0.2, 0.25, 0.3, 0.35, 0.4)
    }
    assert min(losses, key=losses.get) == 0.3


def test_without_a_predicted_error_distances_count_as_they_are():
    cells = truth()
    raw = raw_of(cells)
    best = loss_of(raw, cells, cells[:, 1:], None)
    for shift in (0.15, 0.3):  # of a cell of 2 px, in y and in x
        cost = loss_of(raw, cells, cells[:, 1:] + shift, None) - best
        distance = 2 * shift * math.sqrt(2.0)
        assert float(cost) == pytest.approx(distance / 0.1 * 2 / 64, rel=0.05)
