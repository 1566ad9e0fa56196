import torch

from blinkcore import grid
from blinkcore.losses import grid_loss


def raw_of(cells, sharpness=20.0):
    raw = cells.clone()
    raw[:, 0] = (cells[:, 0] - 0.5) * sharpness
    return raw


def truth():
    points = [(3.0, 5.0), (10.2, 1.7)]
    return torch.from_numpy(grid.encode(points, (8, 8), cell_size=2))[None]


def test_the_true_grid_has_almost_no_loss():
    cells = truth()
    assert float(grid_loss(raw_of(cells), cells, cells[:, 1:], cell_size=2)) < 1e-4


def test_a_miss_a_false_spot_and_a_wrong_position_cost():
    cells = truth()
    best = grid_loss(raw_of(cells), cells, cells[:, 1:], cell_size=2)
    for change in ((0, 0, 1, 2), (0, 0, 7, 7)):
        wrong = raw_of(cells)
        wrong[change] = -wrong[change]
        assert grid_loss(wrong, cells, cells[:, 1:], cell_size=2) > best
    moved = cells[:, 1:] + 0.25  # half a px in y and x: 0.5 px² a spot
    cost = grid_loss(raw_of(cells), cells, moved, cell_size=2) - best
    torch.testing.assert_close(cost, torch.tensor(2.0 * 0.5 * 2 / 64))


def test_offsets_of_empty_cells_do_not_matter():
    cells = truth()
    moved = cells[:, 1:] + 5 * (1 - cells[:, :1])
    best = grid_loss(raw_of(cells), cells, cells[:, 1:], cell_size=2)
    torch.testing.assert_close(
        grid_loss(raw_of(cells), cells, moved, cell_size=2), best
    )
