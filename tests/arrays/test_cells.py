"""Arithmetic on cells: what is worked out from ranges is what NumPy gets from lists."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usidx.arrays.cells import (
    Column,
    all_rows_of,
    along,
    as_array,
    as_cells,
    as_key,
    common,
    joined,
    pick,
    present,
    product,
    rows_of,
    run_of,
    same_cells,
    shared,
    united,
)

quick = settings(max_examples=150, deadline=None)
numbers = st.lists(st.integers(0, 25), max_size=12)
slices = st.slices(30)


@st.composite
def ranges(draw):
    step = draw(st.integers(1, 7))
    start = draw(st.integers(0, 30))
    ascending = range(start, start + step * draw(st.integers(0, 12)), step)
    return ascending if draw(st.booleans()) else ascending[::-1]


def cells():
    return ranges() | numbers.map(as_cells)


def listed(cells):
    return as_array(cells).tolist()


@quick
@given(numbers)
def test_lists_keep_their_numbers(some):
    found = as_cells(some)
    assert listed(found) == some
    if len(some) < 2 or len(set(np.diff(some))) == 1 and some[0] != some[1]:
        assert isinstance(found, range)


@quick
@given(cells(), st.data())
def test_picking(held, data):
    key = data.draw(slices)
    assert listed(pick(held, key)) == listed(held)[key]
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(held), max_size=len(held))))
    assert listed(pick(held, mask.astype(bool))) == as_array(held)[mask.astype(bool)].tolist()
    if len(held):
        places = data.draw(st.lists(st.integers(-len(held), len(held) - 1)))
        places = np.array(places, dtype=int)
        assert listed(pick(held, places)) == as_array(held)[places].tolist()


def test_picking_outside_is_refused():
    with pytest.raises(IndexError, match="rows 2 to 5 are out of bounds for 5 rows"):
        pick(range(5), np.array([2, 5]))


@quick
@given(st.lists(cells(), max_size=5))
def test_joining(parts):
    assert listed(joined(parts)) == [cell for part in parts for cell in listed(part)]


def test_neighbours_join_to_a_range():
    parts = [range(0, 4), range(4, 5), range(5, 5), range(5, 9)]
    assert joined(parts) == range(0, 9)
    assert joined([range(9, 5, -2), range(5, 1, -2)]) == range(9, 1, -2)
    assert isinstance(joined([range(0, 3), range(4, 6)]), np.ndarray)


@quick
@given(cells(), cells())
def test_sets(left, right):
    assert listed(shared(left, right)) == [x for x in listed(left) if x in listed(right)]
    assert listed(united(left, right)) == sorted({*listed(left), *listed(right)})
    assert same_cells(left, right) == (listed(left) == listed(right))


@quick
@given(ranges(), ranges())
def test_what_ranges_share_is_a_range_of_rows(left, right):
    both = common(left, right)
    assert list(both) == [x for x in left if x in right]
    assert list(right[run_of(right, both)]) == list(both)
    assert list(np.arange(200)[as_key(both)]) == list(both)


@quick
@given(cells(), cells())
def test_rows_of_cells(held, wanted):
    have = listed(held)
    assert rows_of(held, wanted).tolist() == [
        have.index(each) if each in have else -1 for each in listed(wanted)
    ]
    assert all_rows_of(held, wanted).tolist() == [
        row for each in listed(wanted) for row, cell in enumerate(have) if cell == each
    ]


def grids():
    return st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


@quick
@given(st.data(), grids())
def test_products(data, grid):
    places = []
    for size in grid:
        each = data.draw(st.lists(st.integers(0, size - 1), max_size=4))
        places.append(as_cells(each))
    axes = np.meshgrid(*map(as_array, places), indexing="ij")
    expected = np.ravel_multi_index(axes, grid).ravel() if axes[0].size else np.array([])
    assert listed(product(places, grid)) == expected.tolist()
    if all(len(each) == size == len(set(listed(each))) for each, size in zip(places, grid)):
        assert sorted(listed(product(places, grid))) == list(range(math.prod(grid)))


@quick
@given(st.data(), grids(), slices)
def test_columns(data, grid, key):
    size = math.prod(grid)
    held = pick(range(size), key) if data.draw(st.booleans()) else data.draw(numbers)
    held = as_cells([cell % size for cell in listed(as_cells(held))])
    axes = data.draw(st.lists(st.sampled_from(range(len(grid))), unique=True))
    table = np.arange(math.prod(grid[axis] for axis in axes)) * 0.5
    column = Column(table.reshape([grid[axis] for axis in axes]), tuple(axes))
    where = np.unravel_index(as_array(held), grid)
    expected = table.reshape([grid[axis] for axis in axes])[tuple(where[axis] for axis in axes)]
    np.testing.assert_array_equal(column.at(held, grid), np.broadcast_to(expected, len(held)))
    for axis in range(len(grid)):
        np.testing.assert_array_equal(along(held, grid, axis), where[axis])
        assert listed(present(held, grid, axis)) == sorted(set(where[axis].tolist()))
