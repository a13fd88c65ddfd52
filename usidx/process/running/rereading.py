"""Reading twice rather than keeping: tasks that wait for the whole source read their part anew.

Spectra less their mean over the map need every block twice: for the mean, and when it is known. A
scheduler reads each block once and keeps it until then, and so in the end holds the whole source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from usidx.process.planning.reading import is_cheap, reads_anything

if TYPE_CHECKING:
    from usidx.process.running.work import Graph

# Blocks that something is made of, and tasks that need it, from which on it belongs to no block and
# its neighbours, but to all: those who need it are said to wait for it.
_MANY, _USERS = 16, 4


def read_anew(graph: Graph) -> Graph:
    """The graph, in which those who wait for many others read for themselves.

    What is read is read anew, and so is what costs no more than reading. None of it is left to be
    read before what it waits for is there: a thread that has nothing else to do would read it all.

    Parameters
    ----------
    graph : optimised, of dask's own kinds of nodes

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from dask.array.optimization import optimize
    >>> spectra = da.from_array(np.ones((40, 2)), chunks=(1, 2), lock=True)
    >>> less = spectra - spectra.mean(axis=0)
    >>> graph = dict(optimize(less.dask, less.__dask_keys__()))
    >>> anew = read_anew(graph)
    >>> sum(anew[key] is not graph[key] for key in anew)
    40
    """
    from dask._task_spec import Task

    readings = _readings(graph)
    if not readings:
        return graph
    users, made_of = _users(graph), _made_of(graph)
    found = dict(graph)
    left: set[Any] = set()

    def is_of_all(key: Any, here: frozenset[Any]) -> bool:
        of = made_of[key]
        return of is None or (len(users[key]) > _USERS and not of <= here)

    for user, node in graph.items():
        again = [key for key in node.dependencies if key in readings]
        if not again or user in readings or not isinstance(node, Task):
            continue
        here = frozenset[Any]().union(*(made_of[key] or () for key in again))
        if any(is_of_all(each, here) for each in node.dependencies if each not in readings):
            # one task, so that nothing is read before what it waits for is there
            own = {each: _renamed(each) for key in again for each in readings[key]}
            reads = [graph[key].substitute(own, key=name) for key, name in own.items()]
            found[user] = Task.fuse(*reads, node.substitute(own), key=user)
            left.update(own)
    return _without_unused(found, left) if left else graph


def _readings(graph: Graph) -> dict[Any, tuple[Any, ...]]:
    """By key what is done again where values are read anew, which is little.

    That is what reads, and what is made of few values that are read at no more cost.
    """
    from dask._task_spec import DataNode, Task
    from dask.core import toposort

    found: dict[Any, tuple[Any, ...]] = {}
    for key in toposort(graph):
        node = graph[key]
        if not isinstance(node, Task) or not is_cheap(node):
            continue
        needed = [each for each in node.dependencies if not isinstance(graph.get(each), DataNode)]
        if not all(each in found for each in needed) or not (needed or reads_anything(node)):
            continue
        tasks = dict.fromkeys(one for each in needed for one in found[each])
        if len(tasks) < _MANY:
            found[key] = (*tasks, key)
    return found


def _users(graph: Graph) -> dict[Any, list[Any]]:
    """Those who need each task."""
    users = defaultdict(list)
    for key, node in graph.items():
        for needed in node.dependencies:
            users[needed].append(key)
    return users


def _without_unused(graph: Graph, left: Collection[Any]) -> Graph:
    """The graph without those of `left`, which had users, that have none now."""
    used = _users(graph)
    waiting = [key for key in left if not used[key]]
    while waiting:
        key = waiting.pop()
        for each in graph.pop(key).dependencies:
            used[each].remove(key)
            if each in left and not used[each]:
                waiting.append(each)
    return graph


def _made_of(graph: Graph) -> dict[Any, frozenset[Any] | None]:
    """What is read for each task; None where that is much."""
    from dask.core import toposort

    found: dict[Any, frozenset[Any] | None] = {}
    for key in toposort(graph):
        parts = [found.get(each, frozenset()) for each in graph[key].dependencies]
        own = frozenset([key] if reads_anything(graph[key]) else [])
        whole = None if None in parts else own.union(*(each for each in parts if each))
        found[key] = None if whole is None or len(whole) > _MANY else whole
    return found


def _renamed(key: Any) -> Any:
    name, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
    again = f"{name}-again"
    return (again, *rest) if rest else again
