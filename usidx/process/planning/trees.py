"""Graphs of very many small tasks, made into fewer that do the same.

A mean over a map that is cut into tens of thousands of blocks is as many readings, sums of these,
and sums of sums. What a scheduler does for each of them takes longer than any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from usidx.process.planning.reading import Graph

# From so many tasks on it matters what a scheduler does for each of them.
MANY = 20_000
# As many are left, which are parts enough for threads to share out.
_FEW = 2048


@dataclass(frozen=True, eq=False)
class Tree:
    """Tasks of which each but the last one is needed by a single other, done one after the other.

    Parameters
    ----------
    nodes : of dask's own kinds, each behind those that it needs
    given : keys of what they need besides
    """

    nodes: tuple[Any, ...]
    given: tuple[Any, ...]

    def __call__(self, *values: Any) -> Any:
        """What the last one gives, of the values of what is given."""
        known = dict(zip(self.given, values, strict=True))
        kept = frozenset(self.given)
        for node in self.nodes:
            known[node.key] = node(known)
            for each in node.dependencies - kept:
                del known[each]
        return known[self.nodes[-1].key]


def values_of(graph: Graph, keys: Sequence[Any]) -> list[Any]:
    """The values of some keys, computed by this thread alone, each kept until it is not needed.

    As dask's synchronous scheduler does it, in a fraction of the time for each task.

    Parameters
    ----------
    graph : of dask's own kinds of nodes

    Examples
    --------
    >>> from dask._task_spec import Task, TaskRef
    >>> values_of({1: Task(1, int, "5"), 2: Task(2, abs, TaskRef(1))}, [2])
    [5]
    """
    steps = dict.fromkeys(_ordered(graph, keys, {}), 0)
    for key in steps:
        steps[key] = 1 + max((steps[each] for each in graph[key].dependencies), default=0)
    # what takes most steps first: what is done in one can wait until its turn comes
    ordered = {key: graph[key] for key in _ordered(graph, keys, steps)}
    users = Counter(each for node in ordered.values() for each in node.dependencies)
    users.update(keys)  # which stay
    values: dict[Any, Any] = {}
    for key, node in ordered.items():
        values[key] = node(values)
        for each in node.dependencies:
            users[each] -= 1
            if not users[each]:
                del values[each]
    return [values[key] for key in keys]


def _ordered(graph: Graph, keys: Sequence[Any], steps: Mapping[Any, int]) -> list[Any]:
    """The keys that some need, each behind those that it needs: of these, most steps first."""
    found: dict[Any, None] = {}
    waiting = list(reversed(keys))
    while waiting:
        key = waiting[-1]
        before = [] if key in found else [k for k in graph[key].dependencies if k not in found]
        if before:
            waiting += sorted(before, key=lambda each: steps.get(each, 0))
        else:
            found[key] = None
            waiting.pop()
    return list(found)


def in_trees(graph: Graph, keys: Collection[Any], few: int = _FEW) -> Graph:
    """The graph with tasks that lead to a single other one done as a part of that.

    Parameters
    ----------
    graph : of dask's own kinds of nodes
    keys : of what is wanted
    few : tasks that are left, roughly; a graph that has no more stays as it is

    Examples
    --------
    >>> from dask._task_spec import Task, TaskRef
    >>> graph = {n: Task(n, int) for n in range(6)}
    >>> graph |= {6: Task(6, max, *(TaskRef(n) for n in range(6)))}
    >>> len(graph), len(in_trees(graph, [6], few=4))
    (7, 4)
    """
    from dask.core import toposort

    if len(graph) <= few:
        return graph
    most = -(-2 * len(graph) // few)
    wanted = set(keys)
    users = Counter(each for node in graph.values() for each in node.dependencies)
    trees: dict[Any, list[Any]] = {}
    for key in toposort(graph):
        tree = [graph[key]]
        for each in graph[key].dependencies:
            alone = users[each] == 1 and each not in wanted
            if alone and each in trees and len(trees[each]) + len(tree) <= most:
                tree += trees.pop(each)
        trees[key] = tree
    return {key: _joined(key, tree) for key, tree in trees.items()}


def _joined(key: Any, tree: list[Any]) -> Any:
    from dask._task_spec import Task, TaskRef

    if len(tree) == 1:
        return tree[0]
    made = {node.key for node in tree}
    given = tuple({each for node in tree for each in node.dependencies} - made)
    return Task(key, Tree(tuple(reversed(tree)), given), *map(TaskRef, given))
