"""Reading twice rather than keeping: tasks that wait for the whole source read their part anew.

Spectra less their mean over the map need every block twice: for the mean, and when it is known. A
scheduler reads each block once and keeps it until then, and so in the end holds the whole source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usidx.process.running.work import Graph

# Tasks that one task needs, itself included, from which on it is said to wait for many. The
# neighbours of a block are fewer: those of an overlap share what they read.
_MANY = 16


def read_anew(graph: Graph) -> Graph:
    """The graph, in which those who wait for many others read for themselves.

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
    >>> sum(read_anew(graph)[key] is not graph[key] for key in graph)
    40
    """
    from dask._task_spec import Task

    users = defaultdict(list)
    for key, node in graph.items():
        for needed in node.dependencies:
            users[needed].append(key)
    shared = [key for key in graph if len(users[key]) > 1 and _is_read(graph, key)]
    if not shared:
        return graph
    needs = _needs(graph, users)
    found = dict(graph)
    for key in shared:
        patient = [user for user in users[key] if needs[user] > _MANY]
        for number, user in enumerate(patient[len(patient) == len(users[key]) :]):
            # one task, so that nothing is read before what it waits for is there
            own = _renamed(key, number)
            read, use = graph[key].substitute({}, key=own), found[user].substitute({key: own})
            found[user] = Task.fuse(read, use, key=user)
    return found


def _is_read(graph: Graph, key: Any) -> bool:
    from dask._task_spec import DataNode, Task
    from dask.array.core import getter, getter_inline, getter_nofancy

    node = graph[key]
    if not isinstance(node, Task) or node.func not in (getter, getter_inline, getter_nofancy):
        return False
    return all(isinstance(graph.get(each), DataNode) for each in node.dependencies)


def _needs(graph: Graph, users: Mapping[Any, list[Any]]) -> dict[Any, int]:
    """How many tasks each task needs, counted once for each way that leads to them."""
    waiting = {key: len(node.dependencies) for key, node in graph.items()}
    needs = dict.fromkeys(graph, 1)
    ready = [key for key, count in waiting.items() if count == 0]
    while ready:
        key = ready.pop()
        for user in users[key]:
            needs[user] += needs[key]
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    return needs


def _renamed(key: Any, number: int) -> Any:
    name, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
    again = f"{name}-again-{number}"
    return (again, *rest) if rest else again
