"""Graphs of many small tasks, made into fewer."""

from __future__ import annotations

import pickle
import weakref
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import DataNode, Task, TaskRef, convert_legacy_graph
from dask.local import get_sync
from hypothesis import given
from hypothesis import strategies as st

from tests.process.test_graphs import few as few
from usidx.process.planning.trees import in_trees, values_of
from usidx.process.running import common
from usidx.process.running.runner import Threads
from usidx.step import step


def total(*values: int) -> int:
    return 1 + sum(values)


@given(st.data())
def test_values_are_the_same_and_tasks_are_fewer(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    graph: dict[Any, Any] = {0: DataNode(0, 5)}
    for key in range(1, count):
        needs = data.draw(st.lists(st.integers(0, key - 1), max_size=3, unique=True))
        graph[key] = Task(key, total, *map(TaskRef, needs))
    keys = data.draw(st.lists(st.sampled_from(sorted(graph)), min_size=1, max_size=3))
    few = data.draw(st.integers(1, 10))
    found = in_trees(graph, keys, few=few)
    expected = list(get_sync(graph, keys))
    assert list(get_sync(found, keys)) == expected
    assert values_of(found, keys) == values_of(graph, keys) == expected
    assert found.keys() <= graph.keys()


def test_a_value_is_kept_no_longer_than_it_is_needed() -> None:
    kept: list[weakref.ref[np.ndarray]] = []
    most: list[int] = []

    def made() -> np.ndarray:
        most.append(sum(each() is not None for each in kept))
        array = np.zeros(3)
        kept.append(weakref.ref(array))
        return array

    # each is added to the sum of those before it, and made when its turn comes
    graph: dict[Any, Any] = {("made", n): Task(("made", n), made) for n in range(6)}
    before: Any = ("made", 0)
    for n in range(1, 6):
        pair = TaskRef(before), TaskRef(("made", n))
        graph["sum", n] = Task(("sum", n), np.add, *pair)
        before = ("sum", n)
    (found,) = values_of(graph, [before])
    np.testing.assert_array_equal(found, np.zeros(3))
    assert max(most) <= 1
    assert not any(each() is not None for each in kept)


def test_a_mean_over_many_blocks_is_few_tasks_that_can_be_sent() -> None:
    values = np.random.default_rng(0).random((5000, 3))
    mean = da.from_array(values, chunks=(1, 3)).mean(axis=0)
    (key,) = mean.__dask_keys__()
    graph = dict(convert_legacy_graph(mean.dask.to_dict()))
    found = in_trees(graph, [key], few=100)
    assert len(found) <= 200 < len(graph)
    sent = pickle.loads(pickle.dumps(found))
    (made,) = get_sync(sent, [key])
    np.testing.assert_allclose(made, values.mean(0), rtol=1e-12)


def z_score(spectra: xr.DataArray) -> xr.DataArray:
    over = ["Y", "X"]
    return (spectra - spectra.mean(over)) / spectra.std(over)


@pytest.mark.usefixtures("few")
def test_blocks_that_need_a_summary_get_it_of_trees(
    source: xr.DataArray, truth: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "MANY", 50)
    computed: list[int] = []
    compute = Threads.compute

    def counting(self: Threads, graph: Any, keys: Any) -> list[Any]:
        computed.append(len(graph))
        return compute(self, graph, keys)

    monkeypatch.setattr(Threads, "compute", counting)
    made = step("Z_Score", z_score, version="1")
    found = source.usid.process(made).run(memory="33 kB", workers=2).open()
    assert computed
    np.testing.assert_allclose(found, z_score(truth.chunk()), rtol=1e-3, atol=1e-5)
