"""Blocks cover an array once, are runs of rows, and keep to their budget."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from usidx.errors import LayoutError
from usidx.model.blocks import (
    MOST_BLOCKS,
    Block,
    block_shape,
    blocks_of,
    chunks_of,
    contiguous_run,
    pending,
    row_range,
)

shapes = st.lists(st.integers(1, 7), min_size=1, max_size=5).map(tuple)


@given(shapes, st.data())
def test_blocks_cover_each_cell_once_and_are_runs_of_rows(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    n_position = data.draw(st.integers(0, len(shape)))
    block = block_shape(
        shape,
        n_position,
        data.draw(st.sampled_from([1, 2, 8])),
        budget=data.draw(st.integers(1, 2000)),
        align=data.draw(st.none() | st.integers(1, 20)),
        split_spectroscopic=data.draw(st.booleans()),
    )
    rows = math.prod(shape[:n_position])
    numbers = np.arange(rows).reshape(shape[:n_position])
    visits = np.zeros(shape, int)
    for each in blocks_of(shape, block):
        visits[each.key] += 1
        start, stop = row_range(each.key, shape, n_position)
        assert numbers[each.key[:n_position]].ravel().tolist() == list(range(start, stop))
        assert each.shape == visits[each.key].shape
        assert each.size == visits[each.key].size
    assert (visits == 1).all()


@given(shapes, st.integers(1, 3000), st.sampled_from([1, 4, 16]))
def test_blocks_keep_to_the_budget(shape: tuple[int, ...], budget: int, itemsize: int) -> None:
    assume(math.prod(shape) <= MOST_BLOCKS)  # more cells may need larger blocks
    n_position = len(shape) - 1
    nbytes = itemsize * math.prod(block_shape(shape, n_position, itemsize, budget=budget))
    assert nbytes <= max(budget, itemsize * shape[-1])
    everything = block_shape(shape, n_position, itemsize, budget=budget, split_spectroscopic=True)
    assert itemsize * math.prod(everything) <= max(budget, itemsize)


def test_spectroscopic_axes_stay_whole_unless_asked() -> None:
    assert block_shape((4, 1000, 10), 1, 8, budget=1000) == (1, 1000, 10)
    split = block_shape((4, 1000, 10), 1, 8, budget=1000, split_spectroscopic=True)
    assert split == (1, 12, 10)


def test_blocks_are_whole_storage_chunks_where_that_is_near_the_budget() -> None:
    assert block_shape((1000, 10), 1, 1, budget=500, align=16) == (48, 10)
    assert block_shape((1000, 10), 1, 1, budget=500, align=97) == (97, 10)  # twice the budget
    assert block_shape((1000, 10), 1, 1, budget=500, align=900) == (50, 10)  # 18 times is too much
    # 3 rows of 32 are 96 positions, which is 6 chunks of 16
    assert block_shape((64, 32, 1), 2, 1, budget=100, align=16) == (3, 32, 1)


def test_there_are_never_too_many_blocks() -> None:
    shape = (1_000_000, 2)
    block = block_shape(shape, 1, 1, budget=2)
    assert math.prod(len(each) for each in chunks_of(shape, block)) <= 10_000


def test_chunks_are_sizes_of_blocks() -> None:
    shape, block = (7, 3, 4), (2, 3, 3)
    assert chunks_of(shape, block) == ((2, 2, 2, 1), (3,), (3, 1))
    starts = [each.key[0].start for each in blocks_of(shape, block)]
    assert starts == [0, 0, 2, 2, 4, 4, 6, 6]


@given(shapes, st.data())
def test_a_run_is_found_exactly_where_there_is_one(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    key = []
    for size in shape[: data.draw(st.integers(0, len(shape)))]:
        start = data.draw(st.integers(0, size - 1))
        stop = data.draw(st.integers(start, size))
        step = data.draw(st.sampled_from([None, 1, 2]))
        key.append(data.draw(st.sampled_from([start, start - size, slice(start, stop, step)])))
    numbers = np.arange(math.prod(shape)).reshape(shape)[tuple(key)].ravel()
    run = contiguous_run(tuple(key), shape)
    if run is not None:
        assert numbers.tolist() == list(range(*run))
    else:
        assert (np.diff(numbers) != 1).any()


def test_rows_that_are_no_run_are_refused() -> None:
    with pytest.raises(LayoutError, match="no single run of rows"):
        row_range((slice(0, 2), slice(0, 2)), (4, 3, 7), 2)


def test_an_index_out_of_bounds_is_refused() -> None:
    with pytest.raises(IndexError, match="index 4 is out of bounds for an axis of size 4"):
        contiguous_run((4,), (4, 3))


def test_pending_blocks_have_a_position_that_is_not_done() -> None:
    shape = (4, 3, 5)
    done = np.zeros((4, 3), bool)
    done[:2] = True
    done[2, 0] = True
    blocks = list(blocks_of(shape, (1, 3, 5)))
    assert list(pending(blocks, done)) == blocks[2:]
    assert not list(pending(blocks, np.ones((4, 3), bool)))


def test_blocks_can_be_members_of_sets() -> None:
    shape, block = (4, 3), (2, 3)
    assert len({*blocks_of(shape, block), *blocks_of(shape, block)}) == 2
    assert Block((slice(0, 2), slice(0, 3))) in set(blocks_of(shape, block))
