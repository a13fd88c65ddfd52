"""Blocks that are needed early and late are not kept in between."""

from __future__ import annotations

import weakref
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask._task_spec import DataNode
from dask.array.optimization import optimize
from dask.local import get_sync

from usidx.process.running.rereading import read_anew

BLOCKS = 40
SHAPE = (BLOCKS, 6, 8)


class Counting:
    """An array that knows how many blocks of it are held, and how often each was read."""

    shape, dtype, ndim = SHAPE, np.dtype("f8"), len(SHAPE)

    def __init__(self) -> None:
        self.values = np.random.default_rng(0).random(SHAPE)
        self.held = self.most = self.reads = 0

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        block = self.values[key].copy()
        self.held += 1
        self.reads += 1
        self.most = max(self.most, self.held)
        weakref.finalize(block, self._let_go)
        return block

    def _let_go(self) -> None:
        self.held -= 1


def computed(lazy: da.Array, *, anew: bool) -> np.ndarray[Any, Any]:
    keys = [key for key in dask.core.flatten(lazy.__dask_keys__())]
    graph = dict(optimize(lazy.dask, keys))
    blocks = get_sync(read_anew(graph) if anew else graph, [[key] for key in keys])
    return np.concatenate([np.array(block) for (block,) in blocks])


def lazily(source: Counting) -> da.Array:
    return da.from_array(source, chunks=(1, 6, 8), asarray=False, meta=np.empty((0, 0, 0)))


@pytest.mark.parametrize(("anew", "most", "reads"), [(True, 4, 2 * BLOCKS), (False, 40, BLOCKS)])
def test_a_mean_of_all_that_is_subtracted_holds_few_blocks(
    anew: bool, most: int, reads: int
) -> None:
    source = Counting()
    lazy = lazily(source)
    found = computed((lazy - lazy.mean(axis=0)).sum(axis=(1, 2), keepdims=True), anew=anew)
    expected = (source.values - source.values.mean(axis=0)).sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, expected)
    assert source.reads == reads
    assert source.most <= most if anew else source.most == most


def test_all_who_wait_read_for_themselves() -> None:
    source = Counting()
    lazy = lazily(source)
    mean, spread = lazy.mean(axis=0), lazy.std(axis=0)
    found = computed(((lazy - mean) / spread).sum(axis=(1, 2), keepdims=True), anew=True)
    values = source.values
    expected = ((values - values.mean(axis=0)) / values.std(axis=0)).sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, expected)
    assert source.most <= 6


def test_nothing_is_read_before_what_it_waits_for_is_there() -> None:
    source = Counting()
    lazy = abs(lazily(source))
    begun = lazy[::20].map_blocks(np.array).rechunk(-1).to_delayed().ravel()[0]  # two of forty
    start = dask.delayed(lambda sample: sample.mean(axis=0))(begun)
    of = dask.delayed(lambda block, start: (block - start).sum(axis=(1, 2), keepdims=True))
    made = [of(block, start) for block in lazy.to_delayed().ravel()]
    whole = da.concatenate([da.from_delayed(each, (1, 1, 1), float) for each in made])
    keys = list(dask.core.flatten(whole.__dask_keys__()))
    graph = read_anew(dict(optimize(whole.dask, keys)))
    # what a thread would do that has nothing else to do while the other one is busy
    early = [
        key
        for key, node in graph.items()
        if not isinstance(node, DataNode)
        and all(isinstance(graph[each], DataNode) for each in node.dependencies)
    ]
    assert len(early) <= 4
    found = np.concatenate([block for (block,) in get_sync(graph, [[key] for key in keys])])
    values = source.values
    expected = (values - values[::20].mean(axis=0)).sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, expected)
    assert source.most <= 4


def test_two_sources_of_one_task_are_both_read_anew() -> None:
    one, other = Counting(), Counting()
    other.values = other.values[::-1].copy()
    lazy, second = lazily(one), lazily(other)
    found = da.map_blocks(
        lambda a, b, mean: a * b - mean, lazy, second, (lazy + second).mean(axis=0, keepdims=True)
    )
    expected = one.values * other.values - (one.values + other.values).mean(axis=0)
    np.testing.assert_allclose(computed(found, anew=True), expected)
    assert one.reads == other.reads == 2 * BLOCKS


def test_neighbours_share_what_they_read() -> None:
    source = Counting()
    lazy = lazily(source)
    smooth = da.overlap.map_overlap(lambda block: block, lazy, depth={0: 1}, boundary="none")
    np.testing.assert_array_equal(computed(smooth, anew=True), source.values)
    assert source.reads == BLOCKS


def test_graphs_without_shared_reads_stay_as_they_are() -> None:
    lazy = lazily(Counting()) * 2
    graph = dict(optimize(lazy.dask, list(dask.core.flatten(lazy.__dask_keys__()))))
    assert read_anew(graph) is graph
