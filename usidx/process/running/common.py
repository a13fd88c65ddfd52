"""What all blocks of a plan need, computed before them: then each of them is computed on its own.

Spectra less their mean over the map are blocks that need a mean of all. In one graph with it they
wait for each other, and a scheduler that has many of them keeps what it has not written yet.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from usidx.process.planning.costs import MOST_AGAIN
from usidx.process.planning.ends import ends_of
from usidx.process.planning.graphs import Graph, describe
from usidx.process.planning.neighbours import graphs_of, own_graph_of
from usidx.process.planning.plan import Plan
from usidx.process.planning.reading import is_cheap, read_by, reads_anything
from usidx.process.planning.sizes import factorises, values_in
from usidx.process.planning.trees import MANY, in_trees
from usidx.process.running.mending import UnitFailedError
from usidx.process.running.rereading import read_anew
from usidx.process.running.work import Unit, Work, batches

if TYPE_CHECKING:
    from usidx.process.running.runner import Executor

# More values than these, or of more bytes, are no summary of the source, but may be as large.
_MOST_KEYS, _MOST_BYTES = 16, 2**26

# Times its own positions, and what another block reads, that a block may read.
_MUCH_MORE = 4

log = logging.getLogger("usidx")


@dataclass(frozen=True, eq=False)
class Common:
    """What all units of a plan need.

    Parameters
    ----------
    plan : of the units
    values : by dask's keys
    """

    plan: Plan
    values: dict[Any, Any]

    def works(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Work]]:
        """One Work after the other; each has the values."""
        from dask._task_spec import Alias, DataNode

        # as dask calls arrays that blocks are read from, so that workers get them once
        names = {key: f"original-common-{number}" for number, key in enumerate(self.values)}
        known: Graph = {names[key]: DataNode(names[key], each) for key, each in self.values.items()}
        known |= {key: Alias(key, name) for key, name in names.items()}
        for batch in batches(units):
            graphs = graphs_of(self.plan, [unit.keys for unit in batch], known)
            for unit, graph in zip(batch, graphs, strict=True):
                yield unit, Work(own_graph_of(graph, unit.keys), unit.keys, unit.commits)


def common_of(plan: Plan, units: Sequence[Unit], executor: Executor) -> Common | None:
    """What units have in common, computed; None where there is no such thing, or it is large.

    None also where the step raises: as a part of all blocks it is told better what happened.
    """
    if len(units) < 2:
        return None
    looked_at = _looked_at(units)
    graphs = list(graphs_of(plan, [unit.keys for unit in looked_at]))
    if any(factorises(node) for graph in graphs for node in graph.values()):
        found = _of_factors(plan, units, executor)
        if found is not None:
            return found
    keys = _summaries(graphs)
    if not 0 < len(keys) <= _MOST_KEYS or _grows(plan, looked_at, keys):
        return None
    whole = {key: node for graph in graphs for key, node in graph.items()}
    values = _computed(plan, whole, keys, executor)
    if values is None or sum(map(bytes_of, values)) > _MOST_BYTES:
        return None
    return Common(plan, dict(zip(keys, values, strict=True)))


def _of_factors(plan: Plan, units: Sequence[Unit], executor: Executor) -> Common | None:
    """What is made of the factors of all blocks, which each block then makes again for itself.

    As large as it may be: in one graph with the blocks it would be there as well, and the factors
    besides. But values that go to the workers of a cluster go through one process.
    """
    described = describe(plan, [key for unit in units for key in unit.keys])
    graph = described.graph()
    keys = ends_of(graph, [[described.keys[key] for key in unit.keys] for unit in units])
    if not keys:
        return None
    if hasattr(executor, "memory"):
        sizes = values_in(graph, described.merged.layers)
        if len(keys) > _MOST_KEYS or sum(sizes[key].nbytes for key in keys) > _MOST_BYTES:
            return None
    values = _computed(plan, graph, keys, executor)
    return None if values is None else Common(plan, dict(zip(keys, values, strict=True)))


def _computed(
    plan: Plan, graph: Graph, keys: Sequence[Any], executor: Executor
) -> list[Any] | None:
    """The values of some keys; None where the step raises."""
    from dask.array.optimization import optimize

    try:
        if len(graph) > MANY:  # to have dask fuse them takes longer than they do
            whole = in_trees(read_anew(read_by(graph, list(keys)).graph), keys)
        else:
            whole = read_anew(dict(optimize(graph, list(keys))))
        return executor.compute(whole, keys)
    except UnitFailedError:
        log.debug("what blocks of %s have in common was not computed", plan.tool, exc_info=True)
        return None


def bytes_of(value: Any) -> int:
    """Bytes of the arrays that a value is or has.

    Examples
    --------
    >>> import numpy as np
    >>> bytes_of((np.zeros(4), [np.zeros(2), 1]))
    48
    """
    if isinstance(value, (tuple, list)):
        return sum(map(bytes_of, value))
    if is_dataclass(value):
        return sum(bytes_of(getattr(value, each.name)) for each in fields(value))
    return int(getattr(value, "nbytes", 0))


def _looked_at(units: Sequence[Unit]) -> list[Unit]:
    """Of those that make the same Mains, the first and the last."""
    alike: dict[Any, list[Unit]] = {}
    for unit in units:
        alike.setdefault(tuple(each.name for each in unit.commits), []).append(unit)
    found = {unit.number: unit for each in alike.values() for unit in (each[0], each[-1])}
    return list(found.values())


def _grows(plan: Plan, units: Sequence[Unit], keys: Sequence[Any]) -> bool:
    """Whether a block reads far more than its own positions, though what all need is known.

    Of sums along the map the last block needs what all others are made of, so that each would read
    and compute nearly everything again.
    """
    from dask._task_spec import DataNode

    known: Graph = {key: DataNode(key, None) for key in keys}
    sizes = {each.name: each.spec.position.size for each in plan.outputs}
    found = []
    for unit, graph in zip(units, graphs_of(plan, [unit.keys for unit in units], known)):
        own = max(each.positions / sizes[each.name] for each in unit.commits)
        found.append((read_by(graph).share_of(plan.labelled), own))
    least = min(share for share, _ in found)
    return any(
        share > (1 + MOST_AGAIN) * own or share > _MUCH_MORE * max(own, least)
        for share, own in found
    )


def _summaries(graphs: Sequence[Graph]) -> list[Any]:
    """Keys of what several blocks need that was made of what is read, and used for one alone."""
    from dask.core import toposort

    users = Counter(key for graph in graphs for key in graph)
    shared = {key: node for graph in graphs for key, node in graph.items() if users[key] > 1}
    read: set[Any] = set()
    made: set[Any] = set()
    for key in toposort(shared):
        node = shared[key]
        if reads_anything(node) or node.dependencies & read:
            read.add(key)
            if not is_cheap(node) or node.dependencies & made:
                made.add(key)
    used = {
        each
        for graph in graphs
        for key, node in graph.items()
        if key not in shared
        for each in node.dependencies
    }
    return [key for key in shared if key in made & used]
