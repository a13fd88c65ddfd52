"""What blocks need of each other, and whether each of them is computed on its own all the same.

Blocks of a map that is smoothed overlap: dask reads each part of the source once and keeps it for
all who need it, and what is made of it too, so that in the end much of the map is in memory. Where
the work of neighbours is all that is done again, each block gets a graph of its own, in which a
slice of what is read is the reading of that slice.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.lazy import stored_of
from usidx.process.planning.costs import side_of
from usidx.process.planning.graphs import Graph, describe
from usidx.process.planning.identity import Labelled
from usidx.process.planning.plan import Output, Plan

# Functions that cost no more than reading does, of NumPy, dask and xarray; ufuncs do neither.
_CHEAP = {"getitem", "concatenate_shaped", "concatenate3", "astype", "transpose", "where", "_pack"}
_LIBRARIES = ("numpy", "dask", "xarray", "usidx")
_OPERATORS = ("operator", "_operator")
# Of so few blocks the first and the last may be neighbours, or nearly so.
_FEW = 4


@dataclass(frozen=True)
class Needs:
    """What blocks need beyond their own positions.

    Parameters
    ----------
    apart : whether they have tasks in common that are done again for each of them
    reach : positions of the source besides its own that a block needs at most, by the side
    """

    apart: bool
    reach: Mapping[Any, int]


NOTHING = Needs(False, {})


@dataclass(frozen=True, eq=False)
class Read:
    """What a task reads of an array.

    Parameters
    ----------
    name : dask's name for the blocks of the array, one of which it was cut from
    array : that is read
    part : one slice for each axis
    """

    name: str
    array: Any
    part: tuple[slice, ...]

    @property
    def size(self) -> int:
        """How many values."""
        return math.prod(each.stop - each.start for each in self.part)

    def is_of(self, array: xr.DataArray) -> bool:
        """Whether it is a part of a lazy array, also where that is cut in another way."""
        if self.name == array.data.name:
            return True
        stored = stored_of(array.data)
        token = getattr(self.array, "__dask_tokenize__", None)
        return stored is not None and token is not None and token() == stored.__dask_tokenize__()


@dataclass(frozen=True, eq=False)
class OwnGraph:
    """The tasks of some blocks and of no others, which read slices and not the blocks around them.

    Parameters
    ----------
    graph : of dask's own kinds of nodes
    read : what is read of arrays, by the key of the task
    """

    graph: Graph
    read: Mapping[Any, Read]

    def share_of(self, source: Labelled) -> float:
        """How much of the values of the source it needs, of 1."""
        return max((self._share_of(each) for each in _lazy_arrays(source)), default=0.0)

    def _share_of(self, array: xr.DataArray) -> float:
        values = sum(each.size for each in self.read.values() if each.is_of(array))
        for key in self.graph:
            # of an array that is computed itself, or is in memory
            if isinstance(key, tuple) and key[0] == array.data.name and key not in self.read:
                chunks = zip(array.data.chunks, key[1:], strict=True)
                values += math.prod(sizes[place] for sizes, place in chunks)
        return values / max(1, array.size)


def needs_of(plan: Plan) -> Needs:
    """The Needs of the blocks of a plan; NOTHING where they have no tasks in common, or too many.

    What is read, cut, joined and cast, and the arithmetic of single values, is done again for any
    block that needs it. So is anything else for neighbours, but not where the first block and the
    last need the same: a mean over the map, a decomposition, a source in maps.

    Blocks in the middle are looked at, those beside them, the first and the last.
    """
    if plan.again is not None or (plan.step is not None and plan.step.per_position):
        return NOTHING
    reach: dict[Any, int] = {}
    for output in plan.outputs:
        keys = _looked_at(output)
        if len(keys) < 2:
            continue
        graphs = list(graphs_of(plan, [[key] for key in keys]))
        if _need_the_same(graphs[0], graphs[-1], plan.labelled, cheap=output.count <= _FEW):
            return NOTHING
        if not _share(graphs):
            continue
        share = max(read_by(each).share_of(plan.labelled) for each in graphs)
        position = output.spec.position
        own = math.prod(output.block[: output.n_position])
        more = max(0, math.ceil(share * position.size - 1e-6) - own)
        reach[side_of(position)] = max(reach.get(side_of(position), 0), more)
    return Needs(bool(reach), reach)


def own_graphs(plan: Plan, handfuls: Sequence[Sequence[Any]]) -> Iterator[Graph]:
    """The optimised graph of each handful of blocks, by itself.

    Parameters
    ----------
    handfuls : keys of the blocks, as outputs give them; they are keys of the graphs too
    """
    for keys, graph in zip(handfuls, graphs_of(plan, handfuls), strict=True):
        yield own_graph_of(graph, keys)


def own_graph_of(graph: Graph, keys: Sequence[Any]) -> Graph:
    """The graph of some blocks, optimised, in which slices of what is read are read alone."""
    from dask.array.optimization import optimize

    return dict(optimize(read_by(graph).graph, list(keys)))


def graphs_of(
    plan: Plan, handfuls: Sequence[Sequence[Any]], known: Graph | None = None
) -> Iterator[Graph]:
    """The tasks that each handful of blocks needs, as they were described.

    Parameters
    ----------
    handfuls : as for `own_graphs`
    known : nodes that take the place of what was described
    """
    from dask._task_spec import Alias

    described = describe(plan, [key for keys in handfuls for key in keys])
    whole = {**described.graph(), **(known or {})}
    for keys in handfuls:
        own = _needed(whole, [described.keys[key] for key in keys])
        yield {**own, **{key: Alias(key, described.keys[key]) for key in keys}}


def read_by(graph: Graph) -> OwnGraph:
    """The graph in which slices of what is read, and of no use as a whole, are read by themselves.

    Otherwise a few rows of a block are cut from all of it.
    """
    from dask._task_spec import Task
    from dask.core import toposort

    users: dict[Any, list[Any]] = {}
    for key, node in graph.items():
        for each in node.dependencies:
            users.setdefault(each, []).append(key)
    found = dict(graph)
    read: dict[Any, Read] = {}
    for key in toposort(graph):
        if is_read(graph[key]):
            own = _block_read_by(graph, key)
            if own is not None:
                read[key] = own
            continue
        base = _cut_from(graph[key])
        if base not in read or any(_cut_from(graph[each]) is None for each in users[base]):
            continue
        part = _part(graph[key], read[base].part)
        if part is not None:
            get = found[base]
            found[key] = Task(key, get.func, get.args[0], part, *get.args[2:], **get.kwargs)
            read[key] = replace(read[base], part=part)
    own_graph = _needed(found, [key for key in graph if key not in users])
    return OwnGraph(own_graph, {key: each for key, each in read.items() if key in own_graph})


def _looked_at(output: Output) -> list[Any]:
    """Keys of the first block, of one in the middle and those beside it, and of the last one."""
    counts = [-(-size // part) for size, part in zip(output.spec.shape, output.block, strict=True)]
    middle = [count // 2 for count in counts]
    places = [[0] * len(counts), middle]
    for axis, count in enumerate(counts):
        for place in (middle[axis] - 1, middle[axis] + 1):
            if 0 <= place < count:
                places.append([*middle[:axis], place, *middle[axis + 1 :]])
    places.append([count - 1 for count in counts])
    keys = [(output.prefix, *place) for place in places]
    # the last stays the last
    return list(dict.fromkeys(reversed(keys)))[::-1]


def _share(graphs: Sequence[Graph]) -> bool:
    """Whether there is a task that two of the graphs have."""
    from dask._task_spec import Alias, DataNode

    users = Counter(
        key
        for each in graphs
        for key, node in each.items()
        if not isinstance(node, (Alias, DataNode))
    )
    return any(count > 1 for count in users.values())


def _need_the_same(one: Graph, other: Graph, source: Labelled, *, cheap: bool) -> bool:
    """Whether blocks that are no neighbours need the same part of the source.

    Parameters
    ----------
    cheap : whether what costs no more than reading does not count
    """
    names = {each.data.name for each in _lazy_arrays(source)}

    def reads(key: Any) -> bool:
        return any(
            reads_anything(node) or (isinstance(each, tuple) and each[0] in names)
            for each, node in _needed(one, [key]).items()
        )

    def is_of_source(key: Any) -> bool:
        if isinstance(key, tuple) and key[0] in names:
            return True
        read = _block_read_by(one, key) if is_read(one[key]) else None
        return read is not None and any(map(read.is_of, _lazy_arrays(source)))

    common = one.keys() & other.keys()
    if not cheap and any(map(is_of_source, common)):
        return True
    return any(not is_cheap(one[key]) and reads(key) for key in common)


def is_cheap(node: Any) -> bool:
    """Whether a task is done as quickly as its values are read."""
    from dask._task_spec import Alias, DataNode, NestedContainer

    parts = _parts(node)
    if len(parts) > 1:
        return all(map(is_cheap, parts))
    if isinstance(node, (Alias, DataNode, NestedContainer)) or is_read(node):
        return True
    function = node.func
    while hasattr(function, "func"):  # with some of its arguments
        function = function.func
    module = str(getattr(function, "__module__", "")).partition(".")[0]
    if isinstance(function, np.ufunc) or module in _OPERATORS:
        return True
    return module in _LIBRARIES and getattr(function, "__name__", "") in _CHEAP


def is_read(node: Any) -> bool:
    from dask._task_spec import Task
    from dask.array.core import getter, getter_inline, getter_nofancy

    return isinstance(node, Task) and node.func in (getter, getter_inline, getter_nofancy)


def reads_anything(node: Any) -> bool:
    """Whether a task reads, or one of those that it was fused of."""
    return any(map(is_read, _parts(node)))


def _parts(node: Any) -> list[Any]:
    """The tasks that a task was fused of, or itself."""
    from dask._task_spec import GraphNode, _execute_subgraph

    if getattr(node, "func", None) is not _execute_subgraph:
        return [node]
    inner = getattr(node.args[0], "value", node.args[0])
    parts = [each for each in inner.values() if isinstance(each, GraphNode)]
    return [one for each in parts for one in _parts(each)]


def _needed(graph: Graph, targets: Sequence[Any]) -> Graph:
    """The tasks that lead to some keys."""
    found: Graph = {}
    waiting = list(targets)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found[key] = graph[key]
            waiting += found[key].dependencies
    return found


def _block_read_by(graph: Graph, key: Any) -> Read | None:
    """What a task reads of an array; None where that is no block of it."""
    from dask._task_spec import TaskRef

    node = graph[key]
    array, index = node.args[:2]
    array = graph[array.key] if isinstance(array, TaskRef) else array
    array, index = getattr(array, "value", array), getattr(index, "value", index)
    shape = getattr(array, "shape", None)
    part = None if shape is None else _within(index, tuple(slice(0, size) for size in shape))
    name = str(key[0] if isinstance(key, tuple) else key)
    return None if part is None else Read(name, array, part)


def _cut_from(node: Any) -> Any:
    """The key of what a task takes a part of, or gives another name; None for any other task."""
    from dask._task_spec import Alias, Task, TaskRef
    from dask.array.chunk import getitem

    if isinstance(node, Alias):
        return node.target
    if isinstance(node, Task) and node.func in (getitem, operator.getitem) and not node.kwargs:
        told = node.args[0]
        return told.key if isinstance(told, TaskRef) else getattr(told, "target", None)
    return None


def _part(node: Any, whole: tuple[slice, ...]) -> tuple[slice, ...] | None:
    """The slices of an array that a task takes, where it takes them of `whole`."""
    from dask._task_spec import Alias

    if isinstance(node, Alias):
        return whole
    index = node.args[1]
    return _within(getattr(index, "value", index), whole)


def _within(index: Any, whole: tuple[slice, ...]) -> tuple[slice, ...] | None:
    """The slices that an index selects of slices; None where it is none of plain slices."""
    if not isinstance(index, tuple) or len(index) != len(whole):
        return None
    found = []
    for each, base in zip(index, whole, strict=True):
        if not isinstance(each, slice):
            return None
        start, stop, step = each.indices(base.stop - base.start)
        if step != 1:
            return None
        found.append(slice(base.start + start, base.start + max(start, stop)))
    return tuple(found)


def _lazy_arrays(source: Labelled) -> list[xr.DataArray]:
    arrays = [source] if isinstance(source, xr.DataArray) else list(source.data_vars.values())
    return [each for each in arrays if each.chunks is not None]
