"""Parts of stored arrays, computed as NumPy picks them and in few tasks."""

from __future__ import annotations

import math
import pathlib
import pickle
from typing import Any

import dask
import dask.array
import h5py
import numpy as np
import pytest
from dask.base import collections_to_expr
from hypothesis import given, settings
from hypothesis import strategies as st

import usidx
from usidx.arrays.lazy import to_dask
from usidx.arrays.parts import TASKS, StoredPart, fewer

SHAPE = (9, 40, 7)


class Numbers:
    """Values in memory that say what was read of them, as those do that lie in one piece."""

    reads_anywhere = True
    dtype = np.dtype("f4")

    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        self.values = np.arange(math.prod(shape), dtype="f4").reshape(shape)
        self.shape, self.ndim = shape, len(shape)
        self.read: list[int] = []

    def __getitem__(self, key: Any, /) -> Any:
        found = self.values[key].copy()
        self.read.append(found.size)
        return found

    def __dask_tokenize__(self) -> Any:
        return "numbers", self.shape


def lazy(stored: Numbers, chunks: Any = ((2, 2, 2, 2, 1), (1,) * 40, (4, 3))) -> dask.array.Array:
    return to_dask(stored, chunks)


def index_of(size: int) -> st.SearchStrategy[Any]:
    return st.one_of(st.integers(-size, size - 1), st.slices(size))


@settings(max_examples=150, deadline=None)
@given(st.tuples(*map(index_of, SHAPE)), st.integers(0, 3))
def test_any_part(index: tuple[Any, ...], said: int) -> None:
    stored = Numbers()
    key = (*index[:said], Ellipsis)
    part = lazy(stored)[key]
    np.testing.assert_array_equal(part.compute(scheduler="synchronous"), stored.values[key])
    if all(not isinstance(each, slice) or (each.step or 1) > 0 for each in key):
        assert sum(stored.read) == stored.values[key].size  # nothing twice, nothing besides


@pytest.mark.parametrize("index", [(3, 5, 2), (0,), (slice(2, 2),), (..., [1, 5]), (None, 3)])
def test_other_parts(index: tuple[Any, ...]) -> None:
    stored = Numbers()
    np.testing.assert_array_equal(lazy(stored)[index].compute(), stored.values[index])


def tasks_of(*arrays: dask.array.Array) -> int:
    return len(collections_to_expr(arrays).finalize_compute().optimize().__dask_graph__())


def test_few_tasks_for_a_map() -> None:
    array = lazy(Numbers())
    assert math.prod(array[..., 3].numblocks) == 200
    assert tasks_of(array[..., 3]) <= TASKS + 1
    assert array[..., 3].chunks == array.chunks[:2]  # as everybody else sees them
    assert tasks_of(array[..., 3] + 1) > 200  # nothing but a part


def test_blocks_that_are_large_stay_apart() -> None:
    assert fewer(((1,) * 64, (2**20,)), 4) == ((1,) * 64, (2**20,))
    assert fewer(((1,) * 64, (2**10,)), 4) == ((4,) * 16, (2**10,))
    assert fewer(((), ()), 4) == ((), ())


def test_parts_of_one_array_together() -> None:
    stored = Numbers()
    one, other, third = dask.compute(*(lazy(stored)[..., number] for number in range(2)), 7)
    np.testing.assert_array_equal(one, stored.values[..., 0])
    np.testing.assert_array_equal(other, stored.values[..., 1])
    assert third == 7


def test_a_part_of_a_part_and_what_is_made_of_it() -> None:
    stored = Numbers()
    part = lazy(stored)[..., 3]
    assert isinstance(part, StoredPart)
    np.testing.assert_array_equal(part[2:5, ::3].compute(), stored.values[2:5, ::3, 3])
    np.testing.assert_array_equal(
        (part - part[:1]).compute(), stored.values[..., 3] - stored.values[:1, :, 3]
    )
    np.testing.assert_array_equal(part.persist().compute(), stored.values[..., 3])
    (optimized,) = dask.optimize(part)
    np.testing.assert_array_equal(optimized.compute(), stored.values[..., 3])
    np.testing.assert_array_equal(part.compute(optimize_graph=False), stored.values[..., 3])
    delayed = part.to_delayed()
    np.testing.assert_array_equal(delayed[0, 4].compute(), stored.values[:2, 4:5, 3])


def test_values_assigned_to_are_kept() -> None:
    stored = Numbers()
    whole, part = lazy(stored), lazy(stored)[..., 3]
    whole[0, 0, 3] = -1
    part[1] = -2
    assert whole[0, 0, 3].compute() == -1
    np.testing.assert_array_equal(whole[..., 3].compute()[0, 0], -1)
    np.testing.assert_array_equal(part.compute()[1], -2)
    np.testing.assert_array_equal(part.compute()[2:], stored.values[2:, :, 3])


def test_pickled_and_on_workers(tmp_path: pathlib.Path) -> None:
    from distributed import Client, LocalCluster

    values = np.arange(24.0).reshape(6, 4)
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["values"] = values
    part = usidx.open(tmp_path / "plain.h5", chunks=2).data[:, 2]
    assert isinstance(part, StoredPart)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)), values[:, 2])
    options: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}
    with (
        LocalCluster(n_workers=1, **options) as cluster,
        Client(cluster, set_as_default=False) as c,
    ):
        np.testing.assert_array_equal(c.compute(part).result(), values[:, 2])
        kept = c.compute(c.persist(part)).result()
        np.testing.assert_array_equal(kept, values[:, 2])
