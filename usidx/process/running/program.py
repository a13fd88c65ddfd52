"""What a step does to a few positions, as tasks that are run again and again on their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from usidx.process.running.routine import Routine, routine_of

if TYPE_CHECKING:
    import dask.array

Graph = dict[Any, Any]


@dataclass(frozen=True)
class Chunks:
    """Chunks of one shape of a lazy source, and of what was lazily made of it.

    Parameters
    ----------
    first, last : numbers along each cut axis of those that are furthest apart
    source : cut along its first axes
    results : cut along the same axes in the same way
    """

    first: tuple[int, ...]
    last: tuple[int, ...]
    source: dask.array.Array
    results: tuple[dask.array.Array, ...]

    def key(self, array: dask.array.Array, place: tuple[int, ...]) -> Any:
        """dask's key of one chunk."""
        return (array.name, *place, *(0,) * (array.ndim - len(place)))

    def graph(self, place: tuple[int, ...]) -> Graph:
        """The tasks of one chunk of all results, and no others."""
        from dask._task_spec import convert_legacy_graph
        from dask.optimization import cull

        found: Graph = {}
        keys = [self.key(each, place) for each in self.results]
        for each, key in zip(self.results, keys, strict=True):
            found.update(each.dask.cull({key}).to_dict())
        # dask keeps layers of functions with several results whole
        needed, _ = cull(convert_legacy_graph(found), keys)
        return dict(needed)


def program_of(chunks: Chunks) -> Routine | None:
    """The Routine for chunks of one shape; None where their tasks differ.

    dask computes a chunk of a result by some tasks. Where they read a single chunk of the source,
    and those of two chunks that have no place along any axis in common are the same but for their
    names, they do not depend on the place: then they can be run on the values of any other chunk.
    """
    ends = [chunks.graph(place) for place in (chunks.first, chunks.last)]
    sources = [chunks.key(chunks.source, place) for place in (chunks.first, chunks.last)]
    for graph, source in zip(ends, sources, strict=True):
        read = [key for key in graph if _name(key) == chunks.source.name]
        if read != [source]:
            return None
    results = [
        tuple(chunks.key(each, place) for each in chunks.results)
        for place in (chunks.first, chunks.last)
    ]
    orders = [_ordered(*each) for each in zip(ends, sources, results, strict=True)]
    if chunks.first != chunks.last and not _alike(*orders, *sources):
        return None
    return routine_of(sources[0], orders[0], results[0])


def _name(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) else key


def _ordered(graph: Graph, source: Any, results: Sequence[Any]) -> list[Any]:
    """The tasks that lead from the source to the results, each after those it needs."""
    found: dict[Any, Any] = {}
    waiting = list(reversed(results))
    while waiting:
        key = waiting[-1]
        if key == source or key in found:
            waiting.pop()
            continue
        missing = [
            each
            for each in sorted(graph[key].dependencies, key=str)
            if each not in found and each != source
        ]
        if missing:
            waiting += missing
        else:
            found[waiting.pop()] = graph[key]
    return list(found.values())


def _alike(one: list[Any], other: list[Any], source: Any, other_source: Any) -> bool:
    """Whether tasks are the same but for their keys, and need nothing that lies at a place."""
    from dask.base import tokenize

    if len(one) != len(other):
        return False
    keys = {other_source: source}
    for left, right in zip(one, other, strict=True):
        # What needs nothing is data; another key means other data.
        if not left.dependencies and left.key != right.key:
            return False
        if _name(left.key) != _name(right.key):
            return False
        keys[right.key] = left.key
    renamed = [each.substitute(keys, key=keys[each.key]) for each in other]
    return all(
        _content(left, tokenize) == _content(right, tokenize)
        for left, right in zip(one, renamed, strict=True)
    )


def _content(task: Any, tokenize: Any) -> Any:
    from dask._task_spec import Alias, DataNode

    if isinstance(task, Alias):
        return "alias", task.target
    if isinstance(task, DataNode):
        return "data", tokenize(task.value)
    return "task", tokenize(task.func, task.args, task.kwargs)
