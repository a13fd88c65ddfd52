"""Parts of stored arrays, and functions of each position, take few tasks and are what they were."""

from __future__ import annotations

import math
import os
import pathlib
import pickle
from functools import partial
from typing import Any

import dask
import dask.array
import h5py
import numpy as np
import pytest
import xarray as xr
from dask.base import collections_to_expr
from hypothesis import given, settings
from hypothesis import strategies as st

import usidx
from usidx.arrays.apply import apply_over
from usidx.arrays.lazy import to_dask
from usidx.arrays.piecewise import InPieces
from usidx.errors import SourceChangedError
from usidx.steps import fft_filter, mean

SHAPE = (9, 40, 7)


class Numbers:
    """Values in memory that say what was read of them, as those do that lie in one piece."""

    reads_anywhere = True
    dtype = np.dtype("f4")

    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        self.values = np.arange(math.prod(shape), dtype="f4").reshape(shape)
        self.shape, self.ndim = shape, len(shape)
        self.sizes: list[int] = []

    def __getitem__(self, key: Any, /) -> Any:
        assert isinstance(key, tuple)
        found = self.values[key].copy()
        self.sizes.append(found.size)
        return found

    def __dask_tokenize__(self) -> Any:
        return "numbers", self.shape


def lazy(stored: Numbers, chunks: Any = ((2, 2, 2, 2, 1), (1,) * 40, (4, 3))) -> dask.array.Array:
    return to_dask(stored, chunks)


def index_of(size: int) -> st.SearchStrategy[Any]:
    return st.one_of(st.integers(-size, size - 1), st.slices(size))


@settings(max_examples=60, deadline=None)
@given(st.tuples(*map(index_of, SHAPE)), st.integers(0, 3))
def test_any_part(index: tuple[Any, ...], said: int) -> None:
    stored = Numbers()
    key = (*index[:said], Ellipsis)
    part = lazy(stored)[key]
    np.testing.assert_array_equal(part.compute(scheduler="synchronous"), stored.values[key])
    if all(not isinstance(each, slice) or (each.step or 1) > 0 for each in key):
        assert sum(stored.sizes) == stored.values[key].size  # nothing twice, nothing besides


def tasks_of(*arrays: dask.array.Array) -> int:
    return len(collections_to_expr(arrays).finalize_compute().optimize().__dask_graph__())


def test_a_map_takes_one_task_for_each_block() -> None:
    array = lazy(Numbers())
    assert tasks_of(array[..., 3]) == 200 + 1
    assert tasks_of(array[..., 3][2:5]) == 2 * 40 + 1
    assert tasks_of(array[..., 3] + 1) == 200 + 200 + 1


def main_of(path: pathlib.Path, values: Any) -> Any:
    """A contiguous dataset (X, V), opened in blocks of 8 positions."""
    with h5py.File(path, "w") as file:
        file["values"] = values
    array = usidx.open(path, chunks=(8, -1))
    array = array.rename(dict(zip(array.dims, ("X", "V"), strict=True)))
    return array.usid.assign_roles(position=["X"], spectroscopic=["V"])


def test_functions_of_positions_in_pieces(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3000)).astype("f4")
    array = main_of(tmp_path / "plain.h5", values)
    found = mean(array)
    assert type(found.data) is dask.array.Array  # xarray takes arrays of one type only
    assert tasks_of(found.data) == 7 + 1  # one for a block, and one that puts them together
    np.testing.assert_allclose(found, values.mean(1), rtol=1e-5)
    np.testing.assert_allclose(found[3:9], values[3:9].mean(1), rtol=1e-5)
    np.testing.assert_allclose((found * 2).compute(), 2 * values.mean(1), rtol=1e-5)
    smooth = fft_filter(array, high=0.1)
    assert tasks_of(smooth.data) == 7 + 1
    expected = fft_filter(array.compute(), high=0.1)
    np.testing.assert_allclose(smooth, expected, atol=1e-5)


def test_pieces_are_pieces() -> None:
    stored = Numbers((64, 65536))
    given: list[tuple[int, ...]] = []

    def sums(block: Any) -> Any:
        given.append(block.shape)
        return block.sum(-1)

    made = InPieces(stored, 1, sums)
    np.testing.assert_allclose(made.box((slice(2, 64),)), stored.values[2:].sum(1))
    assert max(math.prod(shape) for shape in given) * 4 <= 2**20
    assert sum(shape[0] for shape in given) == 62


def test_what_is_made_of_it_further_on(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 30)).astype("f4")
    found = mean(main_of(tmp_path / "plain.h5", values))
    expected = values.mean(1)
    check = partial(np.testing.assert_allclose, rtol=1e-4)
    check(found.persist(), expected)
    check(dask.optimize(found.data)[0], expected)
    check(found.data.compute(optimize_graph=False), expected)
    check(found.data.to_delayed()[1].compute(), expected[8:16])
    check(pickle.loads(pickle.dumps(found.data)), expected)
    check(xr.where(found > 0, found, -found.chunk(3)), abs(expected))
    one, other = dask.compute(found.data, (found + 1).data)
    check(one, expected)
    check(other, expected + 1)
    found.data[3] = 7.0  # into the dask array: other values, so another graph
    assert found[3] == 7
    check(found[4:], expected[4:])


def test_on_workers(tmp_path: pathlib.Path) -> None:
    from distributed import Client, LocalCluster

    values = np.arange(60.0).reshape(20, 3)
    found = mean(main_of(tmp_path / "plain.h5", values)).data
    options: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}
    with (
        LocalCluster(n_workers=1, **options) as cluster,
        Client(cluster, set_as_default=False) as c,
    ):
        np.testing.assert_array_equal(c.compute(found).result(), values.mean(1))
        np.testing.assert_array_equal(c.compute(c.persist(found)).result(), values.mean(1))


def test_pieces_of_other_dtypes_are_not_rounded() -> None:
    stored = Numbers((64, 65536))

    def firsts(block: Any) -> Any:
        first = block[:, 0].astype("i8")
        return first if first[0] == 0 else first + 0.5

    made = InPieces(stored, 1, firsts).box((slice(0, 64),))
    expected = stored.values[:, 0].astype("f8")
    np.testing.assert_array_equal(made[:1], expected[:1])
    np.testing.assert_array_equal(made[8:], expected[8:] + 0.5)


def test_what_fails_in_a_piece_says_so(tmp_path: pathlib.Path) -> None:
    array = main_of(tmp_path / "plain.h5", np.ones((20, 3)))

    def fails(block: Any) -> Any:
        raise ZeroDivisionError("three")

    (found,) = apply_over(array, fails, ["V"], dtypes=["f8"])
    with pytest.raises(ZeroDivisionError, match="three"):
        found.compute()


def test_a_file_replaced_between_pieces_is_never_mixed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "scan.h5"
    array = main_of(path, np.zeros((4, 2**18)))
    other = tmp_path / "other.h5"
    main_of(other, np.ones((4, 2**18)))
    seen: list[float] = []

    def sums(block: Any) -> Any:
        seen.append(float(block.max()))
        if len(seen) == 2:
            os.replace(other, path)
        return block.sum(-1)

    (found,) = apply_over(array, sums, ["V"], dtypes=["f8"])
    try:
        values = found.compute(scheduler="synchronous")
    except SourceChangedError:
        return
    assert set(values.values) in ({0.0}, {2.0**18})
