"""How much is in memory at most while a graph is computed, by its tasks and dask's order of them.

A value stays until the last task that needs it is done. Several tasks are done at once.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from usidx.process.planning.ends import ends_of, needed_by
from usidx.process.planning.plan import Plan
from usidx.process.planning.reading import Graph
from usidx.process.planning.sizes import Value, factorises, values_in, working

if TYPE_CHECKING:
    import dask.array


@dataclass(frozen=True)
class Course:
    """What is in memory when a plan is run.

    Parameters
    ----------
    before : bytes before the first block, or with all of them where they are computed together
    kept : of this until the last block is written
    each : for one block besides
    """

    before: int
    kept: int
    each: int


# What a thread takes besides: its allocator's memory, and what products of matrices are made in.
_AROUND = 2**23
# What was found of plans that are there; it takes a look at all their tasks.
_known: WeakKeyDictionary[Plan, dict[int, Course | None]] = WeakKeyDictionary()


def course_of(plan: Plan, workers: int) -> Course | None:
    """The Course of a plan that factorises matrices; None for any other.

    Blocks that are smaller than the chunks in which the result comes take what a chunk takes.

    Parameters
    ----------
    workers : how many tasks are done at once
    """
    known = _known.setdefault(plan, {})
    if workers not in known:
        known[workers] = _found(plan, workers)
    return known[workers]


def _found(plan: Plan, workers: int) -> Course | None:
    from dask._task_spec import convert_legacy_graph
    from dask.core import flatten
    from dask.highlevelgraph import HighLevelGraph

    alone = plan.apart or plan.again is not None
    if alone or (plan.step is not None and plan.step.per_position):
        return None
    made = [
        each.values if each.count <= each.draft.pieces else each.draft.values(each.draft.chunks)
        for each in plan.outputs
    ]
    if not any(map(_factorises, made)):
        return None
    layers = HighLevelGraph.merge(*(each.dask for each in made))
    keys = [key for each in made for key in flatten(each.__dask_keys__())]
    graph = dict(convert_legacy_graph(layers.cull(set(keys)).to_dict()))
    values = values_in(graph, layers.layers)
    kept = frozenset(ends_of(graph, [[key] for key in keys]))
    # blocks of outputs that are cut alike are computed together
    alike: Counter[Any] = Counter()
    for output, array in zip(plan.outputs, made, strict=True):
        alike[output.cut] += _of_block(graph, array, kept, values)
    each = max(alike.values())
    each += min(_AROUND, each // 8)
    if kept:
        before = peak_of(needed_by(graph, kept), values, kept, workers)
        before += min(workers * _AROUND, before // 4)
        return Course(before, sum(values[key].nbytes for key in kept), each)
    if len(keys) > 1 and not _share(graph, keys):
        return Course(0, 0, each)
    together = peak_of(graph, values, (), workers)
    return Course(together + min(workers * _AROUND, together // 4), 0, 0)


def _factorises(array: dask.array.Array) -> bool:
    """Whether that is a step on the way to the first chunk."""
    from dask._task_spec import convert_legacy_graph

    first = (array.name, *(0 for _ in array.chunks))
    graph = convert_legacy_graph(array.dask.cull({first}).to_dict())
    return any(map(factorises, graph.values()))


def _of_block(
    graph: Graph, array: dask.array.Array, kept: Set[Any], values: Mapping[Any, Value]
) -> int:
    """Bytes for one chunk of an array: the first, one in the middle, or the last."""
    from dask.core import flatten

    keys = list(flatten(array.__dask_keys__()))
    looked_at = {keys[0], keys[len(keys) // 2], keys[-1]}
    return max(_alone(graph, key, kept, values) for key in looked_at)


def _alone(graph: Graph, key: Any, kept: Set[Any], values: Mapping[Any, Value]) -> int:
    """Bytes for a block that is computed by itself, besides what is kept."""
    from dask._task_spec import DataNode

    own = needed_by(graph, [key], kept)
    used = {each for node in own.values() for each in node.dependencies} - own.keys()
    own.update({each: DataNode(each, None) for each in used})
    largest = max(
        values[each].nbytes + max((values[one].nbytes for one in node.dependencies), default=0)
        for each, node in own.items()
    )
    # and a copy of what goes into any task, and of what comes out
    return max(peak_of(own, values, (), 1), 2 * largest)


def _share(graph: Graph, keys: Sequence[Any]) -> bool:
    """Whether the first block and the last have tasks in common."""
    from dask._task_spec import Alias, DataNode

    first, last = (needed_by(graph, [key]) for key in (keys[0], keys[-1]))
    common = first.keys() & last.keys()
    return any(not isinstance(graph[key], (Alias, DataNode)) for key in common)


def peak_of(
    graph: Graph, values: Mapping[Any, Value], wanted: Collection[Any], workers: int
) -> int:
    """Bytes in memory at most.

    Parameters
    ----------
    graph : as it was described: what its tasks need is in it
    values : what each task gives
    wanted : keys whose values stay until the end
    workers : how many tasks are done at once

    Examples
    --------
    >>> import dask.array as da
    >>> from dask._task_spec import convert_legacy_graph
    >>> ones = da.ones((40, 100), chunks=(10, 100), dtype="f8")
    >>> graph = dict(convert_legacy_graph(dict((ones + 1).dask)))
    >>> peak_of(graph, {key: Value((10, 100), 8) for key in graph}, [], 1)
    16000
    """
    from dask._task_spec import Alias, DataNode
    from dask.order import order

    if not graph:
        return 0
    places = order(graph)
    users: dict[Any, list[Any]] = {key: [] for key in graph}
    for key, node in graph.items():
        for each in node.dependencies:
            users[each].append(key)
    left = {key: len(each) for key, each in users.items()}
    for key in wanted:
        left[key] += 1
    # what takes nothing of its own
    free = {key for key, node in graph.items() if isinstance(node, (Alias, DataNode))}
    missing = {key: len(node.dependencies) for key, node in graph.items()}
    ready = [(places[key], key) for key, count in missing.items() if not count]
    heapq.heapify(ready)
    later: dict[Any, list[Any]] = {}
    live = most = 0
    while ready:
        now = [heapq.heappop(ready)[1] for _ in range(min(workers, len(ready)))]
        given = {key: 0 if key in free else values[key].nbytes for key in now}
        taken = sum(max(given[key], working(key, graph[key], values)) for key in now)
        most = max(most, live + taken)
        live += sum(given.values())
        for key in now:
            # another name of a value needs it for as long as it is needed itself
            unused = [] if isinstance(graph[key], Alias) else [*graph[key].dependencies]
            unused += later.pop(key, ())
            user = users[key][0] if len(users[key]) == left[key] == 1 else None
            if user is not None and len(graph[user].dependencies) == 1:
                # dask makes one task of both, which has what goes in until its end
                later[user], unused = unused, []
            unused += [] if left[key] else [key]
            live -= _left_by(unused, graph, values, left, free)
            for each in users[key]:
                missing[each] -= 1
                if not missing[each]:
                    heapq.heappush(ready, (places[each], each))
    return most


def _left_by(
    unused: list[Any],
    graph: Graph,
    values: Mapping[Any, Value],
    left: dict[Any, int],
    free: Collection[Any],
) -> int:
    """Bytes of what nobody needs any more where some keys have one user less, or never had any."""
    from dask._task_spec import Alias

    nbytes, waiting = 0, list(unused)
    while waiting:
        key = waiting.pop()
        left[key] -= 1
        if left[key] > 0:
            continue
        if isinstance(graph[key], Alias):
            waiting += graph[key].dependencies
        elif key not in free:
            nbytes += values[key].nbytes
    return nbytes
