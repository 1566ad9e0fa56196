import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import blinkcore
from blinkcore import _core
from blinkcore.network import grid
from blinkcore.network.calibration import PROBABILITY_FLOOR

INSIDE = st.floats(-0.5, 63.49, allow_nan=False)


def simple_decode(cells, cell_size, threshold, origin=-0.5):
    """Six lines of NumPy: no merging."""
    row, col = np.nonzero(cells[0] > threshold)
    y = (row + cells[1, row, col].astype(float)) * cell_size + origin
    x = (col + cells[2, row, col].astype(float)) * cell_size + origin
    return np.stack([y, x, cells[0, row, col]], axis=1)


def test_version_matches_extension():
    assert _core.__version__ == blinkcore.__version__


@pytest.mark.parametrize("cell_size", [2, 4])
@given(points=st.lists(st.tuples(INSIDE, INSIDE), max_size=30))
def test_spots_in_their_own_cells_survive_encode_and_decode(cell_size, points):
    cells = {}
    for y, x in points:
        cells[int((y + 0.5) // cell_size), int((x + 0.5) // cell_size)] = (y, x)
    expected = np.array([cells[key] for key in sorted(cells)]).reshape(-1, 2)
    n = 64 // cell_size
    encoded = grid.encode(list(cells.values()), (n, n), cell_size=cell_size)
    found = grid.decode(encoded, cell_size=cell_size)
    # float32 offsets in a cell: 1e-7 of its side
    np.testing.assert_allclose(found[:, :2], expected, atol=1e-6)


def test_borders_of_cells_are_exact():
    # An integer is the centre of a pixel: pixels 0..3 fill the first cell, -0.5 to 3.5.
    encoded = grid.encode([(-0.5, 3.4999), (3.5, 0.0)], (2, 1), cell_size=4)
    assert encoded[0].tolist() == [[1.0], [1.0]]
    np.testing.assert_allclose(encoded[:, 0, 0], [1, 0, 0.999975], atol=1e-6)
    np.testing.assert_allclose(encoded[:, 1, 0], [1, 0, 0.125], atol=1e-6)


def test_spots_outside_go_to_the_nearest_cell_and_do_not_wrap():
    encoded = grid.encode([(-2.0, 100.0)], (4, 3), cell_size=4)
    assert encoded[:, 0, 2].tolist() == [1.0, 0.0, 1.0]
    assert encoded[0].sum() == 1


def test_deepblink_cells_begin_at_the_first_pixels_centre():
    encoded = grid.encode([(5.0, 2.0)], (2, 2), cell_size=4, cell_map="deepblink")
    assert encoded[:, 1, 0].tolist() == [1.0, 0.25, 0.5]
    found = grid.decode(encoded, cell_size=4, cell_map="deepblink")
    assert found.tolist() == [[5.0, 2.0, 1.0]]


def test_offsets_reach_both_borders_of_every_cell():
    for row, col in itertools.product(range(3), range(5)):
        for offset in (0.0, 1.0):
            cells = np.zeros((3, 3, 5), np.float32)
            cells[:, row, col] = 0.75, offset, 1 - offset
            (spot,) = grid.decode(cells, cell_size=4)
            y, x = (row + offset) * 4 - 0.5, (col + 1 - offset) * 4 - 0.5
            assert spot.tolist() == [y, x, 0.75]


@given(
    cells=hnp.arrays(
        np.float32, (3, 7, 9), elements=st.floats(0, 1, width=32, allow_nan=False)
    ),
    threshold=st.floats(0.0, 0.99),
)
def test_decode_equals_simple_numpy(cells, threshold):
    found = grid.decode(cells, cell_size=4, threshold=threshold)
    np.testing.assert_allclose(
        found, simple_decode(cells, 4, threshold), rtol=0, atol=1e-12
    )


def two_candidates(first, second, merge_distance=1.5, threshold=0.5):
    """Decode candidates of two cells of 2 px side by side: (probability, x in px) each."""
    cells = np.zeros((3, 4, 4), np.float32)
    for col, (probability, x) in ((1, first), (2, second)):
        cells[:, 1, col] = probability, 0.5, (x + 0.5) / 2 - col
    return grid.decode(
        cells, cell_size=2, threshold=threshold, merge_distance=merge_distance
    )


def test_one_spot_seen_by_two_cells_is_one():
    (spot,) = two_candidates((0.9, 3.4), (0.8, 3.6))
    assert spot[1] == pytest.approx((0.9 * 3.4 + 0.8 * 3.6) / 1.7)
    assert spot[2] == 1.0


@pytest.mark.parametrize(("factor", "counts"), [(1.01, True), (0.99, False)])
def test_the_floor_of_calibration_is_that_of_decoding(factor, counts):
    """A part of a spot counts if it has at least the probability of a candidate."""
    cells = grid.encode([(3.4, 1.0), (3.6, 1.0)], (2, 1), cell_size=4)
    part = PROBABILITY_FLOOR * factor
    cells[0] = [[0.6], [part]]
    (found,) = grid.decode(cells, cell_size=4, merge_distance=1.0)
    assert found[2] == pytest.approx(0.6 + (part if counts else 0.0), abs=1e-6)


def test_halves_of_a_spot_on_a_border_add_up():
    (spot,) = two_candidates((0.45, 3.3), (0.35, 3.7))
    assert spot[2] == pytest.approx(0.8)


def test_two_spots_two_pixels_apart_stay_two():
    found = two_candidates((0.9, 2.5), (0.9, 4.5))
    np.testing.assert_allclose(found[:, 1], [2.5, 4.5], atol=1e-6)


def test_a_higher_threshold_keeps_the_same_spots():
    rng = np.random.default_rng(0)
    cells = rng.random((3, 40, 40), np.float32) ** 4
    low = grid.decode(cells, cell_size=2, threshold=0.05, merge_distance=1.5)
    high = grid.decode(cells, cell_size=2, threshold=0.8, merge_distance=1.5)
    np.testing.assert_array_equal(low[low[:, 2] > 0.8], high)
    assert len(high) > 10


def test_a_spot_on_a_corner_of_four_cells_is_one():
    cells = np.zeros((3, 4, 4), np.float32)
    for row, col in itertools.product((1, 2), (1, 2)):
        cells[:, row, col] = 0.24, 2 - row, 2 - col
    (spot,) = grid.decode(cells, cell_size=2, merge_distance=1.5)
    np.testing.assert_allclose(spot, [3.5, 3.5, 0.96], atol=1e-6)


def test_the_error_of_a_merged_spot_is_the_mean_of_its_parts():
    cells = np.zeros((4, 4, 4), np.float32)
    cells[:, 1, 1] = 0.6, 0.5, 0.95, 0.1
    cells[:, 1, 2] = 0.3, 0.5, 0.05, 0.4
    cells[:, 3, 3] = 0.9, 0.5, 0.5, 0.25
    found = grid.decode(cells, cell_size=2, merge_distance=1.5)
    merged = np.sqrt((0.6 * 0.1**2 + 0.3 * 0.4**2) / 0.9)
    np.testing.assert_allclose(found[:, 3], [merged, 0.25], rtol=1e-6)


def test_not_a_number_is_no_spot():
    cells = np.full((3, 2, 2), np.nan, np.float32)
    cells[0, 1] = 0.9
    cells[1:, 1, 1] = 0.5
    assert grid.decode(cells, cell_size=4).shape == (1, 3)


def test_empty_grids_give_no_spots():
    for shape in ((3, 0, 0), (3, 4, 0), (3, 4, 4)):
        assert grid.decode(np.zeros(shape, np.float32), cell_size=4).shape == (0, 3)


@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 4), (1, 3, 4, 4)])
def test_decode_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="grid must have shape"):
        grid.decode(np.zeros(shape, np.float32), cell_size=4)


@pytest.mark.parametrize(
    "option", [{"cell_size": 0}, {"threshold": -1}, {"threshold": float("nan")}]
)
def test_decode_refuses_senseless_options(option):
    options = {"cell_size": 4, "origin": 0, "threshold": 0.5, "merge_distance": 0}
    with pytest.raises(ValueError, match=next(iter(option))):
        _core.decode(np.zeros((3, 2, 2), np.float32), **(options | option))


def test_other_types_and_strides_give_the_same():
    cells = np.random.default_rng(0).random((3, 8, 8), np.float32)
    expected = grid.decode(cells, cell_size=4)
    np.testing.assert_array_equal(
        grid.decode(cells.astype(float), cell_size=4), expected
    )
    strided = np.asfortranarray(cells)
    np.testing.assert_array_equal(grid.decode(strided, cell_size=4), expected)


def test_results_own_their_memory():
    cells = np.random.default_rng(0).random((3, 8, 8), np.float32)
    spots = grid.decode(cells, cell_size=4)
    expected = spots.copy()
    del cells
    _ = [np.ones((100, 3)) for _ in range(100)]
    np.testing.assert_array_equal(spots, expected)


def test_four_threads_equal_one():
    rng = np.random.default_rng(0)
    grids = [rng.random((3, 64, 64), np.float32) for _ in range(16)]

    def run(cells):
        return grid.decode(cells, cell_size=2, threshold=0.7, merge_distance=1.5)

    with ThreadPoolExecutor(4) as pool:
        for one, many in zip(map(run, grids), pool.map(run, grids), strict=True):
            np.testing.assert_array_equal(one, many)
