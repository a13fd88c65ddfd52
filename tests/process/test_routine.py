"""Tasks as calls: the same values as dask's, without copies that nobody needs."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from dask._task_spec import convert_legacy_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from usidx.process.running.routine import Routine, routine_of

VALUES = np.random.default_rng(3).random((4, 6))


def _routine(*made: da.Array, source: da.Array) -> Routine:
    """The calls from the only chunk of `source` to those of the others."""
    key = (source.name, *(0,) * source.ndim)
    graph: dict[Any, Any] = {}
    for each in made:
        graph.update(each.dask.to_dict())
    nodes = dict(convert_legacy_graph(graph))
    order: list[Any] = []

    def visit(wanted: Any) -> None:
        if wanted == key or any(task.key == wanted for task in order):
            return
        for needed in sorted(nodes[wanted].dependencies, key=str):
            visit(needed)
        order.append(nodes[wanted])

    results = [(each.name, *(0,) * each.ndim) for each in made]
    for each in results:
        visit(each)
    return routine_of(key, order, results)


@settings(deadline=None)
@given(st.lists(st.sampled_from("+*msTcxw"), max_size=6))
def test_values_are_those_of_dask(operations: list[str]) -> None:
    source = da.from_array(VALUES, chunks=(4, 6))
    made = source
    for operation in operations:
        made = {
            "+": lambda a: a + source.sum(),
            "*": lambda a: 2 * a,
            "m": lambda a: a - a.mean(0),
            "s": lambda a: a[..., ::-1],
            "T": lambda a: a.T.copy().T,
            "c": lambda a: da.concatenate([a, a])[: a.shape[0]],
            "x": lambda a: da.map_blocks(np.sort, a, axis=-1, dtype=a.dtype),
            "w": lambda a: da.where(a > 0.5, a, 0),
        }[operation](made)
    made = made.rechunk(made.shape)
    (found,) = _routine(made, source=source)(VALUES)
    np.testing.assert_array_equal(found, made.compute(scheduler="synchronous"))


def test_it_can_be_run_again_and_on_other_values() -> None:
    source = da.from_array(VALUES, chunks=(4, 6))
    routine = _routine(source.sum(1), source + 1, source=source)
    for values in (VALUES, 3 * VALUES, VALUES):
        sums, more = routine(values)
        np.testing.assert_allclose(sums, values.sum(1))
        np.testing.assert_array_equal(more, values + 1)


def _halved_in_place(block: np.ndarray, axis: Any = None) -> np.ndarray:
    if block.size:
        block *= 0.5
    return block.sum(-1)


def _halved(source: da.Array) -> da.Array:
    return da.blockwise(_halved_in_place, "i", source, "ij", dtype=float, concatenate=True)


def test_a_block_for_one_function_alone_is_not_copied() -> None:
    source = da.from_array(VALUES, chunks=(4, 6))
    values = VALUES.copy()
    (found,) = _routine(_halved(source), source=source)(values)
    np.testing.assert_allclose(found, VALUES.sum(1) / 2)
    np.testing.assert_array_equal(values, VALUES / 2)


@pytest.mark.parametrize("first", [True, False])
def test_a_function_that_changes_its_block_does_not_change_that_of_others(first: bool) -> None:
    source = da.from_array(VALUES, chunks=(4, 6))
    made = [_halved(source), source + 0]
    results = _routine(*(made if first else made[::-1]), source=source)(VALUES.copy())
    halved, same = results if first else results[::-1]
    np.testing.assert_allclose(halved, VALUES.sum(1) / 2)
    np.testing.assert_array_equal(same, VALUES)
