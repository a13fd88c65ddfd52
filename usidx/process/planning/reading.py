"""What tasks read, and graphs in which slices of what is read are read alone."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.lazy import stored_of
from usidx.process.planning.identity import Labelled

Graph = dict[Any, Any]
# Functions that cost no more than reading does, of NumPy, dask and xarray; ufuncs do neither.
_CHEAP = {"getitem", "concatenate_shaped", "concatenate3", "astype", "transpose", "where", "_pack"}
_LIBRARIES = ("numpy", "dask", "xarray", "usidx")
_OPERATORS = ("operator", "_operator")


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
        return self.name == array.data.name or self.reads(stored_of(array.data))

    def reads(self, stored: Any) -> bool:
        """Whether it is a part of a stored array."""
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
        return max((self._share_of(each) for each in lazy_arrays(source)), default=0.0)

    def _share_of(self, array: xr.DataArray) -> float:
        stored = stored_of(array.data)
        values = sum(
            each.size
            for each in self.read.values()
            if each.name == array.data.name or each.reads(stored)
        )
        for key in self.graph:
            # of an array that is computed itself, or is in memory
            if isinstance(key, tuple) and key[0] == array.data.name and key not in self.read:
                chunks = zip(array.data.chunks, key[1:], strict=True)
                values += math.prod(sizes[place] for sizes, place in chunks)
        return values / max(1, array.size)


def read_by(graph: Graph, targets: Sequence[Any] | None = None) -> OwnGraph:
    """The graph in which slices of what is read, and of no use as a whole, are read by themselves.

    Otherwise a few rows of a block are cut from all of it.

    Parameters
    ----------
    targets : keys of what is wanted; those that nothing else in the graph needs when None
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
            own = block_read_by(graph, key)
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
    wanted = [key for key in graph if key not in users] if targets is None else targets
    own_graph = needed(found, wanted)
    return OwnGraph(own_graph, {key: each for key, each in read.items() if key in own_graph})


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


def share_work(one: Graph, other: Graph) -> bool:
    """Whether two graphs have tasks in common that cost more than reading, of what is read."""
    return any(
        not is_cheap(one[key]) and any(map(reads_anything, needed(one, [key]).values()))
        for key in one.keys() & other.keys()
    )


def needed(graph: Graph, targets: Sequence[Any], instead: Graph | None = None) -> Graph:
    """The tasks that lead to some keys.

    Parameters
    ----------
    instead : nodes that take the place of those of the graph
    """
    other = instead or {}
    found: Graph = {}
    waiting = list(targets)
    while waiting:
        key = waiting.pop()
        if key not in found:
            node = found[key] = other[key] if key in other else graph[key]
            waiting += node.dependencies
    return found


def block_read_by(graph: Graph, key: Any) -> Read | None:
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


def lazy_arrays(source: Labelled) -> list[xr.DataArray]:
    arrays = [source] if isinstance(source, xr.DataArray) else list(source.data_vars.values())
    return [each for each in arrays if each.chunks is not None]
