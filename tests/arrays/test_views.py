"""Block arrays over block arrays: the right values, reading no more than is needed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usidx.arrays.folding import as_runs, filled_dtype, fold_chunks, take
from usidx.arrays.lazy import Blocks, read_outer
from usidx.arrays.unfolded import Unfolded
from usidx.arrays.views import ComputedView, FieldView, FlatView, boxes_of, whole_key, with_nan

quick = settings(max_examples=80, deadline=None)


class Held:
    """A block array in memory that counts what is read, and takes ints and slices only."""

    def __init__(self, values):
        self.values, self.read = values, 0
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, key):
        assert isinstance(key, tuple)
        assert len(key) == self.ndim
        assert all(isinstance(part, (int, slice)) for part in key)
        block = self.values[key]
        self.read += block.size
        return block

    def __dask_tokenize__(self):
        return "Held", self.values


def parts(size):
    """Ints and slices along an axis."""
    bound = st.none() | st.integers(-size - 1, size + 1)
    steps = st.none() | st.sampled_from([1, 2, -1, -3])
    return st.integers(-size, size - 1) | st.builds(slice, bound, bound, steps)


@st.composite
def grids(draw):
    position = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    spectroscopic = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=2)))
    return position, spectroscopic


@quick
@given(st.data(), grids())
def test_2d_views_read_what_a_reshape_has(data, grid):
    position, spectroscopic = grid
    shape = position + spectroscopic
    flat = (math.prod(position), math.prod(spectroscopic))
    values = np.arange(math.prod(shape)).reshape(shape)
    orders = [
        np.array(data.draw(st.permutations(range(size)))) if data.draw(st.booleans()) else None
        for size in flat
    ]
    expected = values.reshape(flat)
    for axis, cells in enumerate(orders):
        expected = expected if cells is None else np.take(expected, cells, axis)
    held = Held(values)
    view = FlatView(held, len(position), *orders)
    assert (view.shape, view.ndim, view.dtype) == (flat, 2, values.dtype)
    key = tuple(data.draw(parts(size)) for size in flat)
    np.testing.assert_array_equal(view[key], expected[key])
    np.testing.assert_array_equal(view[...], expected)


def test_2d_views_read_no_more_than_the_hull():
    held = Held(np.zeros((100, 100, 8)))
    FlatView(held, 2)[155:167]
    assert held.read == 12 * 8
    snake = np.arange(10_000).reshape(100, 100)
    snake[1::2] = snake[1::2, ::-1]
    held.read = 0
    FlatView(held, 2, snake.ravel())[150:260:2]
    assert held.read == 109 * 8


@quick
@given(st.data(), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_boxes_make_up_a_run(data, shape):
    size = math.prod(shape)
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    cells = np.arange(size).reshape(shape)
    found = [cells[box].ravel() for box in boxes_of(start, stop, tuple(shape))]
    assert len(found) <= 2 * len(shape) - 1 or stop == start
    np.testing.assert_array_equal(np.concatenate([*found, []]), np.arange(start, stop))


@quick
@given(st.data(), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_lists_of_places_read_as_numpy_would(data, shape):
    values = np.arange(math.prod(shape)).reshape(shape)
    key = tuple(
        data.draw(parts(size) | st.lists(st.integers(0, size - 1), max_size=6)) for size in shape
    )
    expected = values
    for axis in reversed(range(len(shape))):
        index = key[axis] if not isinstance(key[axis], list) else np.array(key[axis], dtype=int)
        expected = expected[(slice(None),) * axis + (index,)]
    np.testing.assert_array_equal(read_outer(Held(values), key), expected)
    blocks = Blocks(Held(values))
    assert (blocks.shape, blocks.ndim, blocks.dtype) == (values.shape, values.ndim, values.dtype)


@quick
@given(st.data(), st.lists(st.integers(1, 4), min_size=2, max_size=3))
def test_rows_know_their_values_along_each_axis(data, shape):
    grid = tuple(shape)
    size = math.prod(grid)
    cells = np.array(data.draw(st.permutations(range(size)))) if data.draw(st.booleans()) else None
    axes = (0,) if data.draw(st.booleans()) else (0, 1)
    values = np.arange(math.prod(grid[axis] for axis in axes)) * 0.5
    values = values.reshape([grid[axis] for axis in axes])
    column = Unfolded(values, grid, axes, cells)
    along = values.reshape(values.shape + (1,) * (len(grid) - len(axes)))
    expected = np.broadcast_to(along, grid).ravel()
    expected = expected if cells is None else expected[cells]
    key = data.draw(parts(size))
    np.testing.assert_array_equal(column[(key,)], expected[key])
    assert column.shape == (size,)


def test_fields_and_marks():
    values = np.zeros((2, 3, 4), [("a", "i2"), ("b", "f8")])
    values["a"] = 7
    field = FieldView(Held(values), "a")
    assert (field.shape, field.ndim, field.dtype) == ((2, 3, 4), 3, np.dtype("i2"))
    assert field[1, 2, 3].shape == ()
    done = np.array([[True, False, True], [False, False, True]])
    view = ComputedView(field, Held(done))
    assert view.dtype == np.dtype("f4")
    np.testing.assert_array_equal(view[0, :, 1], [7, np.nan, 7])
    np.testing.assert_array_equal(view[1], np.where(done[1][:, None], 7, np.nan) * np.ones(4))
    assert np.isnan(view[(1, 0, 0)])


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("f2", "f2"),
        ("c8", "c8"),
        ("i2", "f4"),
        ("u1", "f4"),
        ("i4", "f8"),
        ("u8", "f8"),
        ("?", "f4"),
        (">f4", ">f4"),
    ],
)
def test_room_for_nan(dtype, expected):
    assert with_nan(np.dtype(dtype)) == np.dtype(expected)


def test_keys_are_made_whole():
    assert whole_key((..., 2), 3) == (slice(None), slice(None), 2)
    assert whole_key(1, 2) == (1, slice(None))
    assert whole_key((1, ..., 2), 2) == (1, 2)


@pytest.mark.parametrize(
    ("dtype", "fill", "expected"),
    [
        ("i2", -1, "i2"),
        ("i2", np.nan, "f4"),
        ("i8", np.nan, "f8"),
        ("f4", np.nan, "f4"),
        ("f4", 0, "f4"),
        ("u1", 300, "i8"),
        ("u1", -1, "i8"),
        ("i2", 0.5, "f8"),
        ("c8", np.nan, "c8"),
        ("?", False, "?"),
    ],
)
def test_dtypes_hold_the_fill_value(dtype, fill, expected):
    found = filled_dtype(np.dtype(dtype), fill)
    assert found == np.dtype(expected)
    filled = take(np.ones((2, 2), dtype), np.array([1, -1]), 0, fill)
    assert filled.dtype == found
    np.testing.assert_array_equal(filled, np.array([[1, 1], [fill, fill]], found))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (((2, 2), (5,)), ((2, 2), (5,))),
        (((1, 1), (3, 2)), ((1, 1), (3, 2))),
        (((2, 2), (3, 2)), ((1, 1, 1, 1), (5,))),
        (((4,), (2, 3)), ((2, 2), (5,))),
        (((3,),), ((3,),)),
    ],
)
def test_chunks_become_runs(chunks, expected):
    assert as_runs(chunks) == expected


@pytest.mark.parametrize(
    ("flat", "shape", "expected"),
    [
        ((10, 10), (4, 5), ((2, 2), (5,))),
        ((3, 2) * 4, (4, 5), ((1, 1, 1, 1), (3, 2))),
        ((15, 5), (4, 5), ((3, 1), (5,))),
        ((7, 7, 6), (4, 5), ((1, 1, 1, 1), (5,))),
        ((3, 3, 3, 3, 3, 3, 2), (4, 5), ((1, 1, 1, 1), (3, 2))),
        ((20,), (4, 5), ((4,), (5,))),
    ],
)
def test_chunks_of_rows_become_chunks_of_grids(flat, shape, expected):
    assert fold_chunks(flat, shape) == expected
